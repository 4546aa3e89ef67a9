//! `transform test`: what a module makes of records, and whether that is what is expected.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::HumanCount;
use plugin_api::operation::Action;
use serde::Serialize;
use serde_json::Value;

use super::{
    EXIT_CODES, Outcome, Streams, Unusable, diff,
    lines::{self, Becomes, Case, Operation},
    subject,
    trial::{self, Trial},
};
use crate::{
    cli::{
        output::{BAD, GOOD, HEADING, WARNING, styled},
        text,
    },
    transform::{Level, LogTarget},
};

/// Lines that a module may log before the rest is left out.
const LOGGED_MAX: usize = 200;

/// Run a module on the records of a file, as an agent would.
///
/// Without --expect it shows what each record becomes, and fails if one fails. With it, line N of that file says what
/// line N of the input must become, and what differs is shown. Either way each record runs alone, after others, twice
/// and in other orders: a module that remembers is found out.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  sync-agent transform test redact.wasm --input in.ndjson --config '{{ fields = [\"email\"] }}'
  sync-agent transform test rename.wasm --input in.ndjson --output expect.ndjson
  sync-agent transform test rename.wasm --input in.ndjson --expect expect.ndjson
  sync-agent dead-letters export | sync-agent transform test mended.wasm --input -

{}

Expected, a line for each of them:
  either of the first two    this operation is delivered
  [...]                      these operations are delivered, in this order; [] for none
  {{\"fail\":\"...\"}}             it fails with these words

{EXIT_CODES}", lines::INPUT))]
pub(super) struct Test {
    #[command(flatten)]
    subject: subject::Arguments,
    /// The records, or - for stdin
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// What they must become
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write what they become, as a file for --expect
    #[arg(long, value_name = "FILE", conflicts_with = "expect")]
    output: Option<PathBuf>,
    /// The action of lines that name none
    #[arg(long, value_name = "ACTION", default_value = "save", value_parser = action_parser())]
    action: Action,
    /// Show at most so many records
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Everything that was found, in the records' order.
#[derive(Serialize)]
struct Report {
    passed: bool,
    sha256: String,
    records: usize,
    failing: usize,
    unexpected: usize,
    unstable: usize,
    /// More or fewer lines of expectations than records.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    results: Vec<Row>,
    log: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    line: u64,
    action: &'static str,
    object_id: String,
    becomes: Value,
    /// Present where it is not what it becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Value>,
    /// What it became in other company, and which.
    #[serde(skip_serializing_if = "Option::is_none")]
    unstable: Option<Other>,
    #[serde(skip)]
    shown: String,
}

#[derive(Serialize)]
struct Other {
    when: &'static str,
    becomes: Value,
}

impl Test {
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> anyhow::Result<Outcome> {
        let wasm = self.subject.read()?;
        let cases = cases(&self.input, self.action, &self.subject.index)?;
        let expected = self.expect.as_deref().map(expectations).transpose()?;
        let subject = match self.subject.load(&subject::engine()?, &wasm) {
            Ok(subject) => subject,
            Err(error) => {
                let words = format!("{}: {error}", self.subject.module.display());
                writeln!(streams.errors, "{} {}", styled(BAD, "refused"), text::printable(&words))?;
                return Ok(Outcome::Failed);
            }
        };
        let logged = Logged::default();
        let trial = trial::run(&subject, &cases, &logged.target());
        if let Some(path) = &self.output {
            write(path, &trial)?;
        }
        let mut report = report(&cases, trial, expected);
        report.sha256 = subject.module.digest().to_string();
        report.log = logged.take();
        if self.json {
            serde_json::to_writer_pretty(&mut *streams.out, &report).map_err(io::Error::from)?;
            writeln!(streams.out)?;
        } else {
            self.write_text(&report, streams)?;
        }
        Ok(if report.passed { Outcome::Done } else { Outcome::Failed })
    }

    fn write_text(&self, report: &Report, streams: &mut Streams<'_>) -> io::Result<()> {
        report.log.iter().try_for_each(|line| writeln!(streams.errors, "{line}"))?;
        let rows = report
            .results
            .iter()
            .filter(|row| self.expect.is_none() || row.expected.is_some() || row.unstable.is_some());
        let mut left = 0;
        for (at, row) in rows.enumerate() {
            match at < self.limit {
                true => write!(streams.out, "{}", row.shown)?,
                false => left += 1,
            }
        }
        if left > 0 {
            writeln!(streams.out, "and {} more: --limit shows more of them", HumanCount(left))?;
        }
        if let Some(problem) = &report.problem {
            writeln!(streams.out, "{}", styled(BAD, problem))?;
        }
        let counted = |count: usize, what: &str| match count {
            0 => String::new(),
            count => format!(", {} {what}", HumanCount(count as u64)),
        };
        let summary = format!(
            "{} records{}{}{}",
            HumanCount(report.records as u64),
            counted(report.failing, "failing"),
            counted(report.unexpected, "not as expected"),
            counted(report.unstable, "that depend on other records"),
        );
        let verdict = if report.passed { styled(GOOD, "passed") } else { styled(BAD, "failed") };
        writeln!(streams.out, "{verdict}: {summary}")?;
        if report.unstable > 0 {
            let advice = "A transform may keep nothing from one record for another: instances are made anew at will, and records may come twice.";
            writeln!(streams.out, "{}", styled(WARNING, advice))?;
        }
        Ok(())
    }
}

/// Puts everything together; the digest and the log are the caller's to add.
fn report(cases: &[Case], trial: Trial, expected: Option<Vec<(u64, Becomes)>>) -> Report {
    let problem = expected
        .as_ref()
        .filter(|expected| expected.len() != cases.len())
        .map(|expected| format!("{} lines are expected, but the input has {}", expected.len(), cases.len()));
    let mut unstable = trial.unstable.into_iter().peekable();
    let (mut failing, mut unexpected, mut depending) = (0, 0, 0);
    let mut results = Vec::with_capacity(cases.len());
    for (at, (case, becomes)) in cases.iter().zip(&trial.becomes).enumerate() {
        let record = Operation::new(case.record.action, &case.record.object_id, &case.record.body);
        let heading = styled(HEADING, format_args!("line {}: {}", case.line, diff::key(&record)));
        failing += usize::from(matches!(becomes, Becomes::Fails(_)));
        let mut row = Row {
            line: case.line,
            action: record.action.as_str(),
            object_id: record.object_id.clone(),
            becomes: becomes.to_json(),
            expected: None,
            unstable: None,
            shown: heading.clone() + &diff::change(&record, becomes),
        };
        let wanted = expected.as_ref().and_then(|expected| expected.get(at));
        if let Some((_, wanted)) = wanted.filter(|(_, wanted)| !wanted.is_same(becomes)) {
            unexpected += 1;
            row.expected = Some(wanted.to_json());
            row.shown = format!("{heading} is not as expected\n{}", diff::unexpected(wanted, becomes));
        }
        if let Some(other) = unstable.next_if(|unstable| unstable.at == at) {
            depending += 1;
            row.unstable = Some(Other { when: other.how, becomes: other.becomes.to_json() });
            row.shown += &format!(
                "  {} {}:\n{}",
                styled(BAD, "otherwise"),
                other.how,
                diff::unexpected(becomes, &other.becomes)
            );
        }
        results.push(row);
    }
    let as_wanted = match expected {
        Some(_) => unexpected == 0 && problem.is_none(),
        None => failing == 0,
    };
    Report {
        passed: as_wanted && depending == 0,
        sha256: String::new(),
        records: cases.len(),
        failing,
        unexpected,
        unstable: depending,
        problem,
        results,
        log: Vec::new(),
    }
}

/// Reads records from a file or stdin.
pub(super) fn cases(path: &Path, action: Action, index: &str) -> anyhow::Result<Vec<Case>> {
    let input = match path == Path::new("-") {
        true => {
            io::read_to_string(io::stdin()).map_err(|error| Unusable(format!("stdin: {error}")))?.into_bytes()
        }
        false => subject::read(path)?,
    };
    let cases = lines::cases(&input, action, index).map_err(|problems| unreadable(path, &problems))?;
    match cases.is_empty() {
        true => Err(Unusable(format!("{} has no records", path.display())).into()),
        false => Ok(cases),
    }
}

fn expectations(path: &Path) -> anyhow::Result<Vec<(u64, Becomes)>> {
    lines::expectations(&subject::read(path)?).map_err(|problems| unreadable(path, &problems).into())
}

/// The first problems of a file.
fn unreadable(path: &Path, problems: &[String]) -> Unusable {
    const SHOWN: usize = 10;
    let shown = problems
        .iter()
        .take(SHOWN)
        .map(|problem| format!("{}: {}\n", path.display(), text::printable(problem)));
    let mut words: String = shown.collect();
    if problems.len() > SHOWN {
        words += &format!("and {} more\n", problems.len() - SHOWN);
    }
    Unusable(words.trim_end().to_owned())
}

fn write(path: &Path, trial: &Trial) -> anyhow::Result<()> {
    let lines: String = trial.becomes.iter().map(|becomes| format!("{}\n", becomes.to_json())).collect();
    let failed = |error| Unusable(format!("{}: cannot be written: {error}", path.display()));
    Ok(fs::write(path, lines).map_err(failed)?)
}

pub(super) fn action_parser() -> impl clap::builder::TypedValueParser<Value = Action> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    PossibleValuesParser::new(["save", "partial_update", "partial_update_no_create", "delete"])
        .try_map(|name| lines::action_named(&name).ok_or("not an action"))
}

/// What a module logs, up to a limit.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<String>>>);

impl Logged {
    fn target(&self) -> LogTarget {
        let logged = self.clone();
        LogTarget::Lines(Arc::new(move |level, line| {
            let mut lines = logged.0.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() < LOGGED_MAX {
                let level = match level {
                    Level::Debug => "debug",
                    Level::Info => "info",
                    Level::Warn => "warning",
                    Level::Error => "error",
                };
                lines.push(text::printable(&format!("{level}: {line}")).into_owned());
            }
        }))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

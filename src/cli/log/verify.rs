//! `log verify`: everything that is not as it should be, at once.

use std::io;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{
    Outcome, Session,
    progress::{Pace, Progress},
};
use crate::{
    cli::{
        output::{BAD, GOOD, HEADING, WARNING, styled},
        text,
    },
    log::inspect::{Finding, Severity, Verified},
};

/// Read the whole log and tell everything that is wrong with it.
///
/// Every byte is read: headers and the chain that they form, each frame with its checksum, offset, version, payload
/// and request id, footers against the frames that they sum up, cursors, lists. Each finding names the file, the byte,
/// what it means and what to do. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent log verify --config agent.toml
  sync-agent log verify --data-dir /backup/sync-agent-data --json

Exit codes:
  0  sound
  1  it could not be read: there is no log, an agent uses it, or the operating system refuses
  2  the command line is wrong or the config has errors
  3  something was found by which no record is lost, such as what a crash left
  4  records cannot be read or are gone, or the agent would halt")]
pub(super) struct Verify {
    /// Print JSON instead of text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    log_id: String,
    dir: String,
    sound: bool,
    findings: Vec<Found<'a>>,
    segments: u64,
    frames: u64,
    records: u64,
    bytes: u64,
    start: String,
    end: String,
    seconds: f64,
    gigabytes_per_second: f64,
}

#[derive(Serialize)]
struct Found<'a> {
    severity: &'static str,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<u64>,
    what: &'a str,
    advice: &'a str,
}

impl<'a> Found<'a> {
    fn of(finding: &'a Finding) -> Self {
        let Finding { severity, path, at, what, advice } = finding;
        Self { severity: word(*severity), file: path.display().to_string(), byte: *at, what, advice }
    }
}

impl Verify {
    pub(super) fn run(&self, session: &mut Session<'_>) -> anyhow::Result<Outcome> {
        let progress = Progress::new(session.log.bytes());
        let verified = session.log.verify(&mut |bytes| progress.read(bytes));
        let pace = progress.finish();
        if self.json {
            write_json(session, &verified, pace)?;
        } else {
            write_text(session, &verified, pace)?;
        }
        Ok(match verified.severity() {
            None => Outcome::Done,
            Some(Severity::Harmless) => Outcome::Harmless,
            Some(Severity::Grave) => Outcome::Grave,
        })
    }
}

fn write_json(session: &mut Session<'_>, verified: &Verified, pace: Pace) -> io::Result<()> {
    let report = Report {
        log_id: session.log.log_id().to_string(),
        dir: session.dir.display().to_string(),
        sound: verified.findings.is_empty(),
        findings: verified.findings.iter().map(Found::of).collect(),
        segments: verified.segments,
        frames: verified.frames,
        records: verified.records,
        bytes: verified.bytes,
        start: verified.start.to_string(),
        end: verified.end.to_string(),
        seconds: pace.elapsed.as_secs_f64(),
        gigabytes_per_second: pace.gigabytes_per_second,
    };
    serde_json::to_writer_pretty(&mut *session.out, &report)?;
    session.out.write_all(b"\n")
}

fn write_text(session: &mut Session<'_>, verified: &Verified, pace: Pace) -> io::Result<()> {
    let out = &mut *session.out;
    writeln!(
        out,
        "{} in {}",
        styled(HEADING, format_args!("log {}", session.log.log_id())),
        session.dir.display()
    )?;
    for Finding { severity, path, at, what, advice } in &verified.findings {
        let style = match severity {
            Severity::Harmless => WARNING,
            Severity::Grave => BAD,
        };
        let file = path.strip_prefix(&session.dir).unwrap_or(path).display();
        let byte = at.map(|at| format!(", byte {at}")).unwrap_or_default();
        writeln!(out, "\n{} {file}{byte}", styled(style, format_args!("{}:", word(*severity))))?;
        writeln!(out, "  {}", text::printable(what))?;
        writeln!(out, "  what to do: {}", text::printable(advice))?;
    }
    let Verified { segments, frames, records, bytes, start, end, .. } = verified;
    writeln!(
        out,
        "\n{} segments, {} frames, {} records from {start} to before {end}, {} read in {:.1} s ({:.2} GB/s)",
        HumanCount(*segments),
        HumanCount(*frames),
        HumanCount(*records),
        HumanBytes(*bytes),
        pace.elapsed.as_secs_f64(),
        pace.gigabytes_per_second,
    )?;
    let grave = verified.findings.iter().filter(|finding| finding.severity == Severity::Grave).count();
    match (verified.findings.len(), grave) {
        (0, _) => writeln!(out, "{}", styled(GOOD, "sound")),
        (all, 0) => {
            writeln!(out, "{}", styled(WARNING, format_args!("{all} found, no record is lost by it")))
        }
        (all, grave) => writeln!(out, "{}", styled(BAD, format_args!("{all} found, {grave} of it grave"))),
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Harmless => "harmless",
        Severity::Grave => "grave",
    }
}

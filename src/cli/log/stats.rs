//! `log stats`: what the log holds, and how far each destination is.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use indicatif::{HumanBytes, HumanCount, HumanDuration};
use plugin_api::identity::Timestamp;
use serde::Serialize;

use super::{Outcome, Session, progress::Progress};
use crate::{
    cli::{
        output::{BAD, HEADING, NAME, WARNING, styled},
        text,
    },
    log::{
        inspect::{self, Counts, Cursor, Requests, Source},
        interface::{Gap, GapCause, Totals},
    },
};

/// Versions further ahead of the clock than this are told as an alert, here as in the agent.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// Show what the log holds, and how far each destination is.
///
/// Sealed segments are counted by their footers, which takes no time; `--scan` reads every frame instead and counts
/// requests and callers, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent log stats --config agent.toml
  sync-agent log stats --scan --json | jq .by_index")]
pub(super) struct Stats {
    /// Read every frame, and count requests by index and caller
    #[arg(long)]
    scan: bool,
    /// Print JSON instead of text
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    log_id: String,
    dir: String,
    source: &'static str,
    segments: u64,
    disk_bytes: u64,
    frame_bytes: u64,
    requests: u64,
    records: u64,
    given_up_records: u64,
    rotten_records: u64,
    missing_records: u64,
    start: String,
    end: String,
    oldest_accepted_at: Option<String>,
    oldest_age_seconds: Option<u64>,
    newest_accepted_at: Option<String>,
    newest_age_seconds: Option<u64>,
    last_version: u64,
    versions_ahead_seconds: f64,
    destinations: BTreeMap<String, Destination>,
    by_index: BTreeMap<String, Numbers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_caller: Option<BTreeMap<String, Numbers>>,
}

#[derive(Serialize)]
struct Destination {
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Why the cursor cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    lag_records: u64,
    lag_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<BTreeMap<&'static str, u64>>,
    detached: bool,
    gaps: Vec<Missed>,
}

#[derive(Serialize)]
struct Numbers {
    records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

#[derive(Serialize)]
struct Missed {
    from: String,
    to: String,
    records: u64,
    cause: &'static str,
    opened_at: String,
    closed_at: Option<String>,
}

impl Stats {
    pub(super) fn run(&self, session: &mut Session<'_>) -> anyhow::Result<Outcome> {
        let source = if self.scan { Source::Frames } else { Source::Footers };
        let progress = Progress::new(session.log.bytes());
        let stats = session.log.stats(source, &mut |bytes| progress.read(bytes));
        progress.finish();
        if self.json {
            let report = report(session, stats?);
            serde_json::to_writer_pretty(&mut *session.out, &report).map_err(io::Error::from)?;
            session.out.write_all(b"\n")?;
        } else {
            write_text(session, &stats?)?;
        }
        Ok(Outcome::Done)
    }
}

fn report(session: &Session<'_>, stats: inspect::Stats) -> Report {
    let age = |at: Timestamp| session.now.0.saturating_sub(at.0) / 1_000_000;
    let counted = |counts: BTreeMap<String, Counts>| {
        let numbers = |Counts { records, requests }| Numbers {
            records,
            requests: requests.map(|requests| requests.count),
            bytes: requests.map(|requests| requests.bytes),
        };
        counts.into_iter().map(|(name, counts)| (name, numbers(counts))).collect()
    };
    let destination = |cursor: Cursor| {
        let Cursor { destination, progress, lag_records, lag_bytes, gaps } = cursor;
        let detached = is_detached(&gaps);
        let gaps = gaps.into_iter().map(missed).collect();
        let (next, totals, problem) = match progress {
            Ok(progress) => {
                (Some(progress.next.to_string()), Some(named(&progress.totals).into_iter().collect()), None)
            }
            Err(problem) => (None, None, Some(problem)),
        };
        (destination, Destination { next, problem, lag_records, lag_bytes, totals, detached, gaps })
    };
    Report {
        log_id: stats.log_id.to_string(),
        dir: session.dir.display().to_string(),
        source: match stats.source {
            Source::Footers => "footers",
            Source::Frames => "frames",
        },
        segments: stats.segments.count,
        disk_bytes: stats.segments.bytes,
        frame_bytes: stats.segments.frame_bytes,
        requests: stats.frames,
        records: stats.records,
        given_up_records: stats.given_up,
        rotten_records: stats.rotten,
        missing_records: stats.missing,
        start: stats.start.to_string(),
        end: stats.end.to_string(),
        oldest_accepted_at: stats.first_time.map(text::time),
        oldest_age_seconds: stats.first_time.map(age),
        newest_accepted_at: stats.last_time.map(text::time),
        newest_age_seconds: stats.last_time.map(age),
        last_version: stats.last_version.0,
        versions_ahead_seconds: ahead(session, &stats).as_secs_f64(),
        destinations: stats.cursors.into_iter().map(destination).collect(),
        by_index: counted(stats.by_index),
        by_caller: (stats.source == Source::Frames).then(|| counted(stats.by_caller)),
    }
}

fn write_text(session: &mut Session<'_>, stats: &inspect::Stats) -> io::Result<()> {
    let ahead = ahead(session, stats);
    let age = |at: Timestamp| HumanDuration(Duration::from_micros(session.now.0.saturating_sub(at.0)));
    let out = &mut *session.out;
    writeln!(out, "{} in {}", styled(HEADING, format_args!("log {}", stats.log_id)), session.dir.display())?;
    let segments = &stats.segments;
    let mut rows = vec![
        (
            "counted",
            match stats.source {
                Source::Footers => {
                    "by footers, and the newest segment's frames; --scan counts requests and callers, too"
                        .to_owned()
                }
                Source::Frames => "by every frame".to_owned(),
            },
        ),
        (
            "segments",
            format!(
                "{}, {} on disk, {} of frames",
                HumanCount(segments.count),
                HumanBytes(segments.bytes),
                HumanBytes(segments.frame_bytes)
            ),
        ),
        ("requests", HumanCount(stats.frames).to_string()),
        ("records", format!("{}, from {} to before {}", HumanCount(stats.records), stats.start, stats.end)),
    ];
    for (label, time) in [("oldest", stats.first_time), ("newest", stats.last_time)] {
        if let Some(time) = time {
            rows.push((label, format!("accepted {}, {} ago", text::time_to_the_second(time), age(time))));
        }
    }
    for (label, value) in rows {
        writeln!(out, "  {NAME}{label:10}{NAME:#} {value}")?;
    }
    if ahead > AHEAD_MAX {
        let text = format!("versions run {} ahead of the clock: it is or was wrong", HumanDuration(ahead));
        writeln!(out, "  {}", styled(WARNING, text))?;
    }
    if stats.given_up > 0 {
        writeln!(out, "  {} records were given up with `log skip`", HumanCount(stats.given_up))?;
    }
    if stats.rotten > 0 {
        let text = format!("{} records are rotten: see `log verify`", HumanCount(stats.rotten));
        writeln!(out, "  {}", styled(BAD, text))?;
    }
    if stats.missing > 0 {
        let text = format!(
            "{} records are missing with their segments: see `log verify`",
            HumanCount(stats.missing)
        );
        writeln!(out, "  {}", styled(BAD, text))?;
    }
    write_cursors(out, &stats.cursors)?;
    for (title, counts) in [("INDEX", &stats.by_index), ("CALLER", &stats.by_caller)] {
        write_counts(out, title, counts)?;
    }
    Ok(())
}

fn write_cursors(out: &mut dyn Write, cursors: &[Cursor]) -> io::Result<()> {
    let titles = [
        "DESTINATION",
        "NEXT",
        "LAG",
        "LAG BYTES",
        "WRITTEN",
        "SUPERSEDED",
        "SKIPPED",
        "DEAD-LETTERED",
        "GAP",
    ];
    let row = |cursor: &Cursor| {
        let Cursor { destination, progress, lag_records, lag_bytes, gaps: _ } = cursor;
        let (next, totals) = match progress {
            Ok(progress) => (progress.next.to_string(), progress.totals),
            Err(_) => ("unusable".to_owned(), Totals::default()),
        };
        let mut cells = vec![
            text::printable(destination).into_owned(),
            next,
            HumanCount(*lag_records).to_string(),
            HumanBytes(*lag_bytes).to_string(),
        ];
        cells.extend(named(&totals).map(|(_, count)| HumanCount(count).to_string()));
        cells
    };
    write_table(out, &titles, &cursors.iter().map(row).collect::<Vec<_>>())?;
    for Cursor { destination, progress, gaps, .. } in cursors {
        if let Some(gap) = gaps.last().filter(|_| is_detached(gaps)) {
            let since = text::time_to_the_second(gap.opened_at);
            let text = format!(
                "{destination} is detached since {since}, the log keeps nothing for it: `sync-agent destination resume`"
            );
            writeln!(out, "{}", styled(WARNING, text::printable(&text)))?;
        }
        if let Err(problem) = progress {
            let text = format!(
                "the cursor of {destination} cannot be used: {problem}; it restarts at the oldest position"
            );
            writeln!(out, "{}", styled(WARNING, text::printable(&text)))?;
        }
    }
    Ok(())
}

fn write_counts(out: &mut dyn Write, title: &str, counts: &BTreeMap<String, Counts>) -> io::Result<()> {
    let row = |(name, counts): (&String, &Counts)| {
        let name = if name.is_empty() { "(not known)".into() } else { text::printable(name) };
        let mut cells = vec![name.into_owned(), HumanCount(counts.records).to_string()];
        if let Some(Requests { count, bytes }) = counts.requests {
            cells.extend([HumanCount(count).to_string(), HumanBytes(bytes).to_string()]);
        }
        cells
    };
    let rows: Vec<_> = counts.iter().map(row).collect();
    let titles = [title, "RECORDS", "REQUESTS", "BYTES"];
    write_table(out, &titles[..rows.first().map_or(0, Vec::len)], &rows)
}

/// An aligned table, the first column to the left and numbers to the right; nothing without rows.
fn write_table(out: &mut dyn Write, titles: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max();
        longest.unwrap_or(0).max(titles[column].len())
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            match column {
                0 => line += &format!("{cell}{padding}"),
                _ => line += &format!("  {padding}{cell}"),
            }
        }
        line
    };
    writeln!(out, "\n{}", styled(HEADING, line(&mut titles.iter().copied())))?;
    for row in rows {
        writeln!(out, "{}", line(&mut row.iter().map(String::as_str)))?;
    }
    Ok(())
}

/// Whether the destination receives nothing until an operator lets it go on.
fn is_detached(gaps: &[Gap]) -> bool {
    gaps.last().is_some_and(|gap| gap.closed_at.is_none() && gap.cause == GapCause::BacklogFull)
}

fn missed(gap: Gap) -> Missed {
    let Gap { from, to, records, by_index: _, cause, opened_at, closed_at } = gap;
    Missed {
        from: from.to_string(),
        to: to.to_string(),
        records,
        cause: match cause {
            GapCause::BacklogFull => "backlog_full",
            GapCause::Removed => "removed",
            GapCause::Reset => "reset",
        },
        opened_at: text::time(opened_at),
        closed_at: closed_at.map(text::time),
    }
}

fn ahead(session: &Session<'_>, stats: &inspect::Stats) -> Duration {
    Duration::from_micros(stats.last_version.0.saturating_sub(session.now.0))
}

fn named(totals: &Totals) -> [(&'static str, u64); 5] {
    let Totals { written, superseded, skipped, dead_lettered, gap } = *totals;
    [
        ("written", written),
        ("superseded", superseded),
        ("skipped", skipped),
        ("dead_lettered", dead_lettered),
        ("gap", gap),
    ]
}

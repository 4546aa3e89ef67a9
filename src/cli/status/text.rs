//! The status in words: first what somebody should look at, then the log, destinations and transforms as tables.

use std::borrow::Cow;

use anstyle::Style;

use crate::{
    admin::{ConfigStatus, DestinationState, DestinationStatus, LogStatus, Status, Time, TransformStatus},
    cli::{
        columns::{self, Column},
        output::{BAD, GOOD, HEADING, NAME, WARNING, styled},
        remote::counted,
        text::{bytes, grouped, printable, seconds},
    },
};

const FAINT: Style = Style::new().dimmed();

/// A time to full that is worth a warning, in seconds.
const SOON: u64 = 24 * 3_600;
/// Versions that run ahead of the clock by more are worth one, in seconds.
const AHEAD_MAX: f64 = 60.0;
/// So much of a module's digest tells it from the others.
const DIGEST_CHARACTERS: usize = 12;

/// All of it, line by line.
pub(super) fn lines(status: &Status) -> Vec<String> {
    marked(status, None).0
}

/// The same with a mark at one destination, and which line that is.
pub(super) fn marked(status: &Status, name: Option<&str>) -> (Vec<String>, Option<usize>) {
    let mut lines = vec![head(status)];
    lines.extend(alerts(status));
    lines.push(String::new());
    lines.push(log(&status.log));
    let destinations = &status.destinations;
    section(&mut lines, "destinations", table(&DESTINATIONS, destinations, |d| destination(d, status.at)));
    let at = destinations.iter().position(|destination| Some(&*destination.name) == name);
    let marked = at.map(|at| lines.len() - destinations.len() + at);
    if let Some(line) = marked.and_then(|at| lines.get_mut(at)) {
        line.replace_range(..1, ">");
    }
    lines.extend(destinations.iter().filter_map(trouble));
    section(&mut lines, "what became of every record, in records", table(&OUTCOMES, destinations, outcomes));
    let with_letters: Vec<_> = destinations.iter().filter(|d| d.dead_letters.letters > 0).collect();
    section(&mut lines, "dead letters", table(&LETTERS, &with_letters, |d| letters(d)));
    section(&mut lines, "transforms", table(&TRANSFORMS, &status.transforms, transform));
    lines.extend(status.transforms.iter().filter_map(refused_module));
    (lines, marked)
}

fn section(lines: &mut Vec<String>, title: &str, table: Vec<String>) {
    if !table.is_empty() {
        lines.extend([String::new(), styled(HEADING, title)]);
        lines.extend(table.into_iter().map(|line| format!("  {line}")));
    }
}

fn table<T>(columns: &[Column], rows: &[T], cells: impl Fn(&T) -> Vec<String>) -> Vec<String> {
    columns::lines(columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn head(status: &Status) -> String {
    let Status { config, agent_version, at, started_at, .. } = status;
    let source = config.source.as_deref().map_or("built in".into(), printable);
    format!(
        "{} {}, up {}, config {source}, generation {} since {}",
        styled(HEADING, "sync-agent"),
        printable(agent_version),
        seconds(between(*started_at, *at)),
        config.generation,
        config.loaded_at,
    )
}

/// What somebody should look at, the worst first.
fn alerts(status: &Status) -> Vec<String> {
    let ConfigStatus { serving_last_accepted, refused, drift, .. } = &status.config;
    let mut alerts = Vec::new();
    if *serving_last_accepted {
        let words = "the config file was broken at the start: the last config that was accepted serves";
        alerts.push(styled(BAD, words));
    }
    if let Some(refused) = refused {
        let count = counted(refused.config.errors.len() as u64, "error");
        let words =
            format!("the config file is refused since {}, the one before serves: {count}", refused.at);
        alerts.push(styled(BAD, words));
        alerts.extend(refused.config.errors.iter().map(|error| {
            let line = error.line.map(|line| format!("line {line}: ")).unwrap_or_default();
            format!("  {line}{}: {}", printable(&error.key), printable(&error.message))
        }));
    }
    if let Some(why) = &status.log.refusing {
        alerts.push(styled(BAD, format!("every request is refused: {}", printable(why))));
    }
    if let Some(left) = status.log.disk_full_in_seconds.filter(|left| *left < SOON) {
        let words =
            format!("the log's disk budget is used up in {}: then ingest is refused", seconds(left as f64));
        alerts.push(styled(BAD, words));
    }
    if status.log.versions_ahead_seconds > AHEAD_MAX {
        let ahead = seconds(status.log.versions_ahead_seconds);
        alerts.push(styled(BAD, format!("versions run ahead of the clock by {ahead}: is the clock right?")));
    }
    if status.draining {
        let words = "draining: every request is refused; `sync-agent drain --cancel` takes them again";
        alerts.push(styled(WARNING, words));
    }
    alerts.extend(
        drift.iter().map(|drift| styled(WARNING, format!("differs from the config: {}", printable(drift)))),
    );
    alerts
}

fn log(log: &LogStatus) -> String {
    let LogStatus { bytes: size, held_bytes, bytes_max, oldest, end, records_per_second, .. } = log;
    let from = match oldest {
        Some(oldest) => format!("from {} of {} to {end}", oldest.position, oldest.accepted_at),
        None => format!("empty, at {end}"),
    };
    format!(
        "{}  {} of {}, {} of them held for destinations, {records_per_second:.0} records/s, {from}",
        styled(HEADING, "log"),
        bytes(*size),
        bytes(*bytes_max),
        bytes(*held_bytes),
    )
}

const DESTINATIONS: [Column; 8] = [
    Column::Left("NAME"),
    Column::Left("STATE"),
    Column::Right("BEHIND"),
    Column::Right("BYTES"),
    Column::Right("AGE"),
    Column::Right("RECORDS/S"),
    Column::Right("IN FLIGHT"),
    Column::Right("DEAD LETTERS"),
];

fn destination(destination: &DestinationStatus, now: Time) -> Vec<String> {
    let DestinationStatus { name, lag, records_per_second, in_flight, dead_letters, .. } = destination;
    let letters = grouped(dead_letters.letters);
    vec![
        styled(NAME, printable(name)),
        state(destination, now),
        grouped(lag.records),
        bytes(lag.bytes),
        seconds(lag.seconds),
        format!("{records_per_second:.0}"),
        grouped(*in_flight),
        if dead_letters.letters == 0 { letters } else { styled(WARNING, letters) },
    ]
}

pub(super) fn state(destination: &DestinationStatus, now: Time) -> String {
    let left = destination.until.map(|until| seconds(between(now, until)));
    let in_time = |words: &str| match &left {
        Some(left) => format!("{words} in {left}"),
        None => words.trim_end_matches(", again").to_owned(),
    };
    match destination.state {
        DestinationState::Running => styled(GOOD, "running"),
        DestinationState::BackingOff => styled(WARNING, in_time("backing off, again")),
        DestinationState::Open => styled(BAD, in_time("breaker open, again")),
        DestinationState::Paused => styled(WARNING, "paused"),
        DestinationState::Detached => styled(BAD, "detached"),
        DestinationState::Halted => styled(BAD, "halted"),
        DestinationState::NotConfigured => styled(FAINT, "not configured"),
    }
}

/// Why it is as it is, and what failed last.
fn trouble(destination: &DestinationStatus) -> Option<String> {
    let DestinationStatus { name, why, last_error, .. } = destination;
    let words = match (why, last_error) {
        (Some(why), Some(error)) => format!("{}; last error: {}", printable(why), printable(error)),
        (Some(words), None) | (None, Some(words)) => printable(words).into_owned(),
        (None, None) => return None,
    };
    Some(format!("  {}: {words}", styled(NAME, printable(name))))
}

const OUTCOMES: [Column; 8] = [
    Column::Left("NAME"),
    Column::Right("ACCEPTED ="),
    Column::Right("WRITTEN +"),
    Column::Right("SUPERSEDED +"),
    Column::Right("SKIPPED +"),
    Column::Right("DEAD-LETTERED +"),
    Column::Right("GAP +"),
    Column::Right("PENDING"),
];

fn outcomes(destination: &DestinationStatus) -> Vec<String> {
    let of = &destination.outcomes;
    let settled = [of.written, of.superseded, of.skipped, of.dead_lettered, of.gap, of.pending];
    let accepted = match of.add_up() {
        true => grouped(of.accepted),
        // It never is so; if it is, nobody must overlook it.
        false => styled(BAD, format!("{} (!)", grouped(of.accepted))),
    };
    [styled(NAME, printable(&destination.name)), accepted].into_iter().chain(settled.map(grouped)).collect()
}

const LETTERS: [Column; 4] =
    [Column::Left("NAME"), Column::Right("BYTES"), Column::Right("OF"), Column::Left("BY REASON")];

fn letters(destination: &DestinationStatus) -> Vec<String> {
    let of = &destination.dead_letters;
    let by_reason =
        of.by_reason.iter().map(|(reason, count)| format!("{} {}", printable(reason), grouped(*count)));
    vec![
        styled(NAME, printable(&destination.name)),
        bytes(of.bytes),
        bytes(of.bytes_max),
        by_reason.collect::<Vec<_>>().join(", "),
    ]
}

const TRANSFORMS: [Column; 7] = [
    Column::Left("NAME"),
    Column::Left("MODULE"),
    Column::Right("GENERATION"),
    Column::Right("RECORDS"),
    Column::Right("FAILURES"),
    Column::Right("CPU"),
    Column::Left("SUSPENDED"),
];

fn transform(transform: &TransformStatus) -> Vec<String> {
    let TransformStatus { name, module, generation, records, failures, cpu_seconds, suspended, .. } =
        transform;
    let suspended: Vec<Cow<'_, str>> = suspended.iter().map(|index| printable(index)).collect();
    vec![
        styled(NAME, printable(name)),
        module.chars().take(DIGEST_CHARACTERS).collect(),
        generation.to_string(),
        grouped(*records),
        if *failures == 0 { "0".to_owned() } else { styled(WARNING, grouped(*failures)) },
        format!("{cpu_seconds:.1} s"),
        if suspended.is_empty() { String::new() } else { styled(BAD, suspended.join(", ")) },
    ]
}

fn refused_module(transform: &TransformStatus) -> Option<String> {
    let refused = transform.refused.as_ref()?;
    let module = refused.module.as_deref().unwrap_or("a file").chars().take(DIGEST_CHARACTERS);
    let words = format!(
        "{} is refused since {}: {}",
        module.collect::<String>(),
        refused.since,
        printable(&refused.why)
    );
    Some(format!("  {}: {}", styled(NAME, printable(&transform.name)), styled(BAD, words)))
}

fn between(from: Time, to: Time) -> f64 {
    to.0.0.saturating_sub(from.0.0) as f64 / 1e6
}

#[cfg(test)]
pub(super) mod tests;

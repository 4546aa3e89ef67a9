//! The status as an operator reads it.

use plugin_api::identity::{Position, Timestamp};

use super::*;
use crate::admin::{
    ConfigError, ConfigRefused, DeadLetterStatus, Lag, Oldest, Outcomes, RefusedConfigStatus, RefusedModule,
};
use crate::cli::text::colourless;

pub(in crate::cli::status) fn at(seconds: u64) -> Time {
    Time(Timestamp(1_795_000_000_000_000 + seconds * 1_000_000))
}

fn position(offset: u64) -> Position {
    Position { partition: 0, offset }
}

pub(in crate::cli::status) fn destination(name: &str, state: DestinationState) -> DestinationStatus {
    DestinationStatus {
        name: name.to_owned(),
        kind: Some("file".to_owned()),
        state,
        until: None,
        why: None,
        delivered: position(12_345),
        visible: position(12_345),
        lag: Lag::default(),
        records_per_second: 0.0,
        in_flight: 0,
        last_error: None,
        outcomes: Outcomes { accepted: 12_345, written: 12_345, ..Outcomes::default() },
        dead_letters: DeadLetterStatus::default(),
    }
}

pub(in crate::cli::status) fn status() -> Status {
    let search = DestinationStatus {
        records_per_second: 1_234.4,
        in_flight: 3,
        lag: Lag { records: 45, bytes: 27_000, bytes_max: Some(1 << 30), seconds: 2.6 },
        outcomes: Outcomes {
            accepted: 12_345,
            written: 12_288,
            dead_lettered: 12,
            pending: 45,
            ..Outcomes::default()
        },
        dead_letters: DeadLetterStatus {
            letters: 12,
            bytes: 18_000,
            bytes_max: 1 << 30,
            by_reason: [("rejected".to_owned(), 9), ("too_large".to_owned(), 3)].into(),
        },
        ..destination("search", DestinationState::Running)
    };
    let mirror = DestinationStatus {
        until: Some(at(7_205)),
        last_error: Some("connection\u{1b}[31m refused".to_owned()),
        ..destination("mirror", DestinationState::Open)
    };
    Status {
        at: at(7_200),
        agent_version: "0.1.0".to_owned(),
        started_at: at(0),
        draining: false,
        config: ConfigStatus {
            generation: 3,
            source: Some("agent.toml".to_owned()),
            loaded_at: at(60),
            serving_last_accepted: false,
            refused: None,
            drift: Vec::new(),
        },
        log: LogStatus {
            id: String::new(),
            bytes: 13 << 20,
            held_bytes: 27_000,
            bytes_max: 20 << 30,
            oldest: Some(Oldest { position: position(100), accepted_at: at(0) }),
            end: position(12_345),
            records_per_second: 1_200.0,
            disk_full_in_seconds: None,
            refusing: None,
            versions_ahead_seconds: 0.0,
        },
        destinations: vec![destination("archive", DestinationState::Running), mirror, search],
        transforms: vec![TransformStatus {
            name: "redact".to_owned(),
            module: "0123456789abcdef".to_owned(),
            generation: 2,
            since: at(0),
            records: 12_345,
            failures: 0,
            cpu_seconds: 1.26,
            suspended: Vec::new(),
            refused: None,
        }],
    }
}

fn shown(status: &Status) -> String {
    colourless(&(lines(status).join("\n") + "\n"))
}

/// Everything stands in its column, and nothing that a destination said reaches the terminal as it came.
#[test]
fn it_is_shown_as_tables() {
    let expected = "\
sync-agent 0.1.0, up 2h, config agent.toml, generation 3 since 2026-11-18T11:07:40.000000Z

log  13.0 MiB of 20.0 GiB, 26.4 KiB of them held for destinations, 1200 records/s, from 0:100 of 2026-11-18T11:06:40.000000Z to 0:12345

destinations
  NAME     STATE                      BEHIND     BYTES  AGE  RECORDS/S  IN FLIGHT  DEAD LETTERS
  archive  running                         0       0 B   0s          0          0             0
  mirror   breaker open, again in 5s       0       0 B   0s          0          0             0
  search   running                        45  26.4 KiB   2s       1234          3            12
  mirror: connection\\u{1b}[31m refused

what became of every record, in records
  NAME     ACCEPTED =  WRITTEN +  SUPERSEDED +  SKIPPED +  DEAD-LETTERED +  GAP +  PENDING
  archive      12,345     12,345             0          0                0      0        0
  mirror       12,345     12,345             0          0                0      0        0
  search       12,345     12,288             0          0               12      0       45

dead letters
  NAME       BYTES       OF  BY REASON
  search  17.6 KiB  1.0 GiB  rejected 9, too_large 3

transforms
  NAME    MODULE        GENERATION  RECORDS  FAILURES    CPU  SUSPENDED
  redact  0123456789ab           2   12,345         0  1.3 s
";
    assert_eq!(shown(&status()), expected);
}

/// What somebody should look at comes first: before any table.
#[test]
fn alerts_come_first() {
    let mut status = status();
    let error = |line, key: &str| ConfigError {
        line,
        key: key.to_owned(),
        message: "is wrong".to_owned(),
        accepted: None,
    };
    let errors = vec![error(Some(3), "listen.grpc"), error(None, "destinations.search")];
    let config = ConfigRefused { file: None, errors, text: String::new() };
    status.config.refused = Some(RefusedConfigStatus { at: at(7_000), config });
    status.config.serving_last_accepted = true;
    status.config.drift = vec!["destination mirror is paused".to_owned()];
    status.draining = true;
    status.log.disk_full_in_seconds = Some(3_600);
    status.log.refusing = Some("destination \"search\" is behind by too much".to_owned());
    status.log.versions_ahead_seconds = 90.0;
    status.transforms[0].refused =
        Some(RefusedModule { module: None, since: at(1), why: "it is no component".to_owned() });
    let shown = shown(&status);
    let alerts: Vec<&str> = shown.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    let expected = [
        "the config file was broken at the start: the last config that was accepted serves",
        "the config file is refused since 2026-11-18T13:03:20.000000Z, the one before serves: 2 errors",
        "  line 3: listen.grpc: is wrong",
        "  destinations.search: is wrong",
        "every request is refused: destination \"search\" is behind by too much",
        "the log's disk budget is used up in 1h: then ingest is refused",
        "versions run ahead of the clock by 1m30s: is the clock right?",
        "draining: every request is refused; `sync-agent drain --cancel` takes them again",
        "differs from the config: destination mirror is paused",
    ];
    assert_eq!(alerts, expected);
    assert!(
        shown.contains("  redact: a file is refused since 2026-11-18T11:06:41.000000Z: it is no component\n")
    );
}

/// Each state has its words; an agent without anything has no tables.
#[test]
fn states_have_words() {
    let mut status = status();
    status.destinations = [
        DestinationState::Running,
        DestinationState::BackingOff,
        DestinationState::Open,
        DestinationState::Paused,
        DestinationState::Detached,
        DestinationState::Halted,
        DestinationState::NotConfigured,
    ]
    .map(|state| destination("x", state))
    .into();
    let shown_states = shown(&status);
    let rows = shown_states.lines().skip_while(|line| *line != "destinations").skip(2).take(7);
    let states: Vec<String> = rows
        .map(|row| row.split("  ").filter(|cell| !cell.is_empty()).nth(1).unwrap().trim().to_owned())
        .collect();
    let expected =
        ["running", "backing off", "breaker open", "paused", "detached", "halted", "not configured"];
    assert_eq!(states, expected);
    (status.destinations, status.transforms) = (Vec::new(), Vec::new());
    assert_eq!(shown(&status).lines().count(), 3);
}

//! `log dump`: records as JSON lines.

use std::io::{self, Write};

use plugin_api::identity::{Position, Timestamp};
use serde::Serialize;

use super::{Outcome, Session};
use crate::{
    cli::{
        output::{BAD, WARNING, styled},
        text,
    },
    log::{
        inspect::{Dumped, Missing, Start},
        interface::Frame,
    },
    record::{Record, payload_index, read_payload},
};

/// Print records as JSON, one a line, in the order in which they were accepted.
///
/// Each line has the record's position, version, request id and time, the action, index and object id, caller and
/// idempotency key where the producer gave them, and its data byte for byte as it was accepted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sync-agent log dump --from 0:1234 --limit 10
  sync-agent log dump --since 10m --index products > products.ndjson
  sync-agent log dump --since 2026-01-01T00:00:00Z --until 2026-01-02T00:00:00Z | jq -r .object_id

What cannot be read ends it, with exit code 4; --keep-going names it on stderr and goes on behind it.")]
pub(super) struct Dump {
    /// Begin at this position (0:1234, or 1234)
    #[arg(long, value_name = "POSITION", value_parser = position, conflicts_with = "since")]
    from: Option<Position>,
    /// Begin with what was accepted at this time (2026-01-01T00:00:00Z) or so long ago (30m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = text::since)]
    since: Option<Timestamp>,
    /// End before this position or time
    #[arg(long, value_name = "POSITION|TIME", value_parser = until)]
    until: Option<Until>,
    /// Only records of this index
    #[arg(long, value_name = "NAME")]
    index: Option<String>,
    /// Print at most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Pass over what cannot be read
    #[arg(long)]
    keep_going: bool,
}

/// Where to end, not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Position(Position),
    Time(Timestamp),
}

/// A line, but for the record's data, which is spliced in behind it.
#[derive(Serialize)]
struct Line<'a> {
    position: PositionFields,
    version: u64,
    request_id: String,
    accepted_at: &'a str,
    action: &'static str,
    index: &'a str,
    object_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
}

#[derive(Serialize)]
struct PositionFields {
    partition: u32,
    offset: u64,
}

impl Dump {
    pub(super) fn run(&self, session: &mut Session<'_>) -> anyhow::Result<Outcome> {
        let start = match (self.from, self.since) {
            (Some(position), _) => Start::Position(position),
            (None, Some(since)) => Start::Time(since),
            (None, None) => Start::Oldest,
        };
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut outcome = Outcome::Done;
        for dumped in session.log.frames(start) {
            if left == 0 {
                break;
            }
            match dumped? {
                Dumped::Frame(frame) if self.ends_before(&frame) => break,
                Dumped::Frame(frame) => self.write_frame(&frame, &mut left, session.out)?,
                Dumped::Missing(missing) if self.is_beyond(missing.from) => break,
                Dumped::Missing(missing) => {
                    session.out.flush()?;
                    tell(&missing, session.errors)?;
                    if !missing.given_up {
                        outcome = Outcome::Grave;
                    }
                    if !missing.given_up && !self.keep_going {
                        writeln!(session.errors, "--keep-going passes over it")?;
                        break;
                    }
                }
            }
        }
        Ok(outcome)
    }

    fn write_frame(&self, frame: &Frame, left: &mut u64, out: &mut dyn Write) -> anyhow::Result<()> {
        if let (Some(wanted), Ok(index)) = (&self.index, payload_index(&frame.payload))
            && wanted != index
        {
            return Ok(());
        }
        let accepted_at = text::time(frame.accepted_at);
        let records = read_payload(&frame.payload, frame.records).map_err(|error| {
            anyhow::anyhow!("frame at {}: {error}: see `sync-agent log verify`", frame.position)
        })?;
        for (number, record) in (0..).zip(records) {
            let position = frame.position.plus(number);
            let is_wanted = self.from.is_none_or(|from| from <= position) && !self.is_beyond(position);
            if is_wanted && *left > 0 {
                write_record(out, frame, number, &record, &accepted_at)?;
                *left -= 1;
            }
        }
        Ok(())
    }

    fn ends_before(&self, frame: &Frame) -> bool {
        match self.until {
            Some(Until::Time(until)) => frame.accepted_at >= until,
            Some(Until::Position(_)) | None => self.is_beyond(frame.position),
        }
    }

    fn is_beyond(&self, position: Position) -> bool {
        matches!(self.until, Some(Until::Position(until)) if position >= until)
    }
}

fn write_record(
    out: &mut dyn Write,
    frame: &Frame,
    number: u64,
    record: &Record,
    accepted_at: &str,
) -> io::Result<()> {
    let Position { partition, offset } = frame.position.plus(number);
    let idempotency = frame.attributes.idempotency.as_ref();
    let line = Line {
        position: PositionFields { partition, offset },
        version: frame.version.0 + number,
        request_id: frame.request_id.to_string(),
        accepted_at,
        action: record.action.as_str(),
        index: &record.index,
        object_id: &record.object_id,
        caller: frame.attributes.caller.as_deref(),
        idempotency_key: idempotency.map(|idempotency| idempotency.key.as_str()),
    };
    let line = serde_json::to_string(&line)?;
    let head = line.strip_suffix('}').unwrap_or(&line);
    out.write_all(text::one_line(head).as_bytes())?;
    match std::str::from_utf8(&record.body) {
        Ok("") => {}
        // The agent lets nothing else in than one JSON object.
        Ok(body) if body.starts_with('{') && body.ends_with('}') => {
            out.write_all(b",\"data\":")?;
            out.write_all(text::one_line(body).as_bytes())?;
        }
        Ok(_) | Err(_) => {
            let body = serde_json::to_string(&String::from_utf8_lossy(&record.body))?;
            write!(out, ",\"data_text\":{}", text::one_line(&body))?;
        }
    }
    out.write_all(b"}\n")
}

fn tell(missing: &Missing, errors: &mut dyn Write) -> io::Result<()> {
    let Missing { path, at, from, to, given_up, what } = missing;
    let style = if *given_up { WARNING } else { BAD };
    let head = styled(style, format_args!("{from} to before {to} cannot be read:"));
    writeln!(errors, "{head} {}, byte {at}: {}", path.display(), text::printable(what))
}

/// `0:1234`, or the offset alone.
pub(super) fn position(text: &str) -> Result<Position, String> {
    let offset = text.strip_prefix("0:").unwrap_or(text);
    match offset.parse() {
        Ok(offset) => Ok(Position { partition: 0, offset }),
        Err(_) => Err("not a position like 0:1234".to_owned()),
    }
}

fn until(text: &str) -> Result<Until, String> {
    position(text)
        .map(Until::Position)
        .or_else(|_| text::since(text).map(Until::Time))
        .map_err(|error| format!("no position like 0:1234, and {error}"))
}

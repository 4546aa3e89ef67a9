//! What happens to records, as `POST /v1/tail` and `sync-agent tail --json` tell it while it happens.

use plugin_api::{
    identity::{Position, Timestamp},
    operation::{Key, Source},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::time::Time;
use crate::{
    dead_letter::Change,
    tap::{Event, Kind, NotShown, Shown},
};

/// What happened to one record, or how many events were not shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TailEvent {
    /// When.
    pub at: Time,
    /// What.
    pub event: TailKind,
    /// Where; absent where no destination has anything to do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How long after its record was accepted; absent for what was accepted just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
    /// With `dead_lettered` and `gap`: why, with the destination's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where the record lies in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The request that brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Who sent that; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The record as it was accepted; absent with `not_shown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<TailChange>,
    /// What it became, by its transform or since the destination has a name of its own for the index; absent if it is the
    /// record itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<TailChange>,
    /// With `not_shown`: events that were beyond the rate, since this was told last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_rate: Option<u64>,
    /// With `not_shown`: events that came while too many others had not been read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub too_slow: Option<u64>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TailKind {
    /// The record is durable in the log.
    Accepted,
    /// The destination has applied it.
    Delivered,
    /// The destination had, or was given, something newer of its object.
    Superseded,
    /// Its transform leaves it out.
    Skipped,
    /// It lies in the destination's dead letters now.
    DeadLettered,
    /// The destination refused it, and there was no room to keep it.
    Gap,
    /// Events were not shown.
    NotShown,
}

/// One change of one object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TailChange {
    /// `save`, `partial_update`, `partial_update_no_create` or `delete`.
    pub action: String,
    /// The index; of an operation, the destination's.
    pub index: String,
    /// The object's id.
    pub object_id: String,
    /// The attributes, as they stand there; absent for a delete, and where they are too large to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Where they are: how they begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_start: Option<String>,
    /// Bytes of all attributes.
    pub data_bytes: u64,
}

impl TailEvent {
    /// How many events were not shown; `None` if all were.
    #[must_use]
    pub fn not_shown(at: Timestamp, NotShown { over_rate, too_slow }: NotShown) -> Option<Self> {
        let some = |count| (count > 0).then_some(count);
        let empty = Self {
            at: Time(at),
            event: TailKind::NotShown,
            destination: None,
            milliseconds: None,
            reason: None,
            position: None,
            request_id: None,
            caller: None,
            record: None,
            operation: None,
            over_rate: some(over_rate),
            too_slow: some(too_slow),
        };
        (over_rate + too_slow > 0).then_some(empty)
    }
}

impl From<Event> for TailEvent {
    fn from(event: Event) -> Self {
        let Event { at, kind, destination, source, record, operation, reason } = event;
        let Source { position, request_id, accepted_at, caller, .. } = source;
        let age = at.0.saturating_sub(accepted_at.0) / 1_000;
        Self {
            at: Time(at),
            event: kind.into(),
            milliseconds: destination.is_some().then_some(age),
            destination: destination.map(|destination| destination.to_string()),
            reason: reason.map(|reason| reason.to_string()),
            position: Some(position),
            request_id: Some(request_id.to_string()),
            caller: caller.map(|caller| caller.to_string()),
            record: Some(record.into()),
            operation: operation.map(TailChange::from),
            over_rate: None,
            too_slow: None,
        }
    }
}

impl From<Kind> for TailKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Accepted => Self::Accepted,
            Kind::Delivered => Self::Delivered,
            Kind::Superseded => Self::Superseded,
            Kind::Skipped => Self::Skipped,
            Kind::DeadLettered => Self::DeadLettered,
            Kind::Gap => Self::Gap,
        }
    }
}

impl From<Shown> for TailChange {
    fn from(shown: Shown) -> Self {
        let is_cut = shown.is_cut();
        let Shown { change: Change { action, key: Key { index, object_id }, body }, body_bytes } = shown;
        let text = String::from_utf8_lossy(&body);
        let data = (!is_cut && !body.is_empty()).then(|| raw(&text)).flatten();
        Self {
            action: action.as_str().to_owned(),
            index: index.to_string(),
            object_id: object_id.to_string(),
            data_start: (data.is_none() && !body.is_empty()).then(|| start(&text)),
            data,
            data_bytes: body_bytes as u64,
        }
    }
}

/// So much of attributes that are too large is shown.
const START_CHARACTERS: usize = 200;

fn start(text: &str) -> String {
    text.chars().take(START_CHARACTERS).collect()
}

/// JSON on one line, as a server-sent event has it: a line feed of it stands between its tokens.
fn raw(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.replace(['\n', '\r'], " ")).ok()
}

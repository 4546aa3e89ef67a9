//! What an operator asks for: the JSON bodies of the requests. An absent body is `{}`; an unknown key is an error.

use std::{fmt, str::FromStr};

use plugin_api::{identity::RequestId, verdict::ReasonCode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use uuid::Uuid;

use super::{error::ControlError, time::Time};
use crate::dead_letter::{Filter, LetterId, Stage};

/// Reads the config anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// Only checks, and tells what would change.
    pub dry_run: bool,
}

/// Sends nothing more to a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pause {
    /// Why, for whoever looks at the status.
    pub why: Option<String>,
}

/// Lets a destination go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resume {
    /// Where it goes on, for one that was detached; default: the oldest record that is left. Anything else goes on at its
    /// cursor.
    pub from: Option<StartAt>,
}

/// Deletes what is kept of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Forget {
    /// Only tells what would be deleted.
    pub dry_run: bool,
}

/// Moves a destination's cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetCursor {
    /// Where to.
    pub from: StartAt,
    /// Also where the destination keeps no versions: its objects pass through older states until the cursor is back where
    /// it was.
    #[serde(default)]
    pub allow_rewind: bool,
    /// Only tells what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// Refuses intake, or takes it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Whether it is refused.
    pub on: bool,
}

/// Looks for an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// The index, as producers name it.
    pub index: String,
    /// The object's id, as producers name it.
    pub object_id: String,
}

/// Looks at records while they pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tail {
    /// Only those of indexes that match: a name, or a pattern with `*` and `?` as the config's index rules have it.
    pub index: Option<String>,
    /// Only what this destination receives, and what becomes of it there.
    pub destination: Option<String>,
    /// So many events of each kind are shown in a second, at most; 1 to 1,000.
    pub rate: u32,
}

impl Default for Tail {
    fn default() -> Self {
        Self { index: None, destination: None, rate: Self::RATE }
    }
}

impl Tail {
    /// The usual rate: more than anybody can read.
    pub const RATE: u32 = 50;
    /// The highest.
    pub const RATE_MAX: u32 = 1_000;
}

/// Sends dead letters again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Whose letters.
    pub destination: String,
    /// Which of them.
    #[serde(default)]
    pub filter: LetterFilter,
    /// Also those that are stale.
    #[serde(default)]
    pub force: bool,
    /// Only counts and lists.
    #[serde(default)]
    pub dry_run: bool,
}

/// Deletes dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropLetters {
    /// Whose letters.
    pub destination: String,
    /// Which of them.
    #[serde(default)]
    pub filter: LetterFilter,
    /// Only counts.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which letters of a destination: those for which everything holds that is given; the default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LetterFilter {
    /// Of this index, the record's or the operation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Of this object, the record's or the operation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// For this reason: a reason's code, such as `rejected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which came as far as this: `transform`, `admit` or `delivery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Brought by this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Uuid>,
    /// Dead-lettered at or after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Dead-lettered before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// With one of these ids; any, if it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u64>,
    /// Whose id is this one or greater.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Whose id is this one or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// Only those that are stale, or only those that are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<bool>,
}

impl LetterFilter {
    /// The same for a store.
    ///
    /// # Errors
    /// If a reason or a stage is none.
    pub fn to_filter(&self) -> Result<Filter, ControlError> {
        let Self { index, object, reason, stage, request, since, until, ids, first, last, stale } = self;
        let reason = known("reason", reason.as_deref(), &ReasonCode::ALL, |code| code.as_str())?;
        let stage = known("stage", stage.as_deref(), &Stage::ALL, |stage| stage.as_str())?;
        Ok(Filter {
            index: index.as_deref().map(Into::into),
            object: object.as_deref().map(Into::into),
            reason,
            stage,
            request: request.map(RequestId),
            since: since.map(|time| time.0),
            until: until.map(|time| time.0),
            ids: ids.iter().copied().map(LetterId).collect(),
            first: first.map(LetterId),
            last: last.map(LetterId),
            stale: *stale,
            limit: None,
        })
    }

    /// The same over the wire; a limit is for showing alone.
    #[must_use]
    pub fn of(filter: &Filter) -> Self {
        let Filter { index, object, reason, stage, request, since, until, ids, first, last, stale, limit: _ } =
            filter;
        Self {
            index: index.as_deref().map(Into::into),
            object: object.as_deref().map(Into::into),
            reason: reason.map(|code| code.as_str().to_owned()),
            stage: stage.map(|stage| stage.as_str().to_owned()),
            request: request.map(|request| request.0),
            since: since.map(Time),
            until: until.map(Time),
            ids: ids.iter().map(|id| id.0).collect(),
            first: first.map(|id| id.0),
            last: last.map(|id| id.0),
            stale: *stale,
        }
    }
}

/// Which of all things a word means.
fn known<T: Copy>(
    what: &str,
    word: Option<&str>,
    all: &[T],
    name: impl Fn(&T) -> &'static str,
) -> Result<Option<T>, ControlError> {
    let Some(word) = word else { return Ok(None) };
    let found = all.iter().copied().find(|one| name(one) == word);
    found.map(Some).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(name).collect();
        ControlError::invalid(
            format!("there is no {what} {word:?}"),
            format!("choose one of: {}", names.join(", ")),
        )
    })
}

/// Where a destination begins or goes on. On the wire and on the command line: `now`, `oldest` or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the log's end.
    Now,
    /// At the oldest record that the log still holds.
    Oldest,
    /// At the first record that was accepted at or after this time.
    Time(Time),
}

/// What is no [`StartAt`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is none of: now, oldest, a time like 2026-11-23T15:00:00Z")]
pub struct StartAtError(String);

impl fmt::Display for StartAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Oldest => f.write_str("oldest"),
            Self::Time(time) => time.fmt(f),
        }
    }
}

impl FromStr for StartAt {
    type Err = StartAtError;

    fn from_str(text: &str) -> Result<Self, StartAtError> {
        match text {
            "now" => Ok(Self::Now),
            "oldest" => Ok(Self::Oldest),
            text => text.parse().map(Self::Time).map_err(|_| StartAtError(text.to_owned())),
        }
    }
}

impl Serialize for StartAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

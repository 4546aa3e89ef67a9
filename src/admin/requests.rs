//! What an operator asks for: the JSON bodies of the requests. An absent body is `{}`; an unknown key is an error.

use std::{fmt, str::FromStr};

use plugin_api::verdict::ReasonCode;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use uuid::Uuid;

use super::time::Time;

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
    /// With this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Of this index, the record's or the operation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Of this object, the record's or the operation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Brought by this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Uuid>,
    /// For this reason: a reason's code, such as `rejected`.
    #[serde(skip_serializing_if = "Option::is_none", with = "reason_code")]
    pub reason: Option<ReasonCode>,
    /// Dead-lettered at or after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Dead-lettered before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
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

/// A reason's code as the word that letters show.
mod reason_code {
    use super::{Deserialize, Deserializer, ReasonCode, Serialize, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        code: &Option<ReasonCode>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        code.map(ReasonCode::as_str).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ReasonCode>, D::Error> {
        let Some(word) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let known = ReasonCode::ALL.into_iter().find(|code| code.as_str() == word);
        known.map(Some).ok_or_else(|| {
            let codes = ReasonCode::ALL.map(ReasonCode::as_str).join(", ");
            de::Error::custom(format!("{word:?} is none of: {codes}"))
        })
    }
}

//! A point in time on the wire.

use std::{fmt, str::FromStr};

use plugin_api::identity::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// RFC 3339 in UTC, to the microsecond: `2026-11-23T15:00:00.000000Z`. Any offset is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = i64::try_from(self.0.0).ok();
        // A moment beyond the year 9999 is shown as the last one before.
        let moment = microseconds.and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
        write!(f, "{:.6}", moment.unwrap_or(jiff::Timestamp::MAX))
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    /// A moment before 1970 is read as its beginning.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment: jiff::Timestamp = text.parse()?;
        Ok(Self(Timestamp(u64::try_from(moment.as_microsecond()).unwrap_or(0))))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| {
            de::Error::custom(format!("{text:?} is not a time like 2026-11-23T15:00:00Z: {error}"))
        })
    }
}

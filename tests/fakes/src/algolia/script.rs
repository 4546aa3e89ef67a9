//! How the fake misbehaves: faults of whole requests and poisonous records, changed by a test at any time.
//!
//! Faults concern writes alone, so that probes and tasks go on unless their host is switched off.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use hyper::header::{LOCATION, RETRY_AFTER};

use super::{
    answer::{self, Answer},
    batch::Item,
};

/// What happens to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429 in Algolia's words, with a `Retry-After` of this text if given.
    Throttled {
        /// Seconds or an HTTP date, or nonsense.
        retry_after: Option<String>,
    },
    /// An error of this status in Algolia's form, with this message. Nothing is applied.
    Refused {
        /// 400 to 599.
        status: u16,
        /// What it says.
        message: String,
    },
    /// An answer of this status with this body, as JSON. Nothing is applied.
    Answered {
        /// 200 to 599.
        status: u16,
        /// What it carries.
        body: String,
    },
    /// The page of a proxy, with this status. Nothing is applied.
    Html(u16),
    /// 403, for one of its reasons.
    Forbidden(Forbidden),
    /// A redirect to this address.
    Redirect(String),
    /// The connection is cut without an answer. Nothing is applied.
    Cut,
    /// The batch is applied and then the connection is cut without an answer.
    CutAfterApplying,
    /// The batch is applied and answered after this long, unless the client went away before.
    Delay(Duration),
    /// Never answered, never applied.
    Hang,
    /// Never answered. Applied when the test says so, whether or not the client is still there.
    Hold,
}

/// Why a write is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// The key or the application is not known.
    Credentials,
    /// The key may search only.
    Method,
    /// The key may not write this index.
    Index,
    /// The plan has no room for more records.
    RecordQuota,
    /// The plan has no room for more operations.
    OperationsQuota,
}

/// What a batch meets that contains a poisonous record. None of it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    /// 400 that names the record by position and object id.
    Named,
    /// 400 that names it by position, in other words.
    Positioned,
    /// 400 that names it in its message alone.
    InWords,
    /// 400 with the column at which the record ends ([`Self::Anonymous`] when only counting).
    Column,
    /// 400 that names nothing.
    Anonymous,
    /// 500.
    ServerError,
    /// No answer.
    Hang,
}

/// What makes a record poisonous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    ObjectId(String),
    Text(String),
}

/// A write that was received and waits for the test to apply it.
pub(super) struct Held {
    pub(super) index: String,
    pub(super) body: Bytes,
    pub(super) number: u64,
}

#[derive(Default)]
pub(super) struct Script {
    pub(super) next: VecDeque<Fault>,
    pub(super) always: Option<Fault>,
    pub(super) poisons: Vec<(Mark, Poison)>,
    pub(super) held: Vec<Held>,
}

impl Script {
    /// The fault of the next write.
    pub(super) fn take(&mut self) -> Option<Fault> {
        self.next.pop_front().or_else(|| self.always.clone())
    }

    /// The first poisonous record of a batch and what it does.
    pub(super) fn poison(&self, items: &[Item<'_>]) -> Option<(usize, Poison)> {
        if self.poisons.is_empty() {
            return None;
        }
        items.iter().enumerate().find_map(|(position, item)| {
            let hit = self.poisons.iter().find(|(mark, _)| match mark {
                Mark::ObjectId(object_id) => *object_id == item.object_id,
                Mark::Text(text) => item.text().contains(text.as_str()),
            });
            hit.map(|(_, poison)| (position, *poison))
        })
    }
}

impl Forbidden {
    pub(super) fn answer(self) -> Answer {
        match self {
            Self::Credentials => answer::invalid_credentials(),
            Self::Method => answer::method_not_allowed(),
            Self::Index => answer::index_not_allowed(),
            Self::RecordQuota => answer::record_quota(),
            Self::OperationsQuota => answer::operations_quota(),
        }
    }
}

pub(super) fn throttled(retry_after: Option<String>) -> Answer {
    let answer = Answer::error(429, "Too many requests");
    match retry_after {
        Some(text) => answer.with_header(RETRY_AFTER, text),
        None => answer,
    }
}

pub(super) fn redirect(location: String) -> Answer {
    Answer::error(307, "Temporary Redirect").with_header(LOCATION, location)
}

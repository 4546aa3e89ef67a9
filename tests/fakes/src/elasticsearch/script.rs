//! How the fake misbehaves: faults of whole requests and poisonous records, changed by a test at any time.
//!
//! Faults concern writes alone, so that probes and refreshes go on unless their host is switched off.

use std::{collections::VecDeque, time::Duration};

use hyper::header::{LOCATION, RETRY_AFTER};

use super::{
    answer::{self, Answer, Refusal},
    apply::Write,
    bulk::Item,
};

/// What happens to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429 of the whole request, with a `Retry-After` of this text if given (no real cluster sends one; proxies do).
    Throttled {
        /// Seconds or an HTTP date, or nonsense.
        retry_after: Option<String>,
    },
    /// An error of the whole request. Nothing is applied.
    Refused {
        /// 400 to 599.
        status: u16,
        /// Its type.
        kind: String,
        /// Its reason.
        reason: String,
    },
    /// Every item is answered with this error. Nothing is applied.
    Items {
        /// 400 to 599.
        status: u16,
        /// Its type.
        kind: String,
        /// Its reason.
        reason: String,
    },
    /// The same for every document whose id ends in an even byte, as if one of two shards refused; the others' items
    /// are applied.
    SomeItems {
        /// 400 to 599.
        status: u16,
        /// Its type.
        kind: String,
        /// Its reason.
        reason: String,
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

/// What a request meets that contains a poisonous record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poison {
    /// That item alone is answered with this error.
    Item {
        /// 400 to 599.
        status: u16,
        /// Its type.
        kind: String,
        /// Its reason.
        reason: String,
    },
    /// 400 of the whole request, which names nobody. None of it is applied.
    Anonymous,
    /// 500 of the whole request. None of it is applied.
    ServerError,
    /// No answer. None of it is applied.
    Hang,
}

impl Poison {
    /// The item does not fit the mapping.
    #[must_use]
    pub fn unparsable() -> Self {
        let (kind, reason) = ("mapper_parsing_exception".to_owned(), "failed to parse".to_owned());
        Self::Item { status: 400, kind, reason }
    }
}

/// What makes a record poisonous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    ObjectId(String),
    Text(String),
}

#[derive(Default)]
pub(super) struct Script {
    pub(super) next: VecDeque<Fault>,
    pub(super) always: Option<Fault>,
    pub(super) poisons: Vec<(Mark, Poison)>,
    /// Received, and applied when the test says so.
    pub(super) held: Vec<Write>,
}

impl Script {
    /// The fault of the next write.
    pub(super) fn take(&mut self) -> Option<Fault> {
        self.next.pop_front().or_else(|| self.always.clone())
    }

    /// What the first record does that spoils the whole request.
    pub(super) fn spoils(&self, items: &[Item<'_>]) -> Option<Poison> {
        if self.poisons.is_empty() {
            return None;
        }
        let mut poisons = items.iter().filter_map(|item| self.poison(item));
        poisons.find(|poison| !matches!(poison, Poison::Item { .. })).cloned()
    }

    /// The refusal of one record alone.
    pub(super) fn refusal(&self, item: &Item<'_>) -> Option<Refusal> {
        match self.poison(item)? {
            Poison::Item { status, kind, reason } => Some(Refusal::new(*status, kind, reason)),
            Poison::Anonymous | Poison::ServerError | Poison::Hang => None,
        }
    }

    fn poison(&self, item: &Item<'_>) -> Option<&Poison> {
        let hit = self.poisons.iter().find(|(mark, _)| match mark {
            Mark::ObjectId(object_id) => *object_id == item.id,
            Mark::Text(text) => String::from_utf8_lossy(item.source).contains(text.as_str()),
        });
        hit.map(|(_, poison)| poison)
    }
}

/// The words with which the first and the second kind of poison refuse a whole request.
pub(super) fn spoiled(poison: &Poison) -> Option<Answer> {
    match poison {
        Poison::Anonymous => Some(Answer::refused(&answer::invalid("no requests added"))),
        Poison::ServerError => {
            let refusal = Refusal::new(500, "null_pointer_exception", "cannot invoke a method of null");
            Some(Answer::refused(&refusal))
        }
        Poison::Item { .. } | Poison::Hang => None,
    }
}

pub(super) fn throttled(retry_after: Option<String>) -> Answer {
    let answer = Answer::refused(&answer::pressure(950_249, 921_600));
    match retry_after {
        Some(text) => answer.with_header(RETRY_AFTER, text),
        None => answer,
    }
}

pub(super) fn redirect(location: String) -> Answer {
    Answer::words(307, "Temporary Redirect").with_header(LOCATION, location)
}

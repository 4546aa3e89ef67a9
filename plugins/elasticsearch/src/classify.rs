//! An answer -> what became of each operation, or of the whole request.
//!
//! Only an item that is where it belongs and says what it must is believed. Anything odd leaves the outcome of the whole
//! request open: it is sent again, and nothing is called written or guilty by guess (G3, G6).

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use plugin_api::{
    identity::Version,
    operation::Action,
    verdict::{Reason, ReasonCode, Scope, Verdict, WriteError},
};
use plugin_http::{body::excerpt, classify, exchange::Answer};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    encode::{Form, Line, OPERATION_FACTOR, VERSION_FACTOR, document_version},
    settings::PartialUpdates,
};

/// How far beyond what we know of a version may be that still counts as an agent's: clocks differ.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(60);

/// What an answered request came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// One for each line, in order.
    pub(crate) fates: Vec<Fate>,
    /// An index is blocked because a disk is full: the operator must act, and until then it counts as busy.
    pub(crate) disk_full: bool,
}

/// What became of one operation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done(Verdict),
    /// It was not applied and must be sent in this form.
    Again(Form),
}

/// By what answers are judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge {
    pub(crate) partial_updates: PartialUpdates,
    /// The newest version that was seen in a batch.
    pub(crate) newest: Version,
}

/// The parts of an answer that are asked for; borrowed from it, but for errors.
#[derive(Deserialize)]
struct Bulk<'a> {
    /// Missing where the answer is somebody else's.
    #[serde(rename = "errors")]
    _errors: bool,
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Item<'a> {
    #[serde(borrow)]
    Index(Done<'a>),
    #[serde(borrow)]
    Delete(Done<'a>),
    #[serde(borrow)]
    Update(Done<'a>),
}

#[derive(Deserialize)]
struct Done<'a> {
    #[serde(borrow, rename = "_id")]
    id: Cow<'a, str>,
    status: u16,
    result: Option<&'a str>,
    error: Option<Problem>,
    failure_store: Option<&'a str>,
    #[serde(rename = "_version")]
    version: Option<i64>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    reason: Option<String>,
}

impl Judge {
    /// What a write's answer means.
    pub(crate) fn written(&self, answer: &Answer, lines: &[Line<'_>]) -> Result<Answered, WriteError> {
        // The page of a proxy says nothing of records, whatever its status.
        if answer.status == StatusCode::BAD_REQUEST
            && let Some(words) = told(answer)
        {
            let reason = Reason::new(ReasonCode::Rejected, words).with_status(400);
            // Validation refuses all for one and does not say reliably for which.
            return Err(WriteError::BatchRejected { culprit: None, reason });
        }
        if !answer.status.is_success() {
            return Err(refused(answer));
        }
        let odd = |problem: String| WriteError::Unknown {
            retry_after: None,
            reason: Reason::new(ReasonCode::Unknown, problem).with_status(answer.status.as_u16()),
        };
        let bulk: Bulk<'_> = serde_json::from_slice(&answer.body).map_err(|error| {
            odd(format!("the answer is no bulk API's: {error}: {}", excerpt(&answer.body)))
        })?;
        if bulk.items.len() != lines.len() {
            return Err(odd(format!(
                "the answer has {} items for {} operations",
                bulk.items.len(),
                lines.len()
            )));
        }
        let mut answered = Answered { fates: Vec::with_capacity(lines.len()), disk_full: false };
        for (item, line) in bulk.items.iter().zip(lines) {
            let done = item.of(line).filter(|done| done.id == *line.operation.key.object_id);
            let fate = done.and_then(|done| self.fate(done, line));
            let Some(fate) = fate else {
                let id = &line.operation.key.object_id;
                return Err(odd(format!("the item of {id:?} says nothing that a bulk API says")));
            };
            answered.disk_full |= done.is_some_and(Done::is_about_disk);
            answered.fates.push(fate);
        }
        Ok(answered)
    }

    /// What became of one operation; `None` if that is not said.
    fn fate(&self, done: &Done<'_>, line: &Line<'_>) -> Option<Fate> {
        let written = Some(Fate::Done(Verdict::Written));
        let Some(problem) = &done.error else {
            return match (done.status, done.result?, line.form) {
                (404, "not_found", Form::Delete(_)) => written,
                (200 | 201, _, _) if done.failure_store == Some("used") => {
                    let words = "the document went to the failure store instead of its index";
                    Some(Fate::Done(Verdict::Reject(done.reason(ReasonCode::Rejected, words))))
                }
                (200, "noop", Form::Script) => Some(Fate::Done(self.passed_over(done))),
                (200, "noop", Form::Doc) => written,
                (200 | 201, "created" | "updated", Form::Index(_) | Form::Script | Form::Doc) => written,
                (200, "deleted", Form::Delete(_)) => written,
                _ => None,
            };
        };
        let words = problem.words();
        let refuse = |code| Some(Fate::Done(Verdict::Reject(done.reason(code, &words))));
        let retry = |code| Some(Fate::Done(Verdict::Retry(done.reason(code, &words))));
        match done.status {
            404 if problem.kind == "document_missing_exception" => match (line.operation.action, line.form) {
                (Action::PartialUpdate, Form::Script | Form::Doc) => {
                    Some(Fate::Again(Form::Index(document_version(line.operation))))
                }
                // Nothing is to be done where there is nothing to change.
                (Action::PartialUpdateNoCreate, Form::Script | Form::Doc) => written,
                _ => None,
            },
            409 => self.conflict(done, problem, line),
            429 => retry(ReasonCode::Throttled),
            // It may be the record that makes a node fail; the other 5xx say that nobody took it up.
            500 => retry(ReasonCode::Unknown),
            501..=599 => retry(ReasonCode::Unavailable),
            401 | 403 | 404 => refuse(ReasonCode::IndexRefused),
            400 if problem.is_about_index() => refuse(ReasonCode::IndexRefused),
            400 if problem.is_race() => retry(ReasonCode::Unknown),
            413 => refuse(ReasonCode::TooLarge),
            400..=499 => refuse(ReasonCode::Rejected),
            _ => None,
        }
    }

    /// The stored version is another than ours, or another update came in between.
    fn conflict(&self, done: &Done<'_>, problem: &Problem, line: &Line<'_>) -> Option<Fate> {
        let ours = match line.form {
            Form::Index(version) | Form::Delete(version) => version,
            Form::Script | Form::Doc => {
                let reason = done.reason(ReasonCode::Unavailable, &problem.words());
                return Some(Fate::Done(Verdict::Retry(reason)));
            }
        };
        let stored = stored_version(problem.reason.as_deref()?)?;
        let is_own = stored / OPERATION_FACTOR == ours / OPERATION_FACTOR;
        if self.partial_updates == PartialUpdates::DeepMerge && is_own && stored > ours {
            // A partial update that came late may have changed what we wrote before: it is written over.
            return Some(Fate::Again(match line.form {
                Form::Delete(_) => Form::Delete(stored),
                Form::Index(_) | Form::Script | Form::Doc => Form::Index(stored),
            }));
        }
        Some(Fate::Done(self.superseded(done, stored, &problem.words())))
    }

    /// A partial update did nothing because what is stored is newer.
    fn passed_over(&self, done: &Done<'_>) -> Verdict {
        let words = "the partial update was passed over";
        done.version.map_or(Verdict::Superseded, |stored| self.superseded(done, stored, words))
    }

    /// Whether the stored version is one that an agent can have given by now. If it is not, somebody else writes with
    /// versions of their own, and nothing of ours would ever arrive.
    fn superseded(&self, done: &Done<'_>, stored: i64, words: &str) -> Verdict {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let known = u64::try_from(clock.as_micros()).unwrap_or(u64::MAX).max(self.newest.0);
        let newest_own = known.saturating_add(CLOCKS_DIFFER_MAX.as_micros() as u64);
        if u64::try_from(stored / VERSION_FACTOR).is_ok_and(|version| version <= newest_own) {
            return Verdict::Superseded;
        }
        let words = format!("the stored version {stored} is no agent's: {words}");
        Verdict::Reject(done.reason(ReasonCode::ForeignVersion, &words))
    }
}

impl<'a> Item<'a> {
    /// What is said of this line, if the item is of its kind.
    fn of(&self, line: &Line<'_>) -> Option<&Done<'a>> {
        match (self, line.form) {
            (Self::Index(done), Form::Index(_))
            | (Self::Delete(done), Form::Delete(_))
            | (Self::Update(done), Form::Script | Form::Doc) => Some(done),
            _ => None,
        }
    }
}

impl Done<'_> {
    fn reason(&self, code: ReasonCode, words: &str) -> Reason {
        Reason::new(code, words).with_status(self.status)
    }

    fn is_about_disk(&self) -> bool {
        let blocked = |problem: &Problem| problem.kind == "cluster_block_exception";
        self.status == 429 && self.error.as_ref().is_some_and(blocked)
    }
}

impl Problem {
    fn words(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {}", self.kind, excerpt(reason.as_bytes())),
            None => self.kind.clone(),
        }
    }

    /// A 400 that is the fault of the index or the cluster: whatever is sent so is refused.
    fn is_about_index(&self) -> bool {
        let says = |beginning| self.reason.as_ref().is_some_and(|reason| reason.starts_with(beginning));
        match self.kind.as_str() {
            "index_closed_exception" | "routing_missing_exception" | "invalid_index_name_exception" => true,
            "illegal_argument_exception" => [
                "no write index is defined for alias",
                "pipeline with id [",
                "only write ops with an op_type of create are allowed in data streams",
                "cannot execute [inline] scripts",
                "cannot execute scripts using [update] context",
                "script_lang not supported",
            ]
            .into_iter()
            .any(says),
            _ => false,
        }
    }

    /// A 400 that only a race makes: two documents were to add the same field at once, with different types. Sent again, the
    /// later one finds the field there, and is taken or refused for good.
    fn is_race(&self) -> bool {
        let says = |words| self.reason.as_ref().is_some_and(|reason| reason.contains(words));
        self.kind == "illegal_argument_exception" && says("] cannot be changed from type [")
    }
}

/// What the answer to a refresh means.
pub(crate) fn refreshed(answer: &Answer, index: &str) -> Result<bool, WriteError> {
    #[derive(Deserialize)]
    struct Refresh {
        #[serde(rename = "_shards")]
        shards: Shards,
    }
    #[derive(Deserialize)]
    struct Shards {
        failed: u32,
    }
    let status = answer.status.as_u16();
    match answer.status {
        // Gone, closed, or a key that may write and not refresh.
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            let reason = Reason::new(ReasonCode::IndexRefused, words(answer)).with_status(status);
            Err(WriteError::Misconfigured { scope: Scope::Index(index.into()), reason })
        }
        _ if answer.status.is_success() => match serde_json::from_slice(&answer.body) {
            Ok(Refresh { shards }) => Ok(shards.failed == 0),
            Err(_) => {
                let words = format!("the answer is no refresh's: {}", excerpt(&answer.body));
                Err(WriteError::Unknown {
                    retry_after: None,
                    reason: Reason::new(ReasonCode::Unknown, words).with_status(status),
                })
            }
        },
        _ => Err(refused(answer)),
    }
}

/// What a cluster says of itself: product and version, for people.
pub(crate) fn product(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let version = body.get("version")?;
    let number = excerpt(version.get("number")?.as_str()?.as_bytes());
    let told = answer.headers.get("x-elastic-product").and_then(|value| value.to_str().ok());
    let product = match version.get("distribution").and_then(Value::as_str) {
        Some("opensearch") => "OpenSearch".to_owned(),
        Some(other) => excerpt(other.as_bytes()),
        None => excerpt(told.unwrap_or("Elasticsearch").as_bytes()),
    };
    Some(format!("{product} {number}"))
}

/// A 4xx of the whole request that is nobody's record's fault.
pub(crate) fn refused(answer: &Answer) -> WriteError {
    let words = words(answer);
    classify::refused(answer.status, answer.retry_after(), &words).unwrap_or_else(|| {
        let reason = Reason::new(ReasonCode::Misconfigured, words).with_status(answer.status.as_u16());
        WriteError::Misconfigured { scope: Scope::Destination, reason }
    })
}

/// What an error's body says, in one line: of one that is no cluster's how it begins, of an empty one what its status is
/// called.
fn words(answer: &Answer) -> String {
    if answer.body.is_empty() {
        return answer.status.canonical_reason().unwrap_or("no words").to_lowercase();
    }
    told(answer).unwrap_or_else(|| format!("the answer is no cluster's: {}", excerpt(&answer.body)))
}

/// What a cluster says of an error, in one line; `None` where no cluster speaks.
fn told(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let error = body.get("error")?;
    let part = |name| error.get(name).and_then(Value::as_str);
    match (part("type"), part("reason"), error.as_str()) {
        (Some(kind), Some(reason), _) => Some(format!("{kind}: {}", excerpt(reason.as_bytes()))),
        (None, Some(words), _) | (Some(words), None, _) | (None, None, Some(words)) => {
            Some(excerpt(words.as_bytes()))
        }
        (None, None, None) => None,
    }
}

/// The version in the words of a conflict. The object's own id stands before it and may say anything.
fn stored_version(reason: &str) -> Option<i64> {
    let (_, rest) = reason.rsplit_once("current version [")?;
    rest.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_version_is_read_behind_the_id() {
        let told = |id| {
            format!("[{id}]: version conflict, current version [10] is higher than the one provided [9]")
        };
        assert_eq!(stored_version(&told("1")), Some(10));
        assert_eq!(stored_version(&told("current version [99]")), Some(10));
        assert_eq!(stored_version("[c]: version conflict, required seqNo [5]"), None);
        assert_eq!(stored_version("current version [-9223372036854775808]"), Some(i64::MIN));
    }
}

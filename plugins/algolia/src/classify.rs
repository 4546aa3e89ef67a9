//! An answer -> verdicts and confirmations, or what became of the whole request.
//!
//! A record is called guilty only beyond doubt. Where an answer leaves one, the batch is rejected without a culprit,
//! and bisecting it costs a few requests instead of an innocent record (G6).

use std::sync::Arc;

use plugin_api::{
    operation::Operation,
    verdict::{Confirmation, Reason, ReasonCode, Scope, Verdict, WriteError, Written},
};
use plugin_http::{body::excerpt, classify, exchange::Answer};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::encode::Request;

/// Begins the words on what something before Algolia answered.
const NOT_ALGOLIAS: &str = "the answer is not Algolia's: ";

/// What a write's answer means.
pub(crate) fn written(answer: &Answer, request: &Request<'_>) -> Result<Written, WriteError> {
    if answer.status == StatusCode::BAD_REQUEST {
        return Err(rejected(answer, request));
    }
    if !answer.status.is_success() {
        return Err(refused(answer, request.indexes[0]));
    }
    let confirmations = confirmations(answer, request).ok_or_else(|| unintelligible(answer))?;
    Ok(Written { verdicts: vec![Verdict::Written; request.operations.len()], confirmations })
}

/// What a task's answer means.
pub(crate) fn published(answer: &Answer, index: &Arc<str>) -> Result<bool, WriteError> {
    #[derive(Deserialize)]
    struct Task<'a> {
        status: &'a str,
    }
    if !answer.status.is_success() {
        return Err(refused(answer, index));
    }
    match serde_json::from_slice(&answer.body) {
        Ok(Task { status }) => Ok(status == "published"),
        Err(_) => Err(unintelligible(answer)),
    }
}

/// Whether a refusal would be the same whatever index is asked for: the credentials themselves are wrong, or something
/// before Algolia answers.
pub(crate) fn concerns_every_index(error: &WriteError) -> bool {
    let words = &error.reason().message;
    contains(words, "invalid application-id") || words.starts_with(NOT_ALGOLIAS)
}

/// Whether the answer says that Algolia looked at the question and did not like it.
pub(crate) fn is_about_question(answer: &Answer) -> bool {
    answer.status == StatusCode::BAD_REQUEST && Problem::of(answer).is_algolias
}

/// A 4xx that names no record, on a request that concerns one index (of several the first is named here; who sent
/// them has to find out).
fn refused(answer: &Answer, index: &Arc<str>) -> WriteError {
    let problem = Problem::of(answer);
    let status = answer.status.as_u16();
    if problem.is_about_load() {
        let reason = Reason::new(ReasonCode::Throttled, problem.words).with_status(status);
        return WriteError::Throttled { retry_after: answer.retry_after(), reason };
    }
    if let Some(error) = classify::refused(answer.status, answer.retry_after(), &problem.words) {
        return error;
    }
    let index_alone = match answer.status {
        StatusCode::FORBIDDEN => contains(&problem.words, "index not allowed"),
        // A 404 that Algolia did not write comes from a proxy and says nothing of an index.
        StatusCode::NOT_FOUND => problem.is_algolias,
        _ => false,
    };
    let (scope, code) = if index_alone {
        (Scope::Index(Arc::clone(index)), ReasonCode::IndexRefused)
    } else {
        (Scope::Destination, ReasonCode::Misconfigured)
    };
    WriteError::Misconfigured { scope, reason: Reason::new(code, problem.words).with_status(status) }
}

/// A 400: at least one record is to blame, if Algolia says so. The page of a proxy says nothing of records.
fn rejected(answer: &Answer, request: &Request<'_>) -> WriteError {
    let problem = Problem::of(answer);
    if problem.is_about_load() || !problem.is_algolias {
        return refused(answer, request.indexes[0]);
    }
    let culprit = culprit(&problem, request);
    let code = if contains(&problem.words, "too big") { ReasonCode::TooLarge } else { ReasonCode::Rejected };
    let reason = Reason::new(code, problem.words).with_status(answer.status.as_u16());
    WriteError::BatchRejected { culprit, reason }
}

/// The operation that a 400 names.
fn culprit(problem: &Problem, request: &Request<'_>) -> Option<usize> {
    let operations = &request.operations;
    if operations.len() == 1 {
        return Some(0);
    }
    if let Some(column) = number_after(&problem.words, "near line:1 column:") {
        return request.operation_at(column);
    }
    let position = problem.position.or_else(|| number_after(&problem.words, "at the position "));
    match (position, &problem.object_id) {
        (Some(position), Some(object_id)) if is_named(operations, position, object_id) => Some(position),
        // With several indexes it is not documented what a position counts.
        (Some(position), None) if request.indexes.len() == 1 && position < operations.len() => {
            agrees(&problem.words, operations[position]).then_some(position)
        }
        // A position that contradicts the id is not to be trusted, an id that stands for one operation is.
        (_, Some(object_id)) => only(operations, object_id),
        (_, None) => None,
    }
}

fn is_named(operations: &[&Operation], position: usize, object_id: &str) -> bool {
    operations.get(position).is_some_and(|operation| &*operation.key.object_id == object_id)
}

/// Whether a message that mentions an id means this operation.
fn agrees(words: &str, operation: &Operation) -> bool {
    match words.split_once("objectID=") {
        Some((_, rest)) => {
            let behind = rest.strip_prefix(&*operation.key.object_id);
            behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(' '))
        }
        None => true,
    }
}

/// The only operation with this id.
fn only(operations: &[&Operation], object_id: &str) -> Option<usize> {
    let mut named = (0..operations.len()).filter(|position| is_named(operations, *position, object_id));
    named.next().filter(|_| named.next().is_none())
}

/// The tasks that an accepted batch started, in the order of its indexes.
fn confirmations(answer: &Answer, request: &Request<'_>) -> Option<Vec<Confirmation>> {
    #[derive(Deserialize)]
    struct Accepted {
        #[serde(rename = "taskID")]
        task_id: Value,
    }
    let Accepted { task_id } = serde_json::from_slice(&answer.body).ok()?;
    let confirm = |index: &Arc<str>, task: &Value| {
        Some(Confirmation { index: Arc::clone(index), handle: task.as_i64()?.to_string() })
    };
    match request.indexes.as_slice() {
        [index] => Some(vec![confirm(index, &task_id)?]),
        indexes => indexes.iter().map(|index| confirm(index, task_id.get(&***index)?)).collect(),
    }
}

/// A 2xx that is not Algolia's: a proxy answered, and what became of the request is its secret.
fn unintelligible(answer: &Answer) -> WriteError {
    let words = format!("{NOT_ALGOLIAS}{}", excerpt(&answer.body));
    WriteError::Unknown {
        retry_after: None,
        reason: Reason::new(ReasonCode::Unknown, words).with_status(answer.status.as_u16()),
    }
}

/// What an error's body says.
struct Problem {
    words: String,
    position: Option<usize>,
    object_id: Option<String>,
    /// It is JSON with a message, and not a page of something in between.
    is_algolias: bool,
}

impl Problem {
    fn of(answer: &Answer) -> Self {
        let body: Map<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = body.get("message").and_then(Value::as_str);
        Self {
            words: match message {
                Some(message) => excerpt(message.as_bytes()),
                None => format!("{NOT_ALGOLIAS}{}", excerpt(&answer.body)),
            },
            position: body.get("position").and_then(Value::as_u64).and_then(|number| number.try_into().ok()),
            object_id: body.get("objectID").and_then(Value::as_str).map(ToOwned::to_owned),
            is_algolias: message.is_some(),
        }
    }

    /// Said with several statuses.
    fn is_about_load(&self) -> bool {
        self.is_algolias
            && (contains(&self.words, "too many jobs") || contains(&self.words, "job queue too large"))
    }
}

fn contains(words: &str, lowercase: &str) -> bool {
    words.to_lowercase().contains(lowercase)
}

fn number_after(words: &str, introduction: &str) -> Option<usize> {
    let (_, rest) = words.split_once(introduction)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

//! From a request to its answer: credentials, route, faults, and the batch as a whole.
//!
//! One record that cannot be taken refuses the whole batch; nothing of it is applied then.

use std::{collections::BTreeMap, future, io::Read, sync::Arc};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::Incoming,
    header::{CONTENT_ENCODING, USER_AGENT},
};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    answer::{self, Answer},
    batch::{self, Action, Item},
    journal::Applied,
    script::{self, Fault, Held, Poison},
    server::{Shared, State},
};
use crate::{
    host::HostState,
    journal::{Detail, Seen},
};

/// The name that stands for several indexes.
const SEVERAL: &str = "*";

/// What becomes of a request.
enum Outcome {
    Answer(Answer),
    Silence,
    Cut,
}

/// Serves one request; never ends where the script wants silence.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    host: usize,
    cut: &CancellationToken,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return future::pending().await };
    let gzip = head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let body = if gzip { decompressed(&body.to_bytes()) } else { body.to_bytes() };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let seen = Seen {
        host,
        method: head.method.to_string(),
        path,
        user_agent: text(&head.headers, USER_AGENT.as_str()).to_owned(),
        gzip,
        body: body.clone(),
    };
    let number = shared.lock().journal.request(seen, head.method == Method::POST);
    shared.requests.send_replace(number);

    let outcome = match refused(shared, host, &head.headers) {
        Some(answer) => Outcome::Answer(answer),
        None => route(shared, head.method.as_str(), head.uri.path(), body, number).await,
    };
    match outcome {
        Outcome::Answer(answer) => answer.into_response(number),
        Outcome::Silence => future::pending().await,
        Outcome::Cut => {
            cut.cancel();
            future::pending().await
        }
    }
}

/// Applies a write that was held, now that nobody waits for its answer.
pub(super) fn apply_held(shared: &Shared, held: &Held) {
    apply(shared, &held.index, &held.body, held.number, false);
}

/// What a host says to everything, or to a client with wrong credentials.
fn refused(shared: &Shared, host: usize, headers: &HeaderMap) -> Option<Answer> {
    let state = shared.lock();
    if let HostState::Failing(status) = state.hosts[host] {
        return Some(Answer::error(status, "Internal server error"));
    }
    let known = text(headers, "x-algolia-application-id") == shared.app_id
        && text(headers, "x-algolia-api-key") == state.api_key;
    (!known).then(answer::invalid_credentials)
}

async fn route(shared: &Shared, method: &str, path: &str, body: Bytes, number: u64) -> Outcome {
    // Split before decoding: a name with an encoded slash is one segment.
    let segments: Vec<_> = path.split('/').skip(1).map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (method, segments.as_slice()) {
        ("POST", ["1", "indexes", index, "batch"]) => write(shared, index, body, number).await,
        ("GET", ["1", "indexes", index, "task", task]) => Outcome::Answer(poll(shared, index, task)),
        ("GET", ["1", "indexes"]) => Outcome::Answer(list(shared)),
        _ => {
            shared.lock().journal.violations.push(format!("unknown route {method} {path}"));
            Outcome::Answer(Answer::error(404, "Path not supported by the fake"))
        }
    }
}

fn poll(shared: &Shared, index: &str, task: &str) -> Answer {
    let Ok(task) = task.parse() else { return Answer::error(400, "taskID is not a number") };
    let mut state = shared.lock();
    if !state.may_write(index) {
        return answer::index_not_allowed();
    }
    match state.tasks.poll(index, task) {
        Some(published) => {
            let status = if published { "published" } else { "notPublished" };
            Answer::json(200, json!({ "status": status }).to_string())
        }
        None => answer::index_missing(index),
    }
}

fn list(shared: &Shared) -> Answer {
    let items: Vec<_> =
        shared.lock().store.indexes().into_iter().map(|name| json!({ "name": name })).collect();
    Answer::json(200, json!({ "items": items, "nbPages": 1 }).to_string())
}

async fn write(shared: &Shared, index: &str, body: Bytes, number: u64) -> Outcome {
    let _under_way = shared.under_way();
    let fault = shared.lock().script.take();
    let Some(fault) = fault else { return apply(shared, index, &body, number, true) };
    match fault {
        Fault::Throttled { retry_after } => Outcome::Answer(script::throttled(retry_after)),
        Fault::Refused { status, message } => Outcome::Answer(Answer::error(status, &message)),
        Fault::Answered { status, body } => Outcome::Answer(Answer::json(status, body)),
        Fault::Html(status) => Outcome::Answer(Answer::html(status)),
        Fault::Forbidden(forbidden) => Outcome::Answer(forbidden.answer()),
        Fault::Redirect(location) => Outcome::Answer(script::redirect(location)),
        Fault::Cut => Outcome::Cut,
        Fault::CutAfterApplying => {
            apply(shared, index, &body, number, false);
            Outcome::Cut
        }
        Fault::Delay(delay) => {
            tokio::time::sleep(delay).await;
            apply(shared, index, &body, number, true)
        }
        Fault::Hang => Outcome::Silence,
        Fault::Hold => {
            shared.lock().script.held.push(Held { index: index.to_owned(), body, number });
            Outcome::Silence
        }
    }
}

/// Checks a batch and applies all of it or nothing.
fn apply(shared: &Shared, index: &str, body: &[u8], number: u64, answered: bool) -> Outcome {
    let detail = shared.lock().journal.detail.clone();
    let items = match batch::read(body, &detail) {
        Ok(items) => items,
        // An error without a place concerns a record that is JSON, but no record.
        Err(error) if error.column() == 0 => return Outcome::Answer(Answer::error(400, &error.to_string())),
        Err(error) => return Outcome::Answer(answer::near_column("Invalid JSON", error.column())),
    };
    let mut state = shared.lock();
    if let Some(outcome) = state.refuse(index, &items, body, shared.record_bytes_max) {
        return outcome;
    }
    for item in &items {
        state.apply(target(index, item), item, number, answered);
    }
    let answer = state.confirm(index, &items);
    drop(state);
    shared.operations.send_modify(|count| *count += items.len() as u64);
    Outcome::Answer(answer)
}

impl State {
    fn may_write(&self, index: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(index))
    }

    /// Why a batch is not taken, if it is not.
    fn refuse(
        &mut self,
        index: &str,
        items: &[Item<'_>],
        body: &[u8],
        record_bytes_max: usize,
    ) -> Option<Outcome> {
        for item in items {
            if let Some(violation) = violation(index, item) {
                self.journal.violations.push(violation.clone());
                return Some(Outcome::Answer(Answer::error(400, &violation)));
            }
        }
        let mut targets = items.iter().map(|item| target(index, item));
        let several_refused = index == SEVERAL && !self.several_allowed;
        if several_refused || targets.clone().any(|target| !self.may_write(target)) {
            return Some(Outcome::Answer(answer::index_not_allowed()));
        }
        if let Some(removed) = targets.find(|target| self.removed.contains(*target)) {
            return Some(Outcome::Answer(answer::index_missing(removed)));
        }
        if let Some((position, poison)) = self.script.poison(items) {
            return Some(poisoned(position, &items[position], poison, body, record_bytes_max));
        }
        let (position, item) =
            items.iter().enumerate().find(|(_, item)| item.text().len() > record_bytes_max)?;
        let size = item.text().len();
        Some(Outcome::Answer(answer::too_big(position, &item.object_id, size, record_bytes_max)))
    }

    fn apply(&mut self, index: &str, item: &Item<'_>, number: u64, answered: bool) {
        self.journal.count(index);
        let attribute = match &self.journal.detail {
            Detail::Counts => return,
            Detail::Attribute(name) => Some(name.as_str()),
            Detail::Bodies => None,
        };
        // The text was read as an object before.
        let body: Map<String, Value> = serde_json::from_str(item.text()).unwrap_or_default();
        let kept = match attribute {
            Some(name) => body.get(name).cloned().unwrap_or_default(),
            None => Value::Object(body.clone()),
        };
        self.journal.applied.push(Applied {
            index: index.to_owned(),
            object_id: item.object_id.to_string(),
            action: item.action,
            body: kept,
            request: number,
            answered,
        });
        self.store.apply(index, &item.object_id, item.action, body);
    }

    /// Makes the tasks of an applied batch and the answer that names them.
    fn confirm(&mut self, index: &str, items: &[Item<'_>]) -> Answer {
        #[derive(Serialize)]
        struct Confirmed<'a, T> {
            #[serde(rename = "taskID")]
            task_id: T,
            #[serde(rename = "objectIDs")]
            object_ids: Vec<&'a str>,
        }
        let object_ids = items.iter().map(|item| &*item.object_id).collect();
        let body = if index == SEVERAL {
            let mut tasks = BTreeMap::new();
            for item in items {
                if !tasks.contains_key(&*item.index) {
                    tasks.insert(&*item.index, self.tasks.create(&item.index));
                }
            }
            serde_json::to_vec(&Confirmed { task_id: tasks, object_ids })
        } else {
            serde_json::to_vec(&Confirmed { task_id: self.tasks.create(index), object_ids })
        };
        Answer::json(200, body.expect("names and numbers are JSON"))
    }
}

/// The index that an item of a request to this route changes.
fn target<'a>(index: &'a str, item: &'a Item<'_>) -> &'a str {
    if index == SEVERAL { &item.index } else { index }
}

/// What a careful client never asks.
fn violation(index: &str, item: &Item<'_>) -> Option<String> {
    if matches!(item.action, Action::AddObject | Action::Delete | Action::Clear) {
        return Some(format!("the action {:?} is never to be sent", item.action));
    }
    if item.object_id.is_empty() {
        return Some(format!("the 'objectID' attribute is required to use {:?}", item.action));
    }
    match (index == SEVERAL, item.index.is_empty()) {
        (true, true) => Some("indexName is required in a batch of several indexes".into()),
        (false, false) => Some(format!("indexName {} in a batch of one index", item.index)),
        _ => None,
    }
}

fn poisoned(position: usize, item: &Item<'_>, poison: Poison, body: &[u8], size_max: usize) -> Outcome {
    let size = size_max + 1;
    Outcome::Answer(match poison {
        Poison::Named => answer::too_big(position, &item.object_id, size, size_max),
        Poison::Positioned => answer::too_big_at(position, size, size_max),
        Poison::InWords => answer::too_big_in_words(position, &item.object_id, size, size_max),
        Poison::Column => match item.column(body) {
            Some(column) => answer::near_column("Invalid value for attribute", column),
            None => answer::invalid_request(),
        },
        Poison::Anonymous => answer::invalid_request(),
        Poison::ServerError => Answer::error(500, "Internal server error"),
        Poison::Hang => return Outcome::Silence,
    })
}

fn decompressed(body: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    // What is not gzip ends up as no batch and is answered as such.
    let _ = GzDecoder::new(body).read_to_end(&mut plain);
    plain.into()
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

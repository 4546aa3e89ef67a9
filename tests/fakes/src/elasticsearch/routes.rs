//! From a request to its answer: credentials, route, faults, and the items one by one.
//!
//! What validation refuses, it refuses for the whole request; otherwise each item has its own answer.

use std::{future, io::Read, sync::Arc};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, USER_AGENT},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    answer::{self, Answer, Refusal},
    bulk::{self, Action, Item},
    journal::Applied,
    script::{self, Fault, Held},
    server::{Auth, Product, Shared, State},
    store::Done,
};
use crate::{
    host::HostState,
    journal::{Detail, Seen},
};

/// Parameters that the routes know.
const PARAMETERS: [&str; 3] = ["timeout", "filter_path", "refresh"];

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
    let gzip = text(&head, CONTENT_ENCODING) == "gzip";
    let body = if gzip { decompressed(&body.to_bytes()) } else { body.to_bytes() };
    let seen = Seen {
        host,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        user_agent: text(&head, USER_AGENT).to_owned(),
        gzip,
        body: body.clone(),
    };
    let number = shared.lock().journal.request(seen, head.uri.path() == "/_bulk");
    shared.requests.send_replace(number);

    let outcome = match refused(shared, host, &head, body.len()) {
        Some(answer) => Outcome::Answer(answer),
        None => route(shared, &head, body, number).await,
    };
    match outcome {
        Outcome::Answer(answer) => answer.into_response(),
        Outcome::Silence => future::pending().await,
        Outcome::Cut => {
            cut.cancel();
            future::pending().await
        }
    }
}

/// Applies a write that was held, now that nobody waits for its answer.
pub(super) fn apply_held(shared: &Shared, held: &Held) {
    apply(shared, &held.body, held.number, false, true);
}

/// What a node says to everything, to too much at once, or to a client with wrong credentials.
fn refused(shared: &Shared, host: usize, head: &Parts, bytes: usize) -> Option<Answer> {
    let state = shared.lock();
    if let HostState::Failing(status) = state.hosts[host] {
        return Some(Answer::words(status, "Service Unavailable"));
    }
    if bytes > shared.content_bytes_max {
        return Some(Answer::empty(413));
    }
    match &state.auth {
        Auth::Header(header) if text(head, AUTHORIZATION) != header => {
            Some(Answer::refused(&answer::unauthorized()))
        }
        Auth::Header(_) | Auth::None => None,
    }
}

async fn route(shared: &Shared, head: &Parts, body: Bytes, number: u64) -> Outcome {
    let (method, path) = (head.method.as_str(), head.uri.path());
    let parameters: Vec<(&str, &str)> =
        head.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
    if let Some((name, _)) = parameters.iter().find(|(name, _)| !PARAMETERS.contains(name)) {
        let words = format!("request [{path}] contains unrecognized parameter: [{name}]");
        return Outcome::Answer(Answer::refused(&answer::argument(words)));
    }
    let has = |name| parameters.iter().any(|(parameter, _)| *parameter == name);
    // Split before decoding: a name with an encoded slash is one segment.
    let segments: Vec<_> = path.split('/').skip(1).map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (method, segments.as_slice()) {
        ("POST", ["_bulk"]) => {
            if !matches!(text(head, CONTENT_TYPE), "application/x-ndjson" | "application/json") {
                let words = format!("Content-Type header [{}] is not supported", text(head, CONTENT_TYPE));
                return Outcome::Answer(Answer::words(406, &words));
            }
            if !has("timeout") {
                shared.lock().journal.violations.push("a bulk request without timeout".to_owned());
            }
            write(shared, body, number, has("filter_path")).await
        }
        ("POST", [index, "_refresh"]) => Outcome::Answer(refresh(shared, index)),
        ("GET", [""]) => Outcome::Answer(tell(shared)),
        _ => {
            shared.lock().journal.violations.push(format!("unknown route {method} {path}"));
            let words = format!("no handler found for uri [{path}] and method [{method}]");
            Outcome::Answer(Answer::words(400, &words))
        }
    }
}

fn tell(shared: &Shared) -> Answer {
    if !shared.lock().monitoring_allowed {
        let reason = "action [cluster:monitor/main] is unauthorized for API key";
        return Answer::refused(&Refusal::new(403, "security_exception", reason));
    }
    let body = |version: Value| json!({ "name": "node1", "cluster_name": "fake", "version": version });
    match shared.product {
        Product::OpenSearch => {
            let version = json!({ "distribution": "opensearch", "number": "2.19.1" });
            Answer::json(200, body(version).to_string())
        }
        Product::Elasticsearch => Answer::json(200, body(json!({ "number": "7.17.29" })).to_string())
            .with_header(HeaderName::from_static("x-elastic-product"), "Elasticsearch"),
    }
}

fn refresh(shared: &Shared, index: &str) -> Answer {
    let mut state = shared.lock();
    // Without documents there are no indexes either.
    if state.journal.detail != Detail::Counts {
        let Some(found) = state.store.existing(index) else {
            return Answer::refused(&answer::index_missing(index));
        };
        found.refreshes += 1;
    }
    Answer::json(200, r#"{"_shards":{"total":2,"successful":1,"failed":0}}"#)
}

async fn write(shared: &Shared, body: Bytes, number: u64, filtered: bool) -> Outcome {
    let _under_way = shared.under_way();
    let pressure = shared.lock().pressure_bytes_max;
    if let Some(bytes_max) = pressure.filter(|bytes_max| body.len() > *bytes_max) {
        return Outcome::Answer(Answer::refused(&answer::pressure(body.len(), bytes_max)));
    }
    let fault = shared.lock().script.take();
    let Some(fault) = fault else { return apply(shared, &body, number, true, filtered) };
    match fault {
        Fault::Throttled { retry_after } => Outcome::Answer(script::throttled(retry_after)),
        Fault::Refused { status, kind, reason } => {
            Outcome::Answer(Answer::refused(&Refusal::new(status, &kind, reason)))
        }
        Fault::Items { status, kind, reason } => {
            let refusal = Refusal::new(status, &kind, reason);
            Outcome::Answer(match bulk::read(&body) {
                Ok(items) => answered(&items, filtered, |_| Err(refusal.clone())),
                Err(answer) => answer,
            })
        }
        Fault::SomeItems { status, kind, reason } => {
            let refusal = Refusal::new(status, &kind, reason);
            let refused = |item: &Item<'_>| item.id.bytes().last().is_some_and(|byte| byte % 2 == 0);
            apply_but(shared, &body, number, true, filtered, |item| refused(item).then(|| refusal.clone()))
        }
        Fault::Answered { status, body } => Outcome::Answer(Answer::json(status, body)),
        Fault::Html(status) => Outcome::Answer(Answer::html(status)),
        Fault::Redirect(location) => Outcome::Answer(script::redirect(location)),
        Fault::Cut => Outcome::Cut,
        Fault::CutAfterApplying => {
            apply(shared, &body, number, false, filtered);
            Outcome::Cut
        }
        Fault::Delay(delay) => {
            tokio::time::sleep(delay).await;
            apply(shared, &body, number, true, filtered)
        }
        Fault::Hang => Outcome::Silence,
        Fault::Hold => {
            shared.lock().script.held.push(Held { body, number });
            Outcome::Silence
        }
    }
}

/// Applies a request's items in their order.
fn apply(shared: &Shared, body: &[u8], number: u64, is_answered: bool, filtered: bool) -> Outcome {
    apply_but(shared, body, number, is_answered, filtered, |_| None)
}

/// The same but for those that are refused.
fn apply_but(
    shared: &Shared,
    body: &[u8],
    number: u64,
    is_answered: bool,
    filtered: bool,
    refused: impl Fn(&Item<'_>) -> Option<Refusal>,
) -> Outcome {
    let items = match bulk::read(body) {
        Ok(items) => items,
        Err(answer) => return Outcome::Answer(answer),
    };
    let mut state = shared.lock();
    if let Some(violation) = items.iter().find_map(violation) {
        state.journal.violations.push(violation);
    }
    if let Some(poison) = state.script.spoils(&items) {
        return script::spoiled(&poison).map_or(Outcome::Silence, Outcome::Answer);
    }
    let mut done = 0;
    let answer = answered(&items, filtered, |item| {
        let outcome = match refused(item) {
            Some(refusal) => Err(refusal),
            None => state.apply(item, number, is_answered),
        };
        done += u64::from(outcome.is_ok());
        outcome
    });
    drop(state);
    shared.operations.send_modify(|count| *count += done);
    Outcome::Answer(answer)
}

impl State {
    fn apply(&mut self, item: &Item<'_>, number: u64, answered: bool) -> Result<Done, Refusal> {
        if let Some(refusal) = self.script.refusal(item) {
            return Err(refusal);
        }
        if self.journal.detail == Detail::Counts {
            self.journal.count(&item.index);
            let result = if item.action == Action::Delete { "deleted" } else { "updated" };
            return Ok(Done { status: 200, result, version: item.version.unwrap_or_default() });
        }
        let index = self.store.index(&item.index);
        if !index.exists {
            // An update makes no index: it has nothing to update.
            if !self.auto_create {
                return Err(answer::index_missing(&item.index));
            }
            index.exists = true;
        }
        let done = index.apply(item)?;
        if done.result == "noop" {
            self.journal.count(&item.index);
            return Ok(done);
        }
        let applied = Applied {
            index: item.index.to_string(),
            object_id: item.id.to_string(),
            action: item.action,
            body: Value::Null,
            version: done.version,
            request: number,
            answered,
        };
        self.journal.apply(applied, item.source);
        Ok(done)
    }
}

/// The answer with what each item came to.
fn answered(
    items: &[Item<'_>],
    filtered: bool,
    mut outcome: impl FnMut(&Item<'_>) -> Result<Done, Refusal>,
) -> Answer {
    let mut list = Vec::with_capacity(100 * items.len() + 64);
    let mut errors = false;
    for item in items {
        if !list.is_empty() {
            list.push(b',');
        }
        let outcome = outcome(item);
        errors |= outcome.is_err();
        push(&mut list, item, &outcome, filtered);
    }
    let took = if filtered { "" } else { r#""took":3,"# };
    let mut body = format!(r#"{{{took}"errors":{errors},"items":["#).into_bytes();
    body.append(&mut list);
    body.extend_from_slice(b"]}");
    Answer::json(200, body)
}

/// The parts that a careful client asks for, or all of them.
fn push(list: &mut Vec<u8>, item: &Item<'_>, outcome: &Result<Done, Refusal>, filtered: bool) {
    let action = match item.action {
        Action::Index => "index",
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
    };
    push_raw(list, &[r#"{""#, action, r#"":{"_id":"#]);
    push_text(list, &item.id);
    if !filtered {
        push_raw(list, &[r#","_index":"#]);
        push_text(list, &item.index);
    }
    match outcome {
        Ok(Done { status, result, version }) => {
            if !filtered || item.action == Action::Update {
                push_raw(list, &[r#","_version":"#, &version.to_string()]);
            }
            if !filtered {
                push_raw(
                    list,
                    &[r#","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":0,"_primary_term":1"#],
                );
            }
            push_raw(list, &[r#","result":""#, result, r#"","status":"#, &status.to_string()]);
        }
        Err(Refusal { status, kind, reason }) => {
            push_raw(list, &[r#","status":"#, &status.to_string(), r#","error":{"type":"#]);
            push_text(list, kind);
            push_raw(list, &[r#","reason":"#]);
            push_text(list, reason);
            if !filtered {
                push_raw(list, &[r#","index":"#]);
                push_text(list, &item.index);
                push_raw(list, &[r#","shard":"0","index_uuid":"fake""#]);
            }
            push_raw(list, &["}"]);
        }
    }
    push_raw(list, &["}}"]);
}

fn push_raw(list: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| list.extend_from_slice(part.as_bytes()));
}

fn push_text(list: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(list, text);
}

/// What a careful client never asks.
fn violation(item: &Item<'_>) -> Option<String> {
    let what = match item.action {
        Action::Index | Action::Delete if item.version.is_none() => "has no version",
        Action::Create => "creates, which fails when it is sent twice",
        Action::Index | Action::Delete | Action::Update => return None,
    };
    Some(format!("{:?} of {:?} in {:?} {what}", item.action, item.id, item.index))
}

fn decompressed(body: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    // What is not gzip ends up as no bulk request and is answered as such.
    let _ = GzDecoder::new(body).read_to_end(&mut plain);
    plain.into()
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn text(head: &Parts, name: HeaderName) -> &str {
    head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

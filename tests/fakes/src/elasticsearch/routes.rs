//! From a request to its answer: credentials, route, and the faults that befall a write before it is applied.

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
    apply::{Write, apply, apply_but},
    bulk::Item,
    real::Real,
    script::{self, Fault},
    server::{Auth, Product, Shared},
};
use crate::{
    host::HostState,
    journal::{Detail, Seen},
};

/// Parameters that the routes know.
const PARAMETERS: [&str; 3] = ["timeout", "filter_path", "refresh"];

/// What becomes of a request.
pub(super) enum Outcome {
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
        path: whole_path(&head).to_owned(),
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
    match (outcome, shared.silence_max) {
        (Outcome::Answer(answer), _) => return answer.into_response(),
        (Outcome::Silence, None) => {}
        (Outcome::Silence, Some(silence_max)) => {
            tokio::time::sleep(silence_max).await;
            cut.cancel();
        }
        (Outcome::Cut, _) => cut.cancel(),
    }
    future::pending().await
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

async fn route(shared: &Arc<Shared>, head: &Parts, body: Bytes, number: u64) -> Outcome {
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
            let path = whole_path(head).to_owned();
            write(shared, Write { path, body, number, filtered: has("filter_path") }).await
        }
        ("POST", [index, "_refresh"]) => match &shared.real {
            Some(real) => asked(real, method, head).await,
            None => Outcome::Answer(refresh(shared, index)),
        },
        ("GET", [""]) => match &shared.real {
            Some(real) => asked(real, method, head).await,
            None => Outcome::Answer(tell(shared)),
        },
        _ => {
            shared.lock().journal.violations.push(format!("unknown route {method} {path}"));
            let words = format!("no handler found for uri [{path}] and method [{method}]");
            Outcome::Answer(Answer::words(400, &words))
        }
    }
}

/// Hands a small question on.
async fn asked(real: &Real, method: &str, head: &Parts) -> Outcome {
    let said = real.ask(method, whole_path(head), Bytes::new()).await;
    said.map_or(Outcome::Cut, |said| Outcome::Answer(said.into_answer()))
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

async fn write(shared: &Arc<Shared>, write: Write) -> Outcome {
    let _under_way = shared.under_way();
    let (pressure, bytes) = (shared.lock().pressure_bytes_max, write.body.len());
    if let Some(bytes_max) = pressure.filter(|bytes_max| bytes > *bytes_max) {
        return Outcome::Answer(Answer::refused(&answer::pressure(bytes, bytes_max)));
    }
    let fault = shared.lock().script.take();
    let Some(fault) = fault else { return apply(shared, &write, true).await };
    match fault {
        Fault::Throttled { retry_after } => Outcome::Answer(script::throttled(retry_after)),
        Fault::Refused { status, kind, reason } => {
            Outcome::Answer(Answer::refused(&Refusal::new(status, &kind, reason)))
        }
        Fault::Items { status, kind, reason } => {
            let refusal = Refusal::new(status, &kind, reason);
            apply_but(shared, &write, true, |_| Some(refusal.clone())).await
        }
        Fault::SomeItems { status, kind, reason } => {
            let refusal = Refusal::new(status, &kind, reason);
            let refused = |item: &Item<'_>| item.id.bytes().last().is_some_and(|byte| byte % 2 == 0);
            apply_but(shared, &write, true, |item| refused(item).then(|| refusal.clone())).await
        }
        Fault::Answered { status, body } => Outcome::Answer(Answer::json(status, body)),
        Fault::Html(status) => Outcome::Answer(Answer::html(status)),
        Fault::Redirect(location) => Outcome::Answer(script::redirect(location)),
        Fault::Cut => Outcome::Cut,
        Fault::CutAfterApplying => {
            apply(shared, &write, false).await;
            Outcome::Cut
        }
        Fault::Delay(delay) => {
            tokio::time::sleep(delay).await;
            apply(shared, &write, true).await
        }
        Fault::Hang => Outcome::Silence,
        Fault::Hold => {
            shared.lock().script.held.push(write);
            Outcome::Silence
        }
    }
}

/// Path and query, as they came.
fn whole_path(head: &Parts) -> &str {
    head.uri.path_and_query().map_or("/", |path| path.as_str())
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

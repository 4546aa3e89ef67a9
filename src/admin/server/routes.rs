//! The routes. What only looks is GET, or a question that takes a body (`find`, `tail`, and `list` and `show` of dead
//! letters); everything that changes something is POST.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{FromRequestParts, Path, State},
    response::Response,
    routing::{get, post},
};
use http::{Method, Uri, request::Parts};

use super::{
    answer,
    audit::Peer,
    changes::{Api, Command},
    events,
};
use crate::admin::{
    control::Control,
    error::{ControlError, Kind},
    letters::{ListLetters, ShowLetter},
    requests::{Drain, DropLetters, Find, Forget, Pause, Reload, Replay, ResetCursor, Resume, Tail},
};

type Shared = State<Arc<Api>>;
type From = Extension<Peer>;

/// Every route, beside those of the page, with what answers for those that do not exist.
pub(super) fn router(api: Arc<Api>, page: Router<Arc<Api>>) -> Router {
    page.route("/v1/status", get(status))
        .route("/v1/events", get(async |State(api): Shared| events::status(api)))
        .route("/v1/history", get(async |State(api): Shared| answer::json(&api.control.history().await)))
        .route("/v1/find", post(find))
        .route("/v1/tail", post(tail))
        .route("/v1/reload", post(reload))
        .route("/v1/drain", post(drain))
        .route("/v1/destinations/{name}/pause", post(pause))
        .route("/v1/destinations/{name}/resume", post(resume))
        .route("/v1/destinations/{name}/probe", post(probe))
        .route("/v1/destinations/{name}/forget", post(forget))
        .route("/v1/destinations/{name}/reset-cursor", post(reset_cursor))
        .route("/v1/transforms/{name}/resume", post(resume_transform))
        .route("/v1/dead-letters/list", post(list_letters))
        .route("/v1/dead-letters/show", post(show_letter))
        .route("/v1/dead-letters/replay", post(replay))
        .route("/v1/dead-letters/drop", post(drop_letters))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(api)
}

async fn status(State(api): Shared) -> Response {
    answer::json(&api.control.status().await)
}

async fn find(State(api): Shared, body: Body) -> Response {
    api.ask(body, async |control: Arc<dyn Control>, asked: Find| control.find(asked).await).await
}

async fn list_letters(State(api): Shared, body: Body) -> Response {
    api.ask(body, async |control: Arc<dyn Control>, asked: ListLetters| control.list_letters(asked).await)
        .await
}

async fn show_letter(State(api): Shared, body: Body) -> Response {
    api.ask(body, async |control: Arc<dyn Control>, asked: ShowLetter| control.show_letter(asked).await).await
}

async fn tail(State(api): Shared, body: Body) -> Response {
    api.watch(body, async |control: Arc<dyn Control>, asked: Tail| control.tail(asked).await).await
}

async fn reload(State(api): Shared, Extension(peer): From, body: Body) -> Response {
    let command = Command { name: "reload", subject: None };
    api.change(peer, command, body, async |control: Arc<dyn Control>, asked: Reload| {
        control.reload(asked).await
    })
    .await
}

async fn drain(State(api): Shared, Extension(peer): From, body: Body) -> Response {
    let command = Command { name: "drain", subject: None };
    api.change(peer, command, body, async |control: Arc<dyn Control>, asked: Drain| {
        control.drain(asked).await
    })
    .await
}

async fn pause(State(api): Shared, Extension(peer): From, Name(name): Name, body: Body) -> Response {
    let command = destination("destination pause", &name);
    api.change(peer, command, body, async move |control: Arc<dyn Control>, asked: Pause| {
        control.pause(&name, asked).await
    })
    .await
}

async fn resume(State(api): Shared, Extension(peer): From, Name(name): Name, body: Body) -> Response {
    let command = destination("destination resume", &name);
    api.change(peer, command, body, async move |control: Arc<dyn Control>, asked: Resume| {
        control.resume(&name, asked).await
    })
    .await
}

async fn probe(State(api): Shared, Extension(peer): From, Name(name): Name, body: Body) -> Response {
    let command = destination("destination probe", &name);
    api.change(peer, command, body, async move |control: Arc<dyn Control>, Nothing {}| {
        control.probe(&name).await
    })
    .await
}

async fn forget(State(api): Shared, Extension(peer): From, Name(name): Name, body: Body) -> Response {
    let command = destination("destination forget", &name);
    api.change(peer, command, body, async move |control: Arc<dyn Control>, asked: Forget| {
        control.forget(&name, asked).await
    })
    .await
}

async fn reset_cursor(State(api): Shared, Extension(peer): From, Name(name): Name, body: Body) -> Response {
    let command = destination("destination reset-cursor", &name);
    api.change(peer, command, body, async move |control: Arc<dyn Control>, asked: ResetCursor| {
        control.reset_cursor(&name, asked).await
    })
    .await
}

async fn resume_transform(
    State(api): Shared,
    Extension(peer): From,
    Name(name): Name,
    body: Body,
) -> Response {
    let command = Command { name: "transform resume", subject: Some(("transform", name.clone())) };
    api.change(peer, command, body, async move |control: Arc<dyn Control>, Nothing {}| {
        control.resume_transform(&name).await
    })
    .await
}

async fn replay(State(api): Shared, Extension(peer): From, body: Body) -> Response {
    let command = Command { name: "dead-letters replay", subject: None };
    api.follow(peer, command, body, async |control: Arc<dyn Control>, asked: Replay| {
        control.replay(asked).await
    })
    .await
}

async fn drop_letters(State(api): Shared, Extension(peer): From, body: Body) -> Response {
    let command = Command { name: "dead-letters drop", subject: None };
    api.change(peer, command, body, async |control: Arc<dyn Control>, asked: DropLetters| {
        control.drop_letters(asked).await
    })
    .await
}

async fn no_route(uri: Uri) -> Response {
    let error = format!("there is no {:?}", uri.path());
    answer::refused(&ControlError::new(Kind::NotFound, error, "GET /v1/status is where to begin"))
}

async fn no_method(method: Method, uri: Uri) -> Response {
    let error = format!("{method} is not for {:?}", uri.path());
    answer::refused(&ControlError::new(
        Kind::MethodNotAllowed,
        error,
        "the answer's Allow header names what is",
    ))
}

fn destination(name: &'static str, destination: &str) -> Command {
    Command { name, subject: Some(("destination", destination.to_owned())) }
}

/// The body of a command that takes no arguments.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The name in a route's path.
struct Name(String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(rejection) => {
                let error = format!("the path names nothing: {}", rejection.body_text());
                Err(answer::refused(&ControlError::invalid(error, "names are of A-Z a-z 0-9 _ -")))
            }
        }
    }
}

//! How a command is carried out: read, written to the audit log, carried out as a task of its own, answered.

use std::{io, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use uuid::Uuid;

use super::{
    answer,
    audit::{Audit, Entry, Outcome, Peer},
};
use crate::{
    admin::{
        control::Control,
        error::{ControlError, Kind},
        time::Time,
    },
    runtime::{Clock, Stop, TaskKind, Tasks},
};

/// No command needs more.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// A body arrives in this time.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Events that wait for a client.
const EVENTS_MAX: usize = 1;

/// Answers a request, once.
type Answered = oneshot::Sender<Response>;

/// What the routes share.
pub(super) struct Api {
    pub(super) control: Arc<dyn Control>,
    audit: Audit,
    clock: Arc<dyn Clock>,
    pub(super) stop: Stop,
    pub(super) tasks: Tasks,
}

/// A command with what it is about.
pub(super) struct Command {
    /// As on the command line.
    pub(super) name: &'static str,
    /// What the route's path names, if it names something: `destination` and its name.
    pub(super) subject: Option<(&'static str, String)>,
}

impl Api {
    pub(super) fn new(
        control: Arc<dyn Control>,
        audit: Audit,
        clock: Arc<dyn Clock>,
        stop: Stop,
        tasks: Tasks,
    ) -> Self {
        Self { control, audit, clock, stop, tasks }
    }

    /// Carries a command out that changes something, and answers with its report.
    pub(super) async fn change<Q, R, F>(
        self: Arc<Self>,
        peer: Peer,
        command: Command,
        body: Body,
        carry_out: impl FnOnce(Arc<dyn Control>, Q) -> F + Send + 'static,
    ) -> Response
    where
        Q: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: Future<Output = Result<R, ControlError>> + Send + 'static,
    {
        let asked: Q = match read(body).await {
            Ok(asked) => asked,
            Err(error) => return answer::refused(&error),
        };
        let entry = entry(peer, command, &asked);
        self.carry_out(async move |api, answered| {
            let Some(answered) = api.begin(&entry, answered).await else { return };
            let outcome = carry_out(api.control.clone(), asked).await;
            let (response, outcome) = match outcome {
                Ok(report) => (answer::json(&report), Outcome::Done),
                Err(error) => (answer::refused(&error), Outcome::Failed { error: error.to_string() }),
            };
            api.end(&entry, outcome).await;
            // A client that is gone hears nothing.
            let _ = answered.send(response);
        })
        .await
    }

    /// Carries a command out that tells how far it is until it has ended, or until its client goes away.
    pub(super) async fn follow<Q, P, F>(
        self: Arc<Self>,
        peer: Peer,
        command: Command,
        body: Body,
        carry_out: impl FnOnce(Arc<dyn Control>, Q) -> F + Send + 'static,
    ) -> Response
    where
        Q: Serialize + DeserializeOwned + Send + 'static,
        P: Serialize + Send + 'static,
        F: Future<Output = Result<mpsc::Receiver<Result<P, ControlError>>, ControlError>> + Send + 'static,
    {
        let asked: Q = match read(body).await {
            Ok(asked) => asked,
            Err(error) => return answer::refused(&error),
        };
        let entry = entry(peer, command, &asked);
        self.carry_out(async move |api, answered| {
            let Some(answered) = api.begin(&entry, answered).await else { return };
            let outcome = match carry_out(api.control.clone(), asked).await {
                Ok(progress) => {
                    let (tx, rx) = mpsc::channel(EVENTS_MAX);
                    let _ = answered.send(answer::events(ReceiverStream::new(rx)));
                    forward(progress, &tx).await
                }
                Err(error) => {
                    let _ = answered.send(answer::refused(&error));
                    Outcome::Failed { error: error.to_string() }
                }
            };
            api.end(&entry, outcome).await;
        })
        .await
    }

    /// Answers a question, which changes nothing.
    pub(super) async fn ask<Q, R, F>(
        self: Arc<Self>,
        body: Body,
        answer: impl FnOnce(Arc<dyn Control>, Q) -> F,
    ) -> Response
    where
        Q: DeserializeOwned,
        R: Serialize,
        F: Future<Output = Result<R, ControlError>>,
    {
        let asked: Q = match read(body).await {
            Ok(asked) => asked,
            Err(error) => return answer::refused(&error),
        };
        match answer(self.control.clone(), asked).await {
            Ok(report) => answer::json(&report),
            Err(error) => answer::refused(&error),
        }
    }

    /// Answers a question with what happens from then on, until there is no more or the client goes away.
    pub(super) async fn watch<Q, T, F>(
        self: Arc<Self>,
        body: Body,
        look: impl FnOnce(Arc<dyn Control>, Q) -> F,
    ) -> Response
    where
        Q: DeserializeOwned,
        T: Serialize + Send + 'static,
        F: Future<Output = Result<mpsc::Receiver<T>, ControlError>>,
    {
        let asked: Q = match read(body).await {
            Ok(asked) => asked,
            Err(error) => return answer::refused(&error),
        };
        match look(self.control.clone(), asked).await {
            Ok(seen) => answer::events(ReceiverStream::new(seen).map(|seen| answer::event("seen", &seen))),
            Err(error) => answer::refused(&error),
        }
    }

    /// In a task of its own: what an operator has begun must not end halfway because his terminal closes.
    async fn carry_out<F>(self: Arc<Self>, work: impl FnOnce(Arc<Self>, Answered) -> F) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (answered, answer) = oneshot::channel();
        let tasks = self.tasks.clone();
        tasks.spawn(TaskKind::Admin, "command", work(self, answered));
        answer.await.unwrap_or_else(|_| {
            let error = "the agent gave the command up";
            answer::refused(&ControlError::failed(
                error,
                "look at its log, and at the status for what was done",
            ))
        })
    }

    /// Writes down that the command is about to be carried out. If that fails it answers so, and keeps the answer.
    async fn begin(&self, entry: &Entry, answered: Answered) -> Option<Answered> {
        match self.audit.append(self.now(), entry, Outcome::Begun).await {
            Ok(()) => Some(answered),
            Err(error) => {
                let error = format!("the audit log audit.ndjson cannot be written: {error}");
                let advice = "nothing was changed: see to the file, then try again";
                let _ = answered.send(answer::refused(&ControlError::failed(error, advice)));
                None
            }
        }
    }

    async fn end(&self, entry: &Entry, outcome: Outcome) {
        let told: io::Result<()> = self.audit.append(self.now(), entry, outcome).await;
        if let Err(error) = told {
            tracing::error!(%error, command = entry.command, "a command's outcome is missing in the audit log");
        }
    }

    fn now(&self) -> Time {
        Time(self.clock.now())
    }
}

/// What the audit log says of a command.
fn entry(peer: Peer, command: Command, asked: &impl Serialize) -> Entry {
    let mut arguments = serde_json::to_value(asked).unwrap_or_default();
    if let (Value::Object(arguments), Some((what, name))) = (&mut arguments, command.subject) {
        arguments.insert(what.to_owned(), name.into());
    }
    Entry { id: Uuid::new_v4(), peer, command: command.name, arguments }
}

/// Passes on how far a command is, to its end.
async fn forward<P: Serialize>(
    mut progress: mpsc::Receiver<Result<P, ControlError>>,
    tx: &mpsc::Sender<Bytes>,
) -> Outcome {
    loop {
        let next = tokio::select! {
            // A client that is gone first: it ends the command.
            biased;
            () = tx.closed() => return Outcome::Interrupted,
            next = progress.recv() => next,
        };
        let (event, outcome) = match next {
            Some(Ok(progress)) => (answer::event("progress", &progress), None),
            Some(Err(error)) => {
                (answer::event("error", &error), Some(Outcome::Failed { error: error.to_string() }))
            }
            None => return Outcome::Done,
        };
        let gone = tx.send(event).await.is_err();
        if let Some(outcome) = outcome.or(gone.then_some(Outcome::Interrupted)) {
            return outcome;
        }
    }
}

/// The request's body; none at all is `{}`.
async fn read<Q: DeserializeOwned>(body: Body) -> Result<Q, ControlError> {
    let advice = "send one JSON object, as the API's documentation shows it";
    let body = match timeout(BODY_WITHIN, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let error = format!("the request's body is larger than {BODY_BYTES_MAX} bytes");
            return Err(ControlError::new(Kind::TooLarge, error, "ask for less at once"));
        }
        Ok(Err(error)) => {
            return Err(ControlError::invalid(format!("the request broke off: {error}"), advice));
        }
        Err(_) => {
            let seconds = BODY_WITHIN.as_secs();
            let error = format!("the request's body did not arrive within {seconds} s");
            return Err(ControlError::invalid(error, advice));
        }
    };
    let body: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { &body };
    if !body.trim_ascii_start().starts_with(b"{") {
        // An array would do for a struct, too.
        return Err(ControlError::invalid("the request's body is no JSON object", advice));
    }
    serde_json::from_slice(body).map_err(|error| {
        ControlError::invalid(format!("the request's body is not as it must be: {error}"), advice)
    })
}

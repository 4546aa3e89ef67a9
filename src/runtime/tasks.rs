//! The one place where tasks are spawned: each has a kind and a name, nobody is an orphan, and a panic is not silent.

use std::{future::Future, sync::Arc};

use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// What a task does, for whoever reads its log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Serves producers.
    Ingress,
    /// Reads the log ahead for a lane.
    Feed,
    /// Delivers to a destination.
    Lane,
    /// Watches what the agent uses.
    Upkeep,
    /// Keeps a destination's dead letters within their bounds.
    DeadLetters,
    /// Starts, changes, pauses and stops what delivers to a destination.
    Destination,
    /// Serves operators.
    Admin,
    /// Serves those who look at metrics and health.
    Telemetry,
}

/// Spawns tasks and waits for them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    panicked: Arc<Notify>,
}

impl Tasks {
    /// Tasks that are waited for apart, by whoever is one of these. A panic there is one here.
    #[must_use]
    pub fn group(&self) -> Self {
        Self { tracker: TaskTracker::new(), panicked: self.panicked.clone() }
    }

    /// Spawns a task. If it panics, [`Tasks::panicked`] returns: a panic is a defect, and going on without the task
    /// would look like health.
    pub fn spawn(&self, kind: TaskKind, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        let span = tracing::info_span!("task", ?kind, name);
        let inner = self.tracker.spawn(task.instrument(span));
        self.watch(kind, name.to_owned(), inner);
    }

    /// Returns when a task has panicked.
    pub async fn panicked(&self) {
        self.panicked.notified().await;
    }

    /// Waits until every task has ended; the caller has told them to.
    pub async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn watch(&self, kind: TaskKind, name: String, task: JoinHandle<()>) {
        let panicked = self.panicked.clone();
        tokio::spawn(async move {
            if let Err(error) = task.await
                && error.is_panic()
            {
                panicked.notify_one();
                tracing::error!(?kind, name, %error, "task panicked");
            }
        });
    }
}

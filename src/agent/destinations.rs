//! The destinations of the agent, each with its supervisor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, watch};

use super::supervisor::{Built, Command, Prepared, Shared, Shown, Supervisor, Wanted};
use crate::{
    delivery::{Meters, Snapshot, replay::Replays},
    runtime::TaskKind,
};

/// See the module's text.
#[derive(Clone)]
pub(super) struct Destinations {
    pub(super) shared: Arc<Shared>,
    handles: Arc<Mutex<BTreeMap<Arc<str>, Handle>>>,
}

/// A destination from outside its supervisor.
#[derive(Clone)]
pub(super) struct Handle {
    wanted: watch::Sender<Wanted>,
    commands: mpsc::Sender<Command>,
    shown: Arc<Mutex<Shown>>,
    meters: Arc<Meters>,
}

impl Destinations {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), handles: Arc::default() }
    }

    /// Starts a destination, or takes one back that was about to go.
    pub(super) fn start(&self, built: Arc<Built>, prepared: Option<Prepared>, paused: Option<String>) {
        let name = built.config.name.clone();
        let wanted = Wanted { built: Some(built), paused };
        let mut handles = self.handles();
        if let Some(handle) = handles.get(&name) {
            handle.wanted.send_replace(wanted);
            return;
        }
        let (wanted, watched) = watch::channel(wanted);
        let (commands, received) = mpsc::channel(1);
        let (shown, meters) = (Arc::<Mutex<Shown>>::default(), Arc::<Meters>::default());
        if let Some(prepared) = &prepared {
            // From the first look on.
            shown.lock().unwrap_or_else(PoisonError::into_inner).rest(prepared.at_rest(name.clone()));
        }
        let supervisor = Supervisor {
            name: name.clone(),
            shared: self.shared.clone(),
            wanted: watched,
            commands: received,
            shown: Arc::clone(&shown),
            meters: meters.clone(),
        };
        handles.insert(name.clone(), Handle { wanted, commands, shown, meters });
        drop(handles);
        let (handles, of) = (self.handles.clone(), name.clone());
        // Asked under the lock under which it may be taken back.
        let remove = move || {
            let mut handles = handles.lock().unwrap_or_else(PoisonError::into_inner);
            let is_gone = handles.get(&of).is_none_or(|handle| handle.wanted.borrow().built.is_none());
            if is_gone {
                handles.remove(&of);
            }
            is_gone
        };
        self.shared.tasks.spawn(TaskKind::Destination, &name, supervisor.run(prepared, remove));
    }

    /// Lets a destination go on with other settings.
    pub(super) fn change(&self, built: Arc<Built>) {
        if let Some(handle) = self.handles().get(&built.config.name) {
            handle.wanted.send_modify(|wanted| wanted.built = Some(built));
        }
    }

    /// Lets a destination end; its cursor stays.
    pub(super) fn remove(&self, name: &str) {
        if let Some(handle) = self.handles().get(name) {
            handle.wanted.send_modify(|wanted| wanted.built = None);
        }
    }

    /// Pauses a destination, or lets it go on.
    pub(super) fn pause(&self, name: &str, paused: Option<String>) {
        if let Some(handle) = self.handles().get(name) {
            handle.wanted.send_if_modified(|wanted| {
                let changed = wanted.paused.is_some() != paused.is_some();
                wanted.paused = paused;
                changed
            });
        }
    }

    /// Whether there is one of that name, also if it is about to go.
    pub(super) fn is_there(&self, name: &str) -> bool {
        self.handles().contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<Handle> {
        self.handles().get(name).filter(|handle| handle.is_wanted()).cloned()
    }

    /// Every destination that is wanted, by name ascending.
    pub(super) fn all(&self) -> Vec<(Arc<str>, Handle)> {
        let handles = self.handles();
        let wanted = handles.iter().filter(|(_, handle)| handle.is_wanted());
        wanted.map(|(name, handle)| (name.clone(), handle.clone())).collect()
    }

    fn handles(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    pub(super) fn built(&self) -> Option<Arc<Built>> {
        self.wanted.borrow().built.clone()
    }

    pub(super) fn paused(&self) -> Option<String> {
        self.wanted.borrow().paused.clone()
    }

    /// The newest of its lane; `None` before the first one.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        self.shown().snapshot()
    }

    /// Asks its lane for replays.
    pub(super) fn replays(&self) -> Option<Replays> {
        self.shown().replays().cloned()
    }

    /// What its lanes count and measure.
    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Why there is no lane.
    pub(super) fn failure(&self) -> Option<String> {
        self.shown().failure().cloned()
    }

    /// False if the destination is gone.
    pub(super) async fn command(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    fn is_wanted(&self) -> bool {
        self.wanted.borrow().built.is_some()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

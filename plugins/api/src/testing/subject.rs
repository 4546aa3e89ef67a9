//! What a plugin's test gives the suite: a real destination that a test can spoil and look into.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    destination::Destination,
    operation::{Action, Key},
};

/// A destination under test: a server on real sockets, or a directory, and the plugin in front of it.
#[async_trait]
pub trait Subject: Send + Sync + Sized + 'static {
    /// Whether one can be started here. Where not, it says why, and every case passes without having been tried.
    fn is_there() -> bool {
        true
    }

    /// Starts one with nothing in it. Each test has its own.
    ///
    /// The plugin's time-out should be a few hundred milliseconds: several tests wait for it.
    async fn start() -> Self;

    /// The plugin as it is after a restart of the agent: nothing known but the settings.
    fn destination(&self) -> Arc<dyn Destination>;

    /// Lets something go wrong; false if this kind of destination cannot show it.
    async fn inject(&self, fault: Fault) -> bool;

    /// Ends every state and forgets what was to befall the next writes. What was held stays held.
    async fn recover(&self);

    /// How many of the faults that were to befall the next writes have not: a test that ends with any tells less than it
    /// seems to.
    fn unmet(&self) -> usize {
        0
    }

    /// Applies the requests that [`Fault::Hold`] kept, and says how many there were.
    async fn release(&self) -> usize {
        0
    }

    /// What is there now.
    async fn state(&self) -> State;

    /// What the plugin knows and must never tell.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// What was asked of the destination that no careful client would ask.
    fn violations(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the object ends at its newest even if a save or delete that the agent gave up is applied after newer
    /// ones. That is so where versions are checked, and where a plugin keeps its requests apart by itself; elsewhere
    /// it is the destination's affair, and the suite checks that the next operation mends it.
    fn late_is_harmless(&self) -> bool {
        self.destination().capabilities().versioned
    }
}

/// Something that goes wrong.
///
/// Those that befall the next write queue up, one for each write. The others are states, which last until
/// [`Subject::recover`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next write is told to come later.
    Throttled {
        /// How much later, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// The next write is not taken, by a server that says that it cannot serve.
    Unavailable,
    /// The next write meets an error that does not tell whether it was applied (it was not).
    ServerError,
    /// The next write gets no answer, since the connection is cut; it is not applied.
    Cut,
    /// The same, but it is applied.
    CutAfterApplying,
    /// The next write is applied and answered after a moment.
    Slow,
    /// The next write is kept: never answered, applied with [`Subject::release`].
    Hold,
    /// Of the next write's operations some are not taken for now, and the others are applied.
    Partly,
    /// The next write is larger than the server takes.
    TooLarge,
    /// The next write is refused with words that repeat every secret of the request.
    Echo,
    /// The next write is sent to this address, `http://host:port`.
    Redirect(String),
    /// Nothing can be reached.
    Down,
    /// Everything is reached and says that it cannot serve, probes included.
    NotServing,
    /// No write is taken, as by a server that is overloaded or a disk that is full; probes may pass.
    Overloaded,
    /// Something before the server answers every write with a page of its own, and a status with which the server itself
    /// would refuse records; probes may pass.
    Page,
    /// Everything is refused: keys, plan.
    Refused,
    /// This index alone is refused.
    RefusedIndex(String),
    /// Every record is poisonous whose text contains the mark.
    Poison {
        /// Stands in the record's JSON text.
        mark: String,
        /// What it does to a request.
        poison: Poison,
    },
    /// The agent dies in the middle of a write: leave what that leaves. Nothing is being written at this moment, and
    /// the next thing is a [`Subject::destination`] of its own.
    Torn,
}

/// What a poisonous record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    /// It is rejected, and the answer tells which one it is.
    Named,
    /// Its whole request is rejected, and the answer does not tell why.
    Anonymous,
    /// It alone meets a 500, and the others are applied.
    ItemError,
    /// Its whole request meets a 500.
    ServerError,
    /// Its whole request gets no answer.
    Hang,
}

/// What a destination holds.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Every object of every index, without what the destination itself adds, such as its id.
    pub objects: BTreeMap<Key, Value>,
    /// What it applied, repeats included, in its order, if it keeps that. What it refused or found superseded is left
    /// out.
    pub applied: Option<Vec<Applied>>,
}

/// One operation that a destination applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// To which object.
    pub key: Key,
    /// What it did.
    pub action: Action,
    /// The attribute `sequence` of its body, where it has one.
    pub sequence: Option<u64>,
}

impl Applied {
    /// The operation with this body.
    #[must_use]
    pub fn new(index: &str, object_id: &str, action: Action, body: &Value) -> Self {
        let key = Key { index: index.into(), object_id: object_id.into() };
        Self { key, action, sequence: body.get("sequence").and_then(Value::as_u64) }
    }
}

//! A producer: makes requests of records and sees each of them through, several at once.
//!
//! Invariants: records of one object are in one slot, and a slot has one request in flight, so that they arrive in
//! the order in which they came; a request is sent again with the same idempotency key until its outcome is known;
//! memory is bounded by the slots.

use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prost_types::Struct;
use rustc_hash::FxBuildHasher;
use thiserror::Error;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Channel;
use uuid::Uuid;

use super::{
    answer::{Failure, classify},
    connect::connect,
};
use crate::contract::client::{
    ActionType, SyncPayload, UpsertObjectsRequest, sync_service_client::SyncServiceClient,
};

/// Records of a request, inclusive.
const REQUEST_RECORDS_MAX: usize = 100;
/// Bytes of a request by [`Record::bytes`]; a single record may have more.
const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// How long records wait for more of their slot when none arrive.
const LINGER: Duration = Duration::from_millis(50);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The upper bounds of the first delay and of every delay before the next attempt.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Where and how to send.
#[derive(Clone)]
pub struct Options {
    /// The agent: `host:port` or `http://host:port`.
    pub target: String,
    /// The index of every record.
    pub index: String,
    /// What to do with every record.
    pub action: ActionType,
    /// Slots: requests in flight at most.
    pub requests_max: usize,
    /// How long to try for a first connection.
    pub connect_within: Duration,
    /// How long to go on without any request being accepted.
    pub patience: Duration,
    /// Speaks TLS; none: the connection is plain.
    pub tls: Option<TlsConnector>,
}

impl Options {
    /// 16 requests in flight; 5 s to connect, without TLS; gives up after 2 minutes without progress.
    #[must_use]
    pub fn new(target: String, index: String, action: ActionType) -> Self {
        let (connect_within, patience) = (Duration::from_secs(5), Duration::from_secs(120));
        Self { target, index, action, requests_max: 16, connect_within, patience, tls: None }
    }
}

/// One object on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What names it in reports: a line's number.
    pub line: u64,
    /// About how long it is.
    pub bytes: usize,
    /// The object's id.
    pub object_id: String,
    /// The object's attributes; none for a delete.
    pub data: Option<Struct>,
}

/// A record that is refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The record's line.
    pub line: u64,
    /// About how long it is.
    pub bytes: usize,
    /// Its id, if it had one.
    pub object_id: Option<String>,
    /// The agent's words, or ours.
    pub reason: String,
}

/// What happened; together the records of all events are those that are settled.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request was accepted.
    Accepted {
        /// Its records.
        records: usize,
        /// The sum of their bytes.
        bytes: usize,
    },
    /// A record was refused.
    Refused(Refusal),
    /// A request has to be sent again.
    Waiting {
        /// Why.
        reason: String,
    },
}

/// Why sending ended before the last record.
#[derive(Debug, Error)]
pub enum SendError {
    /// The target is no address.
    #[error("target {target:?} is not HOST:PORT")]
    Target {
        /// As it was given.
        target: String,
    },
    /// There was no first connection.
    #[error("no agent answers at {target}: {reason}; is it running?")]
    Unreachable {
        /// Where it was looked for.
        target: String,
        /// What the last attempt met.
        reason: String,
    },
    /// Nothing was accepted for too long.
    #[error("gave up after {seconds} s in which the agent accepted nothing: {reason}")]
    GaveUp {
        /// [`Options::patience`].
        seconds: u64,
        /// What the last attempt met.
        reason: String,
    },
    /// The agent refuses every such request.
    #[error("the agent refuses the request: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
}

/// Sends every record and returns when each is accepted or refused; tells of both, and of waiting, as it happens.
///
/// # Errors
/// [`SendError`] if it had to stop earlier: some records may then be accepted without an event that says so.
pub async fn send(
    mut records: impl Stream<Item = Record> + Unpin,
    options: Options,
    on_event: impl Fn(Event) + Send + Sync + 'static,
) -> Result<(), SendError> {
    let channel = connect(&options).await?;
    let slot_count = options.requests_max.max(1);
    let shared = Arc::new(Shared { options, accepted_at: Mutex::new(Instant::now()), on_event });
    let mut running = JoinSet::new();
    let start_slot = |_| {
        let (tx, rx) = mpsc::channel(1);
        running
            .spawn(Slot { client: SyncServiceClient::new(channel.clone()), shared: shared.clone() }.run(rx));
        Filling { tx, records: Vec::new(), bytes: 0 }
    };
    let slots: Vec<_> = (0..slot_count).map(start_slot).collect();

    let feed = feed(&mut records, slots);
    tokio::pin!(feed);
    let mut feeding = true;
    // A slot that fails ends everything; dropping the set aborts the other slots.
    loop {
        tokio::select! {
            biased;
            ended = running.join_next() => match ended {
                None => return Ok(()),
                Some(Ok(result)) => result?,
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            },
            () = &mut feed, if feeding => feeding = false,
        }
    }
}

/// Hands records to their slots until there are none; the slots end when the last is gone.
async fn feed<S: Stream<Item = Record> + Unpin>(records: &mut S, mut slots: Vec<Filling>) {
    loop {
        match timeout(LINGER, records.next()).await {
            Ok(Some(record)) => {
                let slot = FxBuildHasher.hash_one(&record.object_id) as usize % slots.len();
                slots[slot].push(record).await;
            }
            Ok(None) => {
                for slot in &mut slots {
                    slot.flush().await;
                }
                return;
            }
            // Nothing more for now: whoever types or tails a file sees every line arrive.
            Err(_) => {
                for slot in &mut slots {
                    slot.flush().await;
                }
            }
        }
    }
}

/// The next request of a slot.
struct Filling {
    tx: mpsc::Sender<Vec<Record>>,
    records: Vec<Record>,
    bytes: usize,
}

impl Filling {
    async fn push(&mut self, record: Record) {
        if self.bytes + record.bytes > REQUEST_BYTES_MAX {
            self.flush().await;
        }
        self.bytes += record.bytes;
        self.records.push(record);
        if self.records.len() == REQUEST_RECORDS_MAX {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        if !self.records.is_empty() {
            self.bytes = 0;
            // A slot that has failed takes no more; the failure itself ends the feed.
            let _ = self.tx.send(std::mem::take(&mut self.records)).await;
        }
    }
}

/// What the slots have in common.
struct Shared<F> {
    options: Options,
    accepted_at: Mutex<Instant>,
    on_event: F,
}

/// Sees requests through, one after the other.
struct Slot<F> {
    client: SyncServiceClient<Channel>,
    shared: Arc<Shared<F>>,
}

impl<F: Fn(Event)> Slot<F> {
    async fn run(mut self, mut rx: mpsc::Receiver<Vec<Record>>) -> Result<(), SendError> {
        while let Some(records) = rx.recv().await {
            // The pieces of a request that must be split, the first one last.
            let mut pieces = vec![records];
            while let Some(piece) = pieces.pop() {
                self.settle(piece, &mut pieces).await?;
            }
        }
        Ok(())
    }

    /// Sends one request until its outcome is known; what is left of it afterwards goes onto the pieces.
    async fn settle(
        &mut self,
        mut records: Vec<Record>,
        pieces: &mut Vec<Vec<Record>>,
    ) -> Result<(), SendError> {
        match self.request(&records).await? {
            Outcome::Accepted => {
                let bytes = records.iter().map(|record| record.bytes).sum();
                (self.shared.on_event)(Event::Accepted { records: records.len(), bytes });
            }
            Outcome::Payloads(mut refused) => {
                refused.sort_unstable_by_key(|(number, _)| *number);
                for (number, reason) in refused.into_iter().rev() {
                    self.refuse(records.remove(number), reason);
                }
                pieces.push(records);
            }
            Outcome::TooLarge(reason) => match records.len() {
                1 => records.into_iter().for_each(|record| self.refuse(record, reason.clone())),
                length => {
                    pieces.push(records.split_off(length / 2));
                    pieces.push(records);
                }
            },
        }
        pieces.retain(|piece| !piece.is_empty());
        Ok(())
    }

    fn refuse(&self, record: Record, reason: String) {
        let Record { line, bytes, object_id, data: _ } = record;
        (self.shared.on_event)(Event::Refused(Refusal { line, bytes, object_id: Some(object_id), reason }));
    }

    /// One request with one idempotency key, as often as it takes.
    async fn request(&mut self, records: &[Record]) -> Result<Outcome, SendError> {
        let Options { index, action, patience, .. } = &self.shared.options;
        let payload =
            |record: &Record| SyncPayload { object_id: record.object_id.clone(), data: record.data.clone() };
        let request = UpsertObjectsRequest {
            index_name: index.clone(),
            action_type: (*action).into(),
            payloads: records.iter().map(payload).collect(),
            idempotency_key: Uuid::new_v4().to_string(),
        };
        let started = Instant::now();
        let mut backoff = BACKOFF.0;
        loop {
            let attempt = timeout(ATTEMPT_TIMEOUT, self.client.upsert_objects(request.clone())).await;
            let failure = match attempt {
                Ok(Ok(_)) => {
                    *self.accepted_at() = Instant::now();
                    return Ok(Outcome::Accepted);
                }
                Ok(Err(status)) => classify(&status, records.len()),
                Err(_) => Failure::Retry { after: None, reason: "no answer".to_owned() },
            };
            let (after, reason) = match failure {
                Failure::Retry { after, reason } => (after.unwrap_or_default(), reason),
                Failure::Payloads(refused) => return Ok(Outcome::Payloads(refused)),
                Failure::TooLarge(reason) => return Ok(Outcome::TooLarge(reason)),
                Failure::Refused(reason) => return Err(SendError::Refused { reason }),
            };
            // Whoever has nothing to send makes no progress either; so time counts from this request on.
            let progress = started.max(*self.accepted_at());
            if progress.elapsed() + after > *patience {
                return Err(SendError::GaveUp { seconds: patience.as_secs(), reason });
            }
            (self.shared.on_event)(Event::Waiting { reason });
            sleep(after + backoff.mul_f64(fastrand::f64())).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    fn accepted_at(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.shared.accepted_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a request.
enum Outcome {
    Accepted,
    Payloads(Vec<(usize, String)>),
    TooLarge(String),
}

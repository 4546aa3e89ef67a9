//! A destination in memory, which can show every fault but half a write, and a plugin that can make one mistake.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use uuid::Uuid;

use crate::{
    destination::{Capabilities, Destination},
    identity::Version,
    operation::{Action, Batch, Key, Operation},
    testing::{Applied, Fault, Poison, State, Subject},
    verdict::{Confirmation, Reason, ReasonCode, Scope, Verdict, WriteError, Written},
};

/// Numbers of mistakes.
pub(super) struct Mistake;

macro_rules! mistakes {
    ($($name:ident = $number:literal)+) => {
        impl Mistake {
            $(pub(super) const $name: u8 = $number;)+
        }
    };
}

mistakes! {
    NONE = 0
    APPLIES_BACKWARDS = 1
    ANSWERS_TOO_EARLY = 2
    LOST_IS_WRITTEN = 3
    PART_IS_ALL = 4
    OUTAGE_IS_REJECTED = 5
    UNKNOWN_IS_REJECTED = 6
    PAUSE_IS_FORGOTTEN = 7
    TOO_LARGE_IS_REJECTED = 8
    WRONG_CULPRIT = 9
    GUESSED_CULPRIT = 10
    POISON_IS_APPLIED = 11
    INDEX_TAKES_ALL = 12
    REFUSAL_IS_REJECTED = 13
    REPEATS_ARE_REJECTED = 14
    VERSIONS_NOT_CHECKED = 15
    LOST_IS_UNAVAILABLE = 16
    PROBE_IS_BLIND = 17
    ONE_VERDICT_SHORT = 18
    NAMES_ARE_TRIMMED = 19
    TELLS_SECRET = 20
    LOGS_SECRET = 21
    FOLLOWS_REDIRECT = 22
    PAGE_IS_REJECTED = 23
}

pub(super) struct Memory<const VERSIONED: bool, const MISTAKE: u8> {
    server: Arc<Server>,
}

struct Plugin<const VERSIONED: bool, const MISTAKE: u8> {
    server: Arc<Server>,
    /// What it has not applied yet, if it answers too early.
    early: Mutex<Vec<Operation>>,
}

struct Server {
    secret: String,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, (Version, Option<Map<String, Value>>)>,
    applied: Vec<Applied>,
    seen: HashSet<u64>,
    next: VecDeque<Fault>,
    states: Vec<Fault>,
    held: Vec<Vec<Operation>>,
}

#[async_trait]
impl<const VERSIONED: bool, const MISTAKE: u8> Subject for Memory<VERSIONED, MISTAKE> {
    async fn start() -> Self {
        let secret = Uuid::new_v4().to_string();
        Self { server: Arc::new(Server { secret, inner: Mutex::default() }) }
    }

    fn destination(&self) -> Arc<dyn Destination> {
        let server = Arc::clone(&self.server);
        Arc::new(Plugin::<VERSIONED, MISTAKE> { server, early: Mutex::default() })
    }

    async fn inject(&self, fault: Fault) -> bool {
        let mut inner = self.server.lock();
        match fault {
            Fault::Torn => return false,
            Fault::Down
            | Fault::NotServing
            | Fault::Overloaded
            | Fault::Page
            | Fault::Refused
            | Fault::RefusedIndex(_)
            | Fault::Poison { .. } => inner.states.push(fault),
            _ => inner.next.push_back(fault),
        }
        true
    }

    async fn recover(&self) {
        let mut inner = self.server.lock();
        inner.states.clear();
        inner.next.clear();
    }

    fn unmet(&self) -> usize {
        self.server.lock().next.len()
    }

    async fn release(&self) -> usize {
        let mut inner = self.server.lock();
        let held = std::mem::take(&mut inner.held);
        held.iter().flatten().for_each(|operation| _ = inner.apply::<VERSIONED, MISTAKE>(operation));
        held.len()
    }

    async fn state(&self) -> State {
        let inner = self.server.lock();
        let live = |(key, (_, object)): (&Key, &(Version, Option<Map<String, Value>>))| {
            Some((key.clone(), Value::Object(object.clone()?)))
        };
        State {
            objects: inner.objects.iter().filter_map(live).collect(),
            applied: Some(inner.applied.clone()),
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.server.secret.clone()]
    }
}

#[async_trait]
impl<const VERSIONED: bool, const MISTAKE: u8> Destination for Plugin<VERSIONED, MISTAKE> {
    async fn write(&self, batch: &Batch) -> Result<Written, WriteError> {
        let fault = self.server.meet(batch.operations());
        if MISTAKE == Mistake::LOGS_SECRET {
            tracing::trace!(key = self.server.secret, "asked");
        }
        let reason = |code, words: &str| Reason::new(code, words);
        let rejected =
            |culprit| WriteError::BatchRejected { culprit, reason: reason(ReasonCode::Rejected, "no") };
        let unavailable = || WriteError::Unavailable {
            retry_after: None,
            reason: reason(ReasonCode::Unavailable, "not served"),
        };
        let unknown = || match MISTAKE {
            Mistake::UNKNOWN_IS_REJECTED => Err(rejected(None)),
            Mistake::LOST_IS_UNAVAILABLE => Err(unavailable()),
            Mistake::LOST_IS_WRITTEN => Ok(all(batch, Verdict::Written)),
            _ => Err(WriteError::Unknown {
                retry_after: None,
                reason: reason(ReasonCode::Unknown, "no answer"),
            }),
        };
        match fault {
            None => Ok(self.apply(batch)),
            Some(Fault::Slow) => {
                sleep(Duration::from_millis(10)).await;
                Ok(self.apply(batch))
            }
            Some(Fault::Throttled { retry_after }) => Err(WriteError::Throttled {
                retry_after: retry_after.filter(|_| MISTAKE != Mistake::PAUSE_IS_FORGOTTEN),
                reason: reason(ReasonCode::Throttled, "later"),
            }),
            Some(Fault::Down) if MISTAKE == Mistake::OUTAGE_IS_REJECTED => Err(rejected(None)),
            Some(Fault::Down | Fault::NotServing | Fault::Overloaded | Fault::Unavailable) => {
                Err(unavailable())
            }
            Some(Fault::ServerError | Fault::Cut) => unknown(),
            Some(Fault::CutAfterApplying) => {
                self.apply(batch);
                unknown()
            }
            Some(Fault::Hold) => {
                self.server.lock().held.push(batch.operations().to_vec());
                sleep(Duration::from_millis(50)).await;
                unknown()
            }
            Some(Fault::Partly) => Ok(self.apply_but(batch, ReasonCode::Throttled, |operation| {
                operation.key.object_id.bytes().last().is_some_and(|byte| byte % 2 == 0)
            })),
            Some(Fault::TooLarge) if MISTAKE == Mistake::TOO_LARGE_IS_REJECTED => Err(rejected(Some(0))),
            Some(Fault::TooLarge) => {
                Err(WriteError::TooLarge { reason: reason(ReasonCode::TooLarge, "too much") })
            }
            Some(Fault::Echo) if MISTAKE == Mistake::TELLS_SECRET => Err(WriteError::BatchRejected {
                culprit: None,
                reason: reason(ReasonCode::Rejected, &self.server.secret),
            }),
            Some(Fault::Echo) => Err(rejected(None)),
            Some(Fault::Redirect(to)) => {
                if MISTAKE == Mistake::FOLLOWS_REDIRECT
                    && let Some(address) = to.strip_prefix("http://")
                    && let Ok(mut stream) = TcpStream::connect(address).await
                {
                    let _ = stream.write_all(self.server.secret.as_bytes()).await;
                }
                Err(unavailable())
            }
            Some(Fault::Refused) if MISTAKE == Mistake::REFUSAL_IS_REJECTED => Err(rejected(None)),
            Some(Fault::Page) if MISTAKE == Mistake::PAGE_IS_REJECTED => Err(rejected(None)),
            Some(Fault::Refused | Fault::Page) => Err(WriteError::Misconfigured {
                scope: Scope::Destination,
                reason: reason(ReasonCode::Misconfigured, "who are you"),
            }),
            Some(Fault::RefusedIndex(_)) if MISTAKE == Mistake::INDEX_TAKES_ALL => {
                Ok(all(batch, Verdict::Reject(reason(ReasonCode::IndexRefused, "closed"))))
            }
            Some(Fault::RefusedIndex(index)) => Err(WriteError::Misconfigured {
                scope: Scope::Index(index.into()),
                reason: reason(ReasonCode::IndexRefused, "closed"),
            }),
            Some(Fault::Poison { mark, poison }) => {
                let culprit = batch.operations().iter().position(|operation| has(operation, &mark));
                match poison {
                    Poison::Named if MISTAKE == Mistake::WRONG_CULPRIT => {
                        Err(rejected(culprit.map(|place| place.saturating_sub(1))))
                    }
                    Poison::Named => Err(rejected(culprit)),
                    Poison::Anonymous if MISTAKE == Mistake::GUESSED_CULPRIT => Err(rejected(Some(0))),
                    Poison::Anonymous => Err(rejected(None)),
                    Poison::ItemError => {
                        Ok(self.apply_but(batch, ReasonCode::Unknown, |operation| has(operation, &mark)))
                    }
                    Poison::ServerError if MISTAKE == Mistake::POISON_IS_APPLIED => {
                        self.apply(batch);
                        unknown()
                    }
                    Poison::ServerError => unknown(),
                    Poison::Hang => {
                        sleep(Duration::from_millis(50)).await;
                        unknown()
                    }
                }
            }
            Some(Fault::Torn) => unreachable!("it cannot be shown"),
        }
    }

    async fn confirmed(&self, _: &Confirmation) -> Result<bool, WriteError> {
        Ok(true)
    }

    async fn probe(&self) -> Result<(), WriteError> {
        let states = self.server.lock().states.clone();
        let reason = |code| Reason::new(code, "not well");
        for state in states.iter().filter(|_| MISTAKE != Mistake::PROBE_IS_BLIND) {
            match state {
                Fault::Down | Fault::NotServing => {
                    let reason = reason(ReasonCode::Unavailable);
                    return Err(WriteError::Unavailable { retry_after: None, reason });
                }
                Fault::Refused => {
                    let reason = reason(ReasonCode::Misconfigured);
                    return Err(WriteError::Misconfigured { scope: Scope::Destination, reason });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn admit(&self, _: &Operation) -> Result<(), Reason> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { versioned: VERSIONED, coalesces: false, operations_max: 1_000, bytes_max: 1 << 20 }
    }
}

impl<const VERSIONED: bool, const MISTAKE: u8> Plugin<VERSIONED, MISTAKE> {
    fn apply(&self, batch: &Batch) -> Written {
        let mut operations = batch.operations().to_vec();
        if MISTAKE == Mistake::ANSWERS_TOO_EARLY {
            let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *early, &mut operations);
        }
        if MISTAKE == Mistake::APPLIES_BACKWARDS {
            operations.reverse();
        }
        let mut inner = self.server.lock();
        let mut verdicts: Vec<Verdict> =
            operations.iter().map(|operation| inner.apply::<VERSIONED, MISTAKE>(operation)).collect();
        match MISTAKE {
            Mistake::ANSWERS_TOO_EARLY => return all(batch, Verdict::Written),
            Mistake::ONE_VERDICT_SHORT => _ = verdicts.pop(),
            _ => {}
        }
        Written { verdicts, confirmations: Vec::new() }
    }

    /// Takes the operations but for some, which come again.
    fn apply_but(
        &self,
        batch: &Batch,
        code: ReasonCode,
        comes_again: impl Fn(&Operation) -> bool,
    ) -> Written {
        let mut inner = self.server.lock();
        let mut one = |operation: &Operation| match comes_again(operation) {
            true if MISTAKE == Mistake::PART_IS_ALL => Verdict::Written,
            true => Verdict::Retry(Reason::new(code, "not now")),
            false => inner.apply::<VERSIONED, MISTAKE>(operation),
        };
        Written { verdicts: batch.operations().iter().map(&mut one).collect(), confirmations: Vec::new() }
    }
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with a request of these operations.
    fn meet(&self, operations: &[Operation]) -> Option<Fault> {
        let mut inner = self.lock();
        let concerned = |state: &&Fault| match state {
            Fault::RefusedIndex(index) => operations.iter().any(|operation| *operation.key.index == **index),
            Fault::Poison { mark, .. } => operations.iter().any(|operation| has(operation, mark)),
            _ => true,
        };
        let state = inner.states.iter().find(concerned).cloned();
        state.or_else(|| inner.next.pop_front())
    }
}

impl Inner {
    fn apply<const VERSIONED: bool, const MISTAKE: u8>(&mut self, operation: &Operation) -> Verdict {
        let Operation { action, body, version, source, .. } = operation;
        let mut key = operation.key.clone();
        if MISTAKE == Mistake::NAMES_ARE_TRIMMED {
            key.object_id = key.object_id.replace(' ', "").into();
        }
        if !self.seen.insert(source.position.offset) && MISTAKE == Mistake::REPEATS_ARE_REJECTED {
            return Verdict::Reject(Reason::new(ReasonCode::Rejected, "seen before"));
        }
        let (stored, object) = self.objects.entry(key.clone()).or_default();
        if VERSIONED && *stored > *version && MISTAKE != Mistake::VERSIONS_NOT_CHECKED {
            return Verdict::Superseded;
        }
        *stored = *version;
        let changes: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        self.applied.push(Applied::new(&key.index, &key.object_id, *action, &Value::Object(changes.clone())));
        match (action, object.as_mut()) {
            (Action::Save, _) | (Action::PartialUpdate, None) => *object = Some(changes),
            (Action::Delete, _) => *object = None,
            (Action::PartialUpdate | Action::PartialUpdateNoCreate, Some(object)) => object.extend(changes),
            (Action::PartialUpdateNoCreate, None) => {}
        }
        Verdict::Written
    }
}

fn has(operation: &Operation, mark: &str) -> bool {
    String::from_utf8_lossy(&operation.body).contains(mark)
}

fn all(batch: &Batch, verdict: Verdict) -> Written {
    Written { verdicts: vec![verdict; batch.operations().len()], confirmations: Vec::new() }
}

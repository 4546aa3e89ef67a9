//! What a log's appends are compared with: fjall, a log-structured store, with as many appenders.
//!
//! Its journal is synced by `persist`; whoever inserts calls it. It has no group commit of its own, so that there are
//! two ways: each appender persists after its insert, as its documentation shows, or one thread puts what waits into a
//! write batch that is committed with that durability. Values as large as a request are kept apart from the keys, as it
//! recommends for large ones.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::anyhow;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use serde::{Deserialize, Serialize};

use crate::{
    appenders::{Taken, WARM_UP},
    child::Role,
    job::{Job, Meter},
    payload::requests,
};

/// A write batch takes no more bytes, as a write group of the log.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Inserts requests under ascending keys for a while.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rival {
    pub(crate) dir: PathBuf,
    pub(crate) appenders: usize,
    pub(crate) seconds: f64,
    pub(crate) way: Way,
}

/// How an insert becomes durable.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Way {
    /// Every appender persists after its insert.
    Each,
    /// One thread commits a batch of everything that waits.
    Batch,
}

/// What all threads share.
struct Store {
    database: Database,
    keyspace: Keyspace,
    next_key: AtomicU64,
    durable: AtomicU64,
    stop: AtomicBool,
}

struct Waiting {
    payload: Vec<u8>,
    answer: mpsc::SyncSender<()>,
}

impl Job for Rival {
    const ROLE: Role = Role::Fjall;
    type Outcome = Taken;

    fn work(self) -> anyhow::Result<Taken> {
        let database = Database::builder(&self.dir).manual_journal_persist(true).open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .with_kv_separation(Some(KvSeparationOptions::default()))
        };
        let keyspace = database.keyspace("requests", options)?;
        let (next_key, durable, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let store = Arc::new(Store { database, keyspace, next_key, durable, stop });
        let payloads = Arc::new(requests());
        let threads = match self.way {
            Way::Each => each(&store, &payloads, self.appenders),
            Way::Batch => batch(&store, &payloads, self.appenders),
        };
        thread::sleep(WARM_UP);
        let (meter, before) = (Meter::start()?, store.durable.load(Ordering::Relaxed));
        thread::sleep(Duration::from_secs_f64(self.seconds));
        let taken = store.durable.load(Ordering::Relaxed) - before;
        let cost = meter.stop()?;
        store.stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| anyhow!("an appender panicked"))??;
        }
        Ok(Taken { cost, requests: taken, read: 0 })
    }
}

type Threads = Vec<thread::JoinHandle<anyhow::Result<()>>>;

fn each(store: &Arc<Store>, payloads: &Arc<Vec<Vec<u8>>>, appenders: usize) -> Threads {
    let append = |first: usize| {
        let (store, payloads) = (store.clone(), payloads.clone());
        thread::spawn(move || {
            for payload in payloads.iter().cycle().skip(first) {
                if store.stop.load(Ordering::Relaxed) {
                    break;
                }
                store.keyspace.insert(store.key(), payload.clone())?;
                store.database.persist(PersistMode::SyncData)?;
                store.durable.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    };
    (0..appenders).map(append).collect()
}

fn batch(store: &Arc<Store>, payloads: &Arc<Vec<Vec<u8>>>, appenders: usize) -> Threads {
    let (queue, taken) = mpsc::sync_channel::<Waiting>(appenders);
    let append = |first: usize| {
        let (store, payloads, queue) = (store.clone(), payloads.clone(), queue.clone());
        thread::spawn(move || {
            let (answer, answered) = mpsc::sync_channel(1);
            for payload in payloads.iter().cycle().skip(first) {
                if store.stop.load(Ordering::Relaxed) {
                    break;
                }
                queue.send(Waiting { payload: payload.clone(), answer: answer.clone() })?;
                answered.recv()?;
            }
            Ok(())
        })
    };
    let mut threads: Threads = (0..appenders).map(append).collect();
    let store = store.clone();
    threads.push(thread::spawn(move || commit(&store, &taken)));
    threads
}

/// Commits batches until every appender is gone.
fn commit(store: &Store, queue: &mpsc::Receiver<Waiting>) -> anyhow::Result<()> {
    while let Ok(first) = queue.recv() {
        let mut batch = store.database.batch().durability(Some(PersistMode::SyncData));
        let (mut bytes, mut answers) = (0, Vec::new());
        let mut next = Some(first);
        while let Some(Waiting { payload, answer }) = next {
            bytes += payload.len();
            batch.insert(&store.keyspace, store.key(), payload);
            answers.push(answer);
            next = if bytes < BATCH_BYTES_MAX { queue.try_recv().ok() } else { None };
        }
        batch.commit()?;
        store.durable.fetch_add(answers.len() as u64, Ordering::Relaxed);
        for answer in answers {
            // An appender waits for its answer before it ends.
            answer.send(())?;
        }
    }
    Ok(())
}

impl Store {
    fn key(&self) -> [u8; 8] {
        self.next_key.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

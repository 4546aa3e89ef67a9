//! Keeps a destination's dead letters within their bounds: has old ones expire, and has ingest refuse an index whose
//! letters fill half of the budget, where the config wants that.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    dead_letter::{IndexFull, Store, Usage},
    feed::Routes,
    ingress::Refusals,
    runtime::{Clock, Stop, TaskKind, Tasks},
};

/// See the module's text.
pub(super) struct Keeper {
    pub(super) destination: Arc<str>,
    pub(super) store: Arc<Store>,
    pub(super) index_full: IndexFull,
    pub(super) routes: Arc<Routes>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) clock: Arc<dyn Clock>,
    /// How often letters are looked at for their age, and the file for what an operator has deleted.
    pub(super) interval: Duration,
}

impl Keeper {
    /// The usual [`Keeper::interval`].
    pub(super) const INTERVAL: Duration = Duration::from_secs(10);

    /// Refuses what is to be refused already. Before anybody is served, so that nobody slips through.
    pub(super) fn refuse_now(&self) {
        self.refuse(&self.store.usage().borrow());
    }

    /// Goes on as a task.
    pub(super) fn start(self, stop: Stop, tasks: &Tasks) {
        let name = self.destination.clone();
        tasks.spawn(TaskKind::DeadLetters, &name, self.run(stop));
    }

    async fn run(self, stop: Stop) {
        let mut usage = self.store.usage();
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fails = false;
        loop {
            tokio::select! {
                biased;
                // A stop first; then producers, who are refused in vain or accepted in vain meanwhile.
                () = stop.cancelled() => return,
                changed = usage.changed() => match changed {
                    Ok(()) => self.refuse(&usage.borrow_and_update()),
                    Err(_) => return,
                },
                _ = ticks.tick() => fails = !self.expire(&stop, fails).await,
            }
        }
    }

    /// Has ingest refuse the indexes that fill half of the budget, and no others.
    fn refuse(&self, usage: &Usage) {
        let Usage { budget, full_indexes, .. } = usage;
        let routing = self.routes.current();
        let indexes: BTreeMap<Arc<str>, String> = match self.index_full {
            IndexFull::Refuse => full_indexes
                .iter()
                // One that the destination no longer receives is not its concern.
                .filter(|(index, _)| routing.router.delivers(index, &self.destination))
                .map(|(index, bytes)| {
                    let reason = format!(
                        "its dead letters take {bytes} bytes there, half of the {budget} bytes that \
                         dead_letters.bytes_max allows"
                    );
                    (index.clone(), reason)
                })
                .collect(),
            IndexFull::Gap => BTreeMap::new(),
        };
        self.refusals.set(&self.destination, indexes);
    }

    /// Deletes every letter that is too old, and tells how many; false if that failed, which is told once.
    async fn expire(&self, stop: &Stop, failed: bool) -> bool {
        let destination = &self.destination;
        let mut expired: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut done = true;
        while !stop.is_cancelled() {
            match self.store.expire(self.clock.now()).await {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => {
                    batch
                        .into_iter()
                        .for_each(|(index, letters)| *expired.entry(index).or_default() += letters);
                    // There may be many batches, and room for the index long before their end.
                    self.refuse(&self.store.usage().borrow());
                }
                Err(error) => {
                    if !failed {
                        tracing::error!(%destination, %error, "old dead letters cannot be deleted");
                    }
                    done = false;
                    break;
                }
            }
        }
        for (index, letters) in expired {
            tracing::warn!(
                %destination, %index, letters,
                "dead letters were older than dead_letters.age_max and are deleted",
            );
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Mutex, time::Instant};

    use bytes::Bytes;
    use plugin_api::{
        identity::{LogId, Position, RequestId, Timestamp, Version},
        operation::{Action, Key, Source},
        verdict::{Reason, ReasonCode},
    };
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::{
        config::{self, FixedEnvironment},
        dead_letter::{Bounds, Change, Filter, Letter, Order, Stage, View, store_path},
        feed::Routing,
        router::Router,
    };

    struct SetClock(Mutex<Timestamp>);

    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    fn letter(index: &str, offset: u64) -> Letter {
        Letter {
            source: Source {
                log_id: LogId(Uuid::nil()),
                position: Position { partition: 0, offset },
                number: 0,
                request_id: RequestId(Uuid::nil()),
                accepted_at: Timestamp(0),
                caller: None,
            },
            version: Version(offset),
            record: Change {
                action: Action::Save,
                key: Key { index: index.into(), object_id: "1".into() },
                body: Bytes::from(vec![b'x'; 1_000]),
            },
            operation: None,
            module: None,
            stage: Stage::Delivery,
            reason: Reason::new(ReasonCode::Rejected, "odd"),
            attempts: 1,
            dead_lettered_at: Timestamp(1_000_000 * offset),
        }
    }

    fn routes(dir: &Path) -> Arc<Routes> {
        let path = dir.join("agent.toml");
        let text = "[destinations.search]\ntype = \"file\"\ndir = \"a\"\n[destinations.other]\ntype = \"file\"\ndir = \"b\"\n\
                    [defaults]\ndestinations = [\"search\"]\n[[indexes]]\nmatch = \"moved\"\ndestinations = [\"other\"]\n";
        std::fs::write(&path, text).unwrap();
        let loaded = config::load(Some(&path), &FixedEnvironment::new(&[], &[]));
        let router = Router::new(&loaded.unwrap_or_else(|errors| panic!("{errors}")).config);
        Routes::new(Routing { router, transforms: None })
    }

    /// A store of 10,000 bytes with a keeper.
    struct Kept {
        dir: TempDir,
        store: Arc<Store>,
        refusals: Arc<Refusals>,
        clock: Arc<SetClock>,
        stop: Stop,
        tasks: Tasks,
    }

    async fn keep(index_full: IndexFull, filed_before: &[Letter]) -> Kept {
        let dir = TempDir::new().unwrap();
        let age_max = Some(Duration::from_secs(1_000));
        let bounds = Bounds { bytes_max: 10_000, age_max, index_full };
        let path = store_path(dir.path(), "search");
        let store = Arc::new(Store::open(&path, bounds).unwrap());
        let (refusals, clock) = (Arc::new(Refusals::default()), Arc::new(SetClock(Mutex::default())));
        let (stop, tasks) = (Stop::new(), Tasks::default());
        store.file(filed_before.to_vec()).await.unwrap();
        let keeper = Keeper {
            destination: "search".into(),
            store: store.clone(),
            index_full,
            routes: routes(dir.path()),
            refusals: refusals.clone(),
            clock: clock.clone(),
            interval: Duration::from_millis(10),
        };
        keeper.refuse_now();
        keeper.start(stop.clone(), &tasks);
        Kept { dir, store, refusals, clock, stop, tasks }
    }

    impl Kept {
        fn path(&self) -> std::path::PathBuf {
            store_path(self.dir.path(), "search")
        }

        fn offsets(&self) -> Vec<u64> {
            let view = View::open(&self.path()).unwrap();
            let letters = view.letters(Filter::default(), Order::OldestFirst);
            letters.map(|filed| filed.unwrap().letter.source.position.offset).collect()
        }

        async fn until(&self, what: &str, condition: impl Fn() -> bool) {
            let start = Instant::now();
            while !condition() {
                assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 seconds");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }

        async fn stop(self) {
            self.stop.cancel();
            self.tasks.join().await;
        }
    }

    /// From the start on, and as soon as its letters fill half, an index is refused with the reason; the others are not,
    /// nor one that goes elsewhere now. It is accepted again once an operator has deleted letters.
    #[tokio::test]
    async fn an_index_that_fills_half_is_refused_until_it_does_not() {
        let kept = keep(IndexFull::Refuse, &[]).await;
        assert_eq!(kept.refusals.of("products"), None);
        let letters = (0..4).map(|offset| letter("products", offset));
        kept.store.file(letters.chain([letter("good", 9)]).collect()).await.unwrap();
        kept.until("it is refused", || kept.refusals.of("products").is_some()).await;
        let refusal = kept.refusals.of("products").unwrap();
        assert_eq!(&*refusal.destination, "search");
        assert!(refusal.reason.contains("of the 10000 bytes"), "{}", refusal.reason);
        assert_eq!(kept.refusals.of("good"), None);
        let connection = rusqlite::Connection::open(kept.path()).unwrap();
        connection.execute("DELETE FROM letters WHERE offset < 2", []).unwrap();
        kept.until("it is accepted again", || kept.refusals.of("products").is_none()).await;
        kept.stop().await;

        for (index, refused) in [("products", true), ("moved", false)] {
            let before: Vec<Letter> = (0..4).map(|offset| letter(index, offset)).collect();
            let kept = keep(IndexFull::Refuse, &before).await;
            assert_eq!(kept.refusals.of(index).is_some(), refused, "{index}, from the start on");
            kept.stop().await;
        }
    }

    /// Where the index is left behind instead, ingest accepts it.
    #[tokio::test]
    async fn an_index_that_is_left_behind_is_not_refused() {
        let before: Vec<Letter> = (0..4).map(|offset| letter("products", offset)).collect();
        let kept = keep(IndexFull::Gap, &before).await;
        assert_eq!(kept.store.usage().borrow().full_indexes.len(), 1);
        assert_eq!(kept.refusals.of("products"), None);
        kept.stop().await;
    }

    /// Letters go as their time comes, without anybody asking for it.
    #[tokio::test]
    async fn old_letters_go() {
        let before: Vec<Letter> = (0..5).map(|offset| letter("products", offset)).collect();
        let kept = keep(IndexFull::Refuse, &before).await;
        *kept.clock.0.lock().unwrap() = Timestamp((1_000 + 3) * 1_000_000);
        kept.until("three are gone", || kept.offsets() == [3, 4]).await;
        *kept.clock.0.lock().unwrap() = Timestamp(2_000 * 1_000_000);
        kept.until("all are gone", || kept.offsets().is_empty()).await;
        assert_eq!(kept.store.usage().borrow().used, 0);
        kept.stop().await;
    }
}

//! The application: what a test can tell it and ask of it, and what its hosts and their connections share.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    journal::Applied,
    routes,
    script::{Fault, Mark, Poison, Script},
    store::Store,
    tasks::{Publish, Tasks},
};
use crate::{
    host::{Host, HostState, Service},
    journal::{Detail, Journal, Seen},
};

/// What kind of application the fake is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The application's id.
    pub app_id: String,
    /// The key that may do everything.
    pub api_key: String,
    /// Number of hosts, at least 1.
    pub hosts: usize,
    /// The first host's port on 127.0.0.1; by default, and for the other hosts, any that is free.
    pub port: Option<u16>,
    /// The plan's limit on one record as sent, inclusive.
    pub record_bytes_max: usize,
    /// How much is remembered.
    pub detail: Detail,
    /// When tasks become published.
    pub publish: Publish,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            app_id: "FAKEAPP".into(),
            api_key: "fake-key".into(),
            hosts: 1,
            port: None,
            record_bytes_max: 100_000,
            detail: Detail::Bodies,
            publish: Publish::AtOnce,
        }
    }
}

/// A running fake. Dropping it closes every socket.
///
/// Every method takes effect for requests whose body has not been read yet.
pub struct FakeAlgolia {
    shared: Arc<Shared>,
    hosts: Vec<Host>,
}

impl FakeAlgolia {
    /// Starts serving on 127.0.0.1.
    ///
    /// # Errors
    /// If a socket cannot be opened, such as on a port that is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(&options));
        let mut hosts = Vec::new();
        for number in 0..options.hosts.max(1) {
            let host = Host::reserve(options.port.filter(|_| number == 0))?;
            host.listen(&shared, number)?;
            hosts.push(host);
        }
        Ok(Self { shared, hosts })
    }

    /// The first host's address, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.hosts[0].address())
    }

    /// Every host's address, in order.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.hosts.iter().map(|host| format!("http://{}", host.address())).collect()
    }

    /// Switches one host (from 0) on, off or into failing.
    ///
    /// # Errors
    /// If its socket cannot be opened again.
    pub async fn set_host(&self, host: usize, state: HostState) -> io::Result<()> {
        self.shared.lock().hosts[host] = state;
        match state {
            HostState::Refusing => self.hosts[host].refuse().await,
            HostState::Serving | HostState::Failing(_) => self.hosts[host].listen(&self.shared, host)?,
        }
        Ok(())
    }

    /// Switches every host.
    ///
    /// # Errors
    /// If a socket cannot be opened again.
    pub async fn set_hosts(&self, state: HostState) -> io::Result<()> {
        for host in 0..self.hosts.len() {
            self.set_host(host, state).await?;
        }
        Ok(())
    }

    /// The next writes meet this fault, after those that were told before.
    pub fn fail_next(&self, writes: usize, fault: Fault) {
        self.shared.lock().script.next.extend(std::iter::repeat_n(fault, writes));
    }

    /// Every write meets this fault until [`Self::recover`].
    pub fn fail_all(&self, fault: Fault) {
        self.shared.lock().script.always = Some(fault);
    }

    /// Ends every fault. Poison stays, and hosts stay as they are.
    pub fn recover(&self) {
        let script = &mut self.shared.lock().script;
        script.next.clear();
        script.always = None;
    }

    /// How many of the faults of [`Self::fail_next`] no write has met yet.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.shared.lock().script.next.len()
    }

    /// Makes every record with this object id poisonous.
    pub fn poison(&self, object_id: &str, poison: Poison) {
        self.shared.lock().script.poisons.push((Mark::ObjectId(object_id.to_owned()), poison));
    }

    /// Makes every record poisonous whose JSON text contains this; without effect on [`Detail::Counts`].
    pub fn poison_text(&self, text: &str, poison: Poison) {
        self.shared.lock().script.poisons.push((Mark::Text(text.to_owned()), poison));
    }

    /// Ends all poison.
    pub fn cure(&self) {
        self.shared.lock().script.poisons.clear();
    }

    /// Applies the writes that [`Fault::Hold`] kept, in the order in which they came, and says how many there were.
    pub fn apply_held(&self) -> usize {
        let held = std::mem::take(&mut self.shared.lock().script.held);
        let count = held.len();
        for write in held {
            routes::apply_held(&self.shared, &write);
        }
        count
    }

    /// Changes the application's key.
    pub fn set_api_key(&self, api_key: &str) {
        self.shared.lock().api_key = api_key.to_owned();
    }

    /// Restricts the key to these indexes; `None` lifts it.
    pub fn restrict_key(&self, indexes: Option<&[&str]>) {
        self.shared.lock().allowed = indexes.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    }

    /// Whether the key may write several indexes in one request.
    pub fn allow_several_indexes(&self, allowed: bool) {
        self.shared.lock().several_allowed = allowed;
    }

    /// Answers that this index does not exist.
    pub fn remove_index(&self, index: &str) {
        self.shared.lock().removed.insert(index.to_owned());
    }

    /// Every index exists again.
    pub fn restore_indexes(&self) {
        self.shared.lock().removed.clear();
    }

    /// Changes when tasks become published.
    pub fn set_publish(&self, publish: Publish) {
        self.shared.lock().tasks.publish = publish;
    }

    /// Waits until this many operations have been applied since the start.
    pub async fn wait_for_operations(&self, at_least: u64) {
        // The sender lives in `self.shared`, so this cannot fail.
        let _ = self.shared.operations.subscribe().wait_for(|&count| count >= at_least).await;
    }

    /// Waits until this many requests have come in since the start.
    pub async fn wait_for_requests(&self, at_least: u64) {
        let _ = self.shared.requests.subscribe().wait_for(|&count| count >= at_least).await;
    }

    /// The applied operations in their order; empty with [`Detail::Counts`].
    #[must_use]
    pub fn journal(&self) -> Vec<Applied> {
        self.shared.lock().journal.applied.clone()
    }

    /// The objects of an index by id, each with its `objectID`; empty with [`Detail::Counts`].
    #[must_use]
    pub fn objects(&self, index: &str) -> BTreeMap<String, Value> {
        self.shared.lock().store.objects(index)
    }

    /// The requests in their order; empty with [`Detail::Counts`].
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().journal.seen.clone()
    }

    /// How many operations have been applied, by index.
    #[must_use]
    pub fn operations(&self) -> BTreeMap<String, u64> {
        self.shared.lock().journal.operations.clone()
    }

    /// How many operations have been applied.
    #[must_use]
    pub fn operation_count(&self) -> u64 {
        *self.shared.operations.borrow()
    }

    /// How many requests have come in, whatever they asked.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.shared.lock().journal.requests
    }

    /// How many of them were writes.
    #[must_use]
    pub fn write_count(&self) -> u64 {
        self.shared.lock().journal.writes
    }

    /// The largest number of writes that were under way at once.
    #[must_use]
    pub fn concurrency_max(&self) -> usize {
        self.shared.concurrency_max.load(Ordering::Relaxed)
    }

    /// What was asked that no careful client would ask; a test ends by seeing this empty.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.lock().journal.violations.clone()
    }
}

/// What every connection shares.
pub(super) struct Shared {
    pub(super) app_id: String,
    pub(super) record_bytes_max: usize,
    /// Applied operations.
    pub(super) operations: watch::Sender<u64>,
    /// Requests that came in.
    pub(super) requests: watch::Sender<u64>,
    state: Mutex<State>,
    concurrency: AtomicUsize,
    concurrency_max: AtomicUsize,
}

/// What a test may change and a request may touch.
pub(super) struct State {
    pub(super) api_key: String,
    pub(super) allowed: Option<HashSet<String>>,
    pub(super) several_allowed: bool,
    pub(super) removed: HashSet<String>,
    pub(super) hosts: Vec<HostState>,
    pub(super) script: Script,
    pub(super) store: Store,
    pub(super) tasks: Tasks,
    pub(super) journal: Journal<Applied>,
}

impl Service for Shared {
    async fn answer(
        self: Arc<Self>,
        host: usize,
        cut: CancellationToken,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        routes::answer(&self, host, &cut, request).await
    }
}

impl Shared {
    fn new(options: &Options) -> Self {
        let state = State {
            api_key: options.api_key.clone(),
            allowed: None,
            several_allowed: true,
            removed: HashSet::new(),
            hosts: vec![HostState::Serving; options.hosts.max(1)],
            script: Script::default(),
            store: Store::default(),
            tasks: Tasks::new(options.publish),
            journal: Journal::new(options.detail.clone()),
        };
        Self {
            app_id: options.app_id.clone(),
            record_bytes_max: options.record_bytes_max,
            operations: watch::Sender::new(0),
            requests: watch::Sender::new(0),
            state: Mutex::new(state),
            concurrency: AtomicUsize::new(0),
            concurrency_max: AtomicUsize::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a write as under way until the guard is dropped.
    pub(super) fn under_way(&self) -> UnderWay<'_> {
        let now = self.concurrency.fetch_add(1, Ordering::Relaxed) + 1;
        self.concurrency_max.fetch_max(now, Ordering::Relaxed);
        UnderWay(&self.concurrency)
    }
}

pub(super) struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

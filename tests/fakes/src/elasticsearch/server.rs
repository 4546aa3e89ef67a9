//! The cluster: what a test can tell it and ask of it, and what its hosts and their connections share.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    apply::apply,
    index::{FieldType, IndexState},
    journal::Applied,
    real::Real,
    routes,
    script::{Fault, Mark, Poison, Script},
    store::Store,
};
use crate::{
    host::{Host, HostState, Service},
    journal::{Detail, Journal, Seen},
};

/// What kind of cluster the fake is.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it says that it is.
    pub product: Product,
    /// Which credentials it knows.
    pub auth: Auth,
    /// Number of nodes, at least 1.
    pub hosts: usize,
    /// The first node's port on 127.0.0.1; by default, and for the other nodes, any that is free.
    pub port: Option<u16>,
    /// Bytes of a request once decompressed, inclusive: `http.max_content_length`.
    pub content_bytes_max: usize,
    /// How much is remembered.
    pub detail: Detail,
    /// A real cluster behind the fake, without credentials: the fake then stores and remembers nothing that was applied, but
    /// misbehaves as it is told and hands on everything else.
    pub real: Option<SocketAddr>,
    /// After this long the connection of a request that is never answered is cut, as a proxy does that loses its patience;
    /// by default never.
    pub silence_max: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            product: Product::OpenSearch,
            auth: Auth::None,
            hosts: 1,
            port: None,
            content_bytes_max: 100 * 1024 * 1024,
            detail: Detail::Bodies,
            real: None,
            silence_max: None,
        }
    }
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Version 2.19.1.
    OpenSearch,
    /// Version 7.17.29.
    Elasticsearch,
}

/// Which credentials a cluster knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// It asks for none.
    None,
    /// The whole of the header `Authorization`, such as `ApiKey aWQ6a2V5`.
    Header(String),
}

/// A running fake. Dropping it closes every socket.
///
/// Every method takes effect for requests whose body has not been read yet.
pub struct FakeElasticsearch {
    shared: Arc<Shared>,
    hosts: Vec<Host>,
}

impl FakeElasticsearch {
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

    /// The first node's address, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.hosts[0].address())
    }

    /// Every node's address, in order.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.hosts.iter().map(|host| format!("http://{}", host.address())).collect()
    }

    /// Switches one node (from 0) on, off or into failing.
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

    /// Switches every node.
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

    /// Ends every fault. Poison stays, and hosts and indexes stay as they are.
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

    /// Makes every record poisonous whose JSON text contains this.
    pub fn poison_text(&self, text: &str, poison: Poison) {
        self.shared.lock().script.poisons.push((Mark::Text(text.to_owned()), poison));
    }

    /// Ends all poison.
    pub fn cure(&self) {
        self.shared.lock().script.poisons.clear();
    }

    /// Applies the writes that [`Fault::Hold`] kept, in the order in which they came, and says how many there were.
    pub async fn apply_held(&self) -> usize {
        let held = std::mem::take(&mut self.shared.lock().script.held);
        for write in &held {
            // Nobody waits for the answer any more.
            apply(&self.shared, write, false).await;
        }
        held.len()
    }

    /// Changes the credentials that it knows.
    pub fn set_auth(&self, auth: Auth) {
        self.shared.lock().auth = auth;
    }

    /// Whether the credentials may ask the cluster who it is.
    pub fn allow_monitoring(&self, allowed: bool) {
        self.shared.lock().monitoring_allowed = allowed;
    }

    /// Whether an index that is missing is made by the first write (`action.auto_create_index`).
    pub fn auto_create(&self, enabled: bool) {
        self.shared.lock().auto_create = enabled;
    }

    /// Bytes of a request that indexing pressure lets pass, inclusive; `None` lifts it.
    pub fn limit_pressure(&self, bytes_max: Option<usize>) {
        self.shared.lock().pressure_bytes_max = bytes_max;
    }

    /// Puts an index into a state; it is made if it is missing.
    pub fn set_index(&self, index: &str, state: IndexState) {
        let mut shared = self.shared.lock();
        let index = shared.store.index(index);
        (index.exists, index.state) = (true, state);
    }

    /// Every index that is there takes writes again.
    pub fn open_indexes(&self) {
        self.shared.lock().store.open_all();
    }

    /// Maps a first-level field, also of an index that is made later.
    pub fn map_field(&self, index: &str, field: &str, kind: FieldType) {
        let mut shared = self.shared.lock();
        shared.store.index(index).mapping.fields.insert(field.to_owned(), kind);
    }

    /// Makes an index refuse fields that are not mapped, also one that is made later.
    pub fn set_strict(&self, index: &str) {
        self.shared.lock().store.index(index).mapping.strict = true;
    }

    /// Makes an index refuse documents with more first-level fields than this.
    pub fn limit_fields(&self, index: &str, fields_max: usize) {
        self.shared.lock().store.index(index).mapping.fields_max = Some(fields_max);
    }

    /// Forgets the versions of deleted documents, as a real cluster does after `index.gc_deletes` (60 s).
    pub fn forget_tombstones(&self) {
        self.shared.lock().store.forget_tombstones();
    }

    /// Puts a document there as another writer would.
    pub fn put(&self, index: &str, object_id: &str, version: i64, document: &Value) {
        let document = document.as_object().cloned().unwrap_or_default();
        self.shared.lock().store.index(index).put(object_id, version, document);
    }

    /// Waits until this many operations have been answered without an error since the start.
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

    /// The documents of an index by id; empty with [`Detail::Counts`].
    #[must_use]
    pub fn objects(&self, index: &str) -> BTreeMap<String, Value> {
        self.shared.lock().store.get(index).map(super::store::Index::objects).unwrap_or_default()
    }

    /// The version of a document, deleted ones included; none with [`Detail::Counts`].
    #[must_use]
    pub fn version(&self, index: &str, object_id: &str) -> Option<i64> {
        self.shared.lock().store.get(index)?.version(object_id)
    }

    /// How often an index was refreshed.
    #[must_use]
    pub fn refreshes(&self, index: &str) -> u64 {
        self.shared.lock().store.get(index).map_or(0, |index| index.refreshes)
    }

    /// The requests in their order; empty with [`Detail::Counts`].
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().journal.seen.clone()
    }

    /// How many operations have been answered without an error, by index.
    #[must_use]
    pub fn operations(&self) -> BTreeMap<String, u64> {
        self.shared.lock().journal.operations.clone()
    }

    /// How many operations have been answered without an error.
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
    pub(super) product: Product,
    pub(super) content_bytes_max: usize,
    pub(super) real: Option<Real>,
    pub(super) silence_max: Option<Duration>,
    /// Operations that were answered without an error.
    pub(super) operations: watch::Sender<u64>,
    /// Requests that came in.
    pub(super) requests: watch::Sender<u64>,
    state: Mutex<State>,
    concurrency: AtomicUsize,
    concurrency_max: AtomicUsize,
}

/// What a test may change and a request may touch.
pub(super) struct State {
    pub(super) auth: Auth,
    pub(super) monitoring_allowed: bool,
    pub(super) auto_create: bool,
    pub(super) pressure_bytes_max: Option<usize>,
    pub(super) hosts: Vec<HostState>,
    pub(super) script: Script,
    pub(super) store: Store,
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
            auth: options.auth.clone(),
            monitoring_allowed: true,
            auto_create: true,
            pressure_bytes_max: None,
            hosts: vec![HostState::Serving; options.hosts.max(1)],
            script: Script::default(),
            store: Store::default(),
            journal: Journal::new(options.detail.clone()),
        };
        Self {
            product: options.product,
            content_bytes_max: options.content_bytes_max,
            real: options.real.map(Real),
            silence_max: options.silence_max,
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

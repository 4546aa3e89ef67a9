//! Sends what was encoded and hands on what the answer means.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use plugin_api::{
    destination::{Capabilities, Destination},
    identity::Version,
    operation::{Batch, Operation},
    verdict::{Confirmation, Reason, ReasonCode, Scope, Verdict, WriteError, Written},
};
use plugin_http::{
    body,
    client::client,
    endpoint::Endpoint,
    exchange::{Answer, Outgoing, exchange},
    hosts::Hosts,
    patience::Patience,
};
use reqwest::{
    Client, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tracing::{debug, error, info};

use crate::{
    admit,
    classify::{self, Answered, Judge},
    encode::{self, Line},
    rounds::{ROUNDS_MAX, Rounds},
    settings::{Auth, PartialUpdates, Settings, SettingsError},
};

const USER_AGENT: &str = concat!("sync-agent/", env!("CARGO_PKG_VERSION"));

/// A request of 5 to 15 MB is what a cluster takes best.
const CAPABILITIES: Capabilities =
    Capabilities { versioned: true, coalesces: true, operations_max: 10_000, bytes_max: 12_000_000 };

/// How long a small question may take, at most.
const READ_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// An answer to a small question is smaller.
const ANSWER_BYTES: usize = 64 * 1024;

/// What an item with an error takes, beside the parts of the record that it repeats.
const ITEM_BYTES: usize = 2 * 1024;

/// What a confirmation says: a refresh covers everything that was written before it.
const REFRESH: &str = "refresh";

/// A cluster.
#[derive(Debug)]
pub struct Elasticsearch {
    client: Client,
    nodes: Hosts,
    auth: Auth,
    gzip: bool,
    partial_updates: PartialUpdates,
    bulk_path: String,
    writes: Patience,
    reads: Patience,
    /// The newest version that a batch had: no agent has given a much newer one, unless its clock says so.
    newest: AtomicU64,
    /// It was told that a disk is full, and nothing has been written since.
    disk_full: AtomicBool,
    /// What the cluster last said that it is.
    product: Mutex<Option<String>>,
}

impl Elasticsearch {
    /// Makes the destination; connects to nobody yet.
    ///
    /// # Errors
    /// A [`SettingsError`] names the setting that cannot work.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        // Secrets are read anew for every request; checked here, so that a bad one is found at the start.
        settings.auth.credentials()?;
        if settings.nodes.is_empty() {
            return Err(SettingsError::NoNodes);
        }
        Ok(Self {
            client: client(USER_AGENT, settings.authorities.as_deref())?,
            nodes: Hosts::in_turn(settings.nodes),
            auth: settings.auth,
            gzip: settings.gzip,
            partial_updates: settings.partial_updates,
            bulk_path: encode::bulk_path(settings.timeout),
            writes: Patience::new(settings.timeout),
            reads: Patience::new(settings.timeout.min(READ_TIMEOUT_MAX)),
            newest: AtomicU64::new(0),
            disk_full: AtomicBool::new(false),
            product: Mutex::new(None),
        })
    }
}

#[async_trait]
impl Destination for Elasticsearch {
    async fn write(&self, batch: &Batch) -> Result<Written, WriteError> {
        let operations = batch.operations();
        let newest = operations.iter().map(|operation| operation.version.0).max().unwrap_or_default();
        self.newest.fetch_max(newest, Ordering::Relaxed);
        let mut rounds = Rounds::new(operations, self.partial_updates);
        for round in 0..ROUNDS_MAX {
            if rounds.lines().is_empty() {
                break;
            }
            match self.send(rounds.lines()).await {
                Ok(answered) => {
                    self.tell_disk(answered.disk_full);
                    rounds.settle(answered.fates);
                }
                Err(error) if round == 0 => return Err(error),
                Err(error) => {
                    rounds.fail(error)?;
                    break;
                }
            }
        }
        let verdicts = rounds.into_verdicts();
        let confirmations = confirmations(operations, &verdicts);
        Ok(Written { verdicts, confirmations })
    }

    /// Makes the index's writes visible, which is asked for here alone.
    async fn confirmed(&self, confirmation: &Confirmation) -> Result<bool, WriteError> {
        let index = &confirmation.index;
        // A name that leads to another route must not go further.
        admit::index(index).map_err(|reason| WriteError::Misconfigured {
            scope: Scope::Index(Arc::clone(index)),
            reason: Reason { code: ReasonCode::IndexRefused, ..reason },
        })?;
        let answer = self.ask(&self.reads, Method::POST, &encode::refresh_path(index), None).await?;
        classify::refreshed(&answer, index)
    }

    /// Asks the cluster who it is. A key for writing alone may not ask that: being known is enough then.
    async fn probe(&self) -> Result<(), WriteError> {
        let answer = self.ask(&self.reads, Method::GET, "/", None).await?;
        if answer.status.is_success() {
            self.tell_product(classify::product(&answer));
            return Ok(());
        }
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(());
        }
        Err(classify::refused(&answer))
    }

    fn admit(&self, operation: &Operation) -> Result<(), Reason> {
        admit::admit(operation)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

impl Elasticsearch {
    async fn send(&self, lines: &[Line<'_>]) -> Result<Answered, WriteError> {
        let body = encode::body(lines);
        let sent = Sent { answer_bytes_max: ANSWER_BYTES + ITEM_BYTES * lines.len() + 3 * body.len(), body };
        let answer = self.ask(&self.writes, Method::POST, &self.bulk_path, Some(sent)).await?;
        let newest = Version(self.newest.load(Ordering::Relaxed));
        Judge { partial_updates: self.partial_updates, newest }.written(&answer, lines)
    }

    async fn ask(
        &self,
        patience: &Patience,
        method: Method,
        path: &str,
        sent: Option<Sent>,
    ) -> Result<Answer, WriteError> {
        let credentials = self.auth.credentials().map_err(|error| WriteError::Misconfigured {
            scope: Scope::Destination,
            reason: Reason::new(ReasonCode::Misconfigured, error.to_string()),
        })?;
        let mut headers = HeaderMap::new();
        if let Some(header) = credentials.header {
            headers.insert(AUTHORIZATION, header);
        }
        let answer_bytes_max = sent.as_ref().map_or(ANSWER_BYTES, |sent| sent.answer_bytes_max);
        let mut body = Bytes::new();
        if let Some(sent) = sent {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
            let packed = if self.gzip { body::gzip(sent.body.clone()).await } else { None };
            if packed.is_some() {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            body = packed.unwrap_or(sent.body);
        }
        let outgoing = Outgoing {
            build: |endpoint: &Endpoint| {
                let request = self.client.request(method.clone(), endpoint.url(path));
                request.headers(headers.clone()).body(body.clone())
            },
            secrets: &credentials.secrets,
            bytes: body.len(),
            answer_bytes_max,
        };
        let answer = exchange(&self.nodes, patience, outgoing).await?;
        debug!(path, bytes = body.len(), status = answer.status.as_u16(), "elasticsearch answered");
        Ok(answer)
    }

    /// Tells once that a disk is full, until something was written again.
    fn tell_disk(&self, full: bool) {
        if self.disk_full.swap(full, Ordering::Relaxed) || !full {
            return;
        }
        error!(
            "elasticsearch has blocked an index because a disk is full (flood stage): free space there; until then its \
             records wait"
        );
    }

    fn tell_product(&self, product: Option<String>) {
        let mut known = self.product.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(product) = product.filter(|product| known.as_ref() != Some(product)) {
            info!(product, "elasticsearch told what it is");
            *known = Some(product);
        }
    }
}

/// A body with the limit of its answer.
struct Sent {
    body: Bytes,
    answer_bytes_max: usize,
}

/// One for each index to which something was written, in the order of the batch.
fn confirmations(operations: &[Operation], verdicts: &[Verdict]) -> Vec<Confirmation> {
    let mut seen: HashSet<&Arc<str>> = HashSet::new();
    let mut last = None;
    let mut confirmations = Vec::new();
    for (operation, verdict) in operations.iter().zip(verdicts) {
        let index = &operation.key.index;
        if *verdict == Verdict::Written && last != Some(index) {
            last = Some(index);
            if seen.insert(index) {
                confirmations.push(Confirmation { index: Arc::clone(index), handle: REFRESH.to_owned() });
            }
        }
    }
    confirmations
}

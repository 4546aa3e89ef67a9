//! Sends what was encoded and hands on what the answer means.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use plugin_api::{
    destination::{Capabilities, Destination},
    operation::{Batch, Operation},
    verdict::{Confirmation, Reason, ReasonCode, Scope, Verdict, WriteError, Written},
};
use plugin_http::{
    body,
    client::client,
    exchange::{Answer, Outgoing, exchange},
    hosts::Hosts,
    patience::Patience,
    secret::Secret,
};
use reqwest::{
    Client, Method,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tracing::debug;

use crate::{
    admit, classify,
    encode::{Request, task_path},
    settings::{self, Settings, SettingsError},
};

const USER_AGENT: &str = concat!("sync-agent/", env!("CARGO_PKG_VERSION"));

/// Operations and bytes that Algolia recommends for one request, at most.
const CAPABILITIES: Capabilities =
    Capabilities { versioned: false, coalesces: true, operations_max: 10_000, bytes_max: 10_000_000 };

/// The index whose task a probe asks for; it need not exist.
const PROBE_INDEX: &str = "sync-agent";

/// How long a small question may take, at most; what the official clients use for reads.
const READ_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// An answer without object ids is smaller.
const ANSWER_BYTES: usize = 64 * 1024;

/// An application of Algolia's.
#[derive(Debug)]
pub struct Algolia {
    client: Client,
    hosts: Hosts,
    app_id: HeaderValue,
    api_key: Secret,
    gzip: bool,
    non_idempotent_operations: bool,
    writes: Patience,
    reads: Patience,
    /// The key may write each index, but not several in one request.
    one_by_one: AtomicBool,
}

impl Algolia {
    /// Makes the destination; connects to nobody yet.
    ///
    /// # Errors
    /// A [`SettingsError`] names the setting that cannot work.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        // The key is read anew for every request; checked here, so that a bad one is found at the start.
        settings::api_key(&settings.api_key)?;
        Ok(Self {
            client: client(USER_AGENT, None)?,
            app_id: settings::app_id(&settings.app_id)?,
            hosts: Hosts::new(settings::hosts(&settings)?),
            api_key: settings.api_key,
            gzip: settings.gzip,
            non_idempotent_operations: settings.non_idempotent_operations,
            writes: Patience::new(settings.timeout),
            reads: Patience::new(settings.timeout.min(READ_TIMEOUT_MAX)),
            one_by_one: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Destination for Algolia {
    async fn write(&self, batch: &Batch) -> Result<Written, WriteError> {
        if batch.operations().is_empty() {
            return Ok(Written { verdicts: Vec::new(), confirmations: Vec::new() });
        }
        let request = Request::new(batch.operations().iter().collect());
        // What was not admitted must not come here; a name that leads to another route must not go further.
        for index in &request.indexes {
            admit::index(index).map_err(|reason| index_refused(index, reason))?;
        }
        if request.indexes.len() == 1 {
            return self.send(&request).await;
        }
        if self.one_by_one.load(Ordering::Relaxed) {
            return self.send_one_by_one(&request, None).await;
        }
        match self.send(&request).await {
            Err(error @ WriteError::Misconfigured { .. }) if !classify::concerns_every_index(&error) => {
                self.send_one_by_one(&request, Some(error)).await
            }
            outcome => outcome,
        }
    }

    async fn confirmed(&self, confirmation: &Confirmation) -> Result<bool, WriteError> {
        let Confirmation { index, handle } = confirmation;
        admit::index(index).map_err(|reason| index_refused(index, reason))?;
        classify::published(&self.get(&task_path(index, handle)).await?, index)
    }

    /// Asks for a task that need not exist: that takes the same right as a write, and no other.
    async fn probe(&self) -> Result<(), WriteError> {
        let answer = self.get(&task_path(PROBE_INDEX, "1")).await?;
        match classify::published(&answer, &PROBE_INDEX.into()) {
            // Without that task or that index the credentials are right all the same.
            Ok(_) | Err(WriteError::Misconfigured { scope: Scope::Index(_), .. }) => Ok(()),
            // So they are where the question itself was looked at.
            Err(_) if classify::is_about_question(&answer) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn admit(&self, operation: &Operation) -> Result<(), Reason> {
        admit::admit(operation, self.non_idempotent_operations)
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }
}

impl Algolia {
    async fn send(&self, request: &Request<'_>) -> Result<Written, WriteError> {
        let plain = request.body.clone();
        let packed = if self.gzip { body::gzip(plain.clone()).await } else { None };
        let mut headers = self.headers()?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if packed.is_some() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let body = packed.unwrap_or(plain);
        // The answer repeats every object id, which an escape can make three times as long.
        let answer_bytes_max = ANSWER_BYTES + 3 * request.body.len();
        let answer =
            self.ask(&self.writes, Method::POST, &request.path, headers, body, answer_bytes_max).await?;
        classify::written(&answer, request)
    }

    async fn get(&self, path: &str) -> Result<Answer, WriteError> {
        self.ask(&self.reads, Method::GET, path, self.headers()?, Bytes::new(), ANSWER_BYTES).await
    }

    async fn ask(
        &self,
        patience: &Patience,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        answer_bytes_max: usize,
    ) -> Result<Answer, WriteError> {
        let bytes = body.len();
        let outgoing = Outgoing {
            build: |endpoint: &plugin_http::endpoint::Endpoint| {
                let request =
                    self.client.request(method.clone(), endpoint.url(path)).headers(headers.clone());
                if body.is_empty() { request } else { request.body(body.clone()) }
            },
            secrets: &[self.api_key.expose()],
            bytes,
            answer_bytes_max,
        };
        let answer = exchange(&self.hosts, patience, outgoing).await?;
        let correlation_id = answer.headers.get("correlation-id").and_then(|value| value.to_str().ok());
        debug!(path, bytes, status = answer.status.as_u16(), correlation_id, "algolia answered");
        Ok(answer)
    }

    fn headers(&self) -> Result<HeaderMap, WriteError> {
        let api_key = settings::api_key(&self.api_key).map_err(|error| WriteError::Misconfigured {
            scope: Scope::Destination,
            reason: Reason::new(ReasonCode::Misconfigured, error.to_string()),
        })?;
        let mut headers = HeaderMap::new();
        headers.insert("x-algolia-application-id", self.app_id.clone());
        headers.insert("x-algolia-api-key", api_key);
        Ok(headers)
    }

    /// Sends each index of a batch alone, because all of them `together` were refused, which does not say for which.
    ///
    /// If any index passes, the first that is refused is to blame, else the destination as a whole is. If all pass,
    /// the key may write them one by one only, and so it is done from then on. What passes is written once more if
    /// the agent sends the rest again, in the same order.
    async fn send_one_by_one(
        &self,
        request: &Request<'_>,
        together: Option<WriteError>,
    ) -> Result<Written, WriteError> {
        let mut confirmations = Vec::new();
        let mut refused = None;
        let mut rejected = None;
        let mut passed = false;
        for index in &request.indexes {
            let places: Vec<usize> = (0..request.operations.len())
                .filter(|&place| request.operations[place].key.index == **index)
                .collect();
            let operations = places.iter().map(|&place| request.operations[place]).collect();
            match self.send(&Request::new(operations)).await {
                Ok(written) => {
                    passed = true;
                    confirmations.extend(written.confirmations);
                }
                Err(error) if classify::concerns_every_index(&error) => return Err(error),
                Err(WriteError::Misconfigured { reason, .. }) => {
                    refused.get_or_insert((index, reason));
                }
                // The index is not refused where its records are looked at.
                Err(WriteError::BatchRejected { culprit, reason }) => {
                    passed = true;
                    let culprit = culprit.map(|place| places[place]);
                    rejected.get_or_insert(WriteError::BatchRejected { culprit, reason });
                }
                Err(error @ WriteError::TooLarge { .. }) => {
                    passed = true;
                    rejected.get_or_insert(error);
                }
                Err(
                    error @ (WriteError::Throttled { .. }
                    | WriteError::Unavailable { .. }
                    | WriteError::Unknown { .. }),
                ) => return Err(error),
            }
        }
        match (refused, rejected) {
            (Some((index, reason)), _) if passed => return Err(index_refused(index, reason)),
            (Some((_, reason)), _) => {
                let reason = together.map_or(reason, |error| error.reason().clone());
                let reason = Reason { code: ReasonCode::Misconfigured, ..reason };
                return Err(WriteError::Misconfigured { scope: Scope::Destination, reason });
            }
            (None, rejected) => {
                if together.is_some() {
                    self.one_by_one.store(true, Ordering::Relaxed);
                }
                if let Some(error) = rejected {
                    return Err(error);
                }
            }
        }
        Ok(Written { verdicts: vec![Verdict::Written; request.operations.len()], confirmations })
    }
}

fn index_refused(index: &Arc<str>, reason: Reason) -> WriteError {
    let reason = Reason { code: ReasonCode::IndexRefused, ..reason };
    WriteError::Misconfigured { scope: Scope::Index(Arc::clone(index)), reason }
}

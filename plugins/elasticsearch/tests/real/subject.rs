//! A real cluster for the conformance suite, behind a fake.
//!
//! What the cluster can be told is its own: a full disk, a closed index, a record that its pipeline refuses or fails on.
//! What it cannot be told the fake does before it: cutting, delaying, holding, and answering in its stead. Each test has
//! indexes of its own, whose names end in what no other test's do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use fakes::elasticsearch::Options;
use plugin_api::{
    destination::{Capabilities, Destination},
    operation::{Batch, Key, Operation},
    testing::{Fault, Poison, State, Subject},
    verdict::{Confirmation, Reason, Scope, WriteError, Written},
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{fake_subject::Cluster, server::Server};

/// A new server compiles its first script and makes its first indexes in seconds. Whoever never answers is not waited for
/// that long: the fake cuts the connection.
const TIMEOUT: Duration = Duration::from_secs(30);
const SILENCE_MAX: Duration = Duration::from_millis(400);

pub(crate) struct RealCluster {
    fake: Cluster,
    server: Server,
    suffix: String,
}

#[async_trait]
impl Subject for RealCluster {
    fn is_there() -> bool {
        Server::find().is_some()
    }

    async fn start() -> Self {
        let server = Server::find().expect("it is there");
        let address: Option<SocketAddr> =
            server.url.strip_prefix("http://").and_then(|address| address.parse().ok());
        let real = Some(address.expect("it is on loopback"));
        let options = Options { real, silence_max: Some(SILENCE_MAX), ..Options::default() };
        let fake = Cluster::start_with(options, TIMEOUT).await;
        let subject = Self { fake, server, suffix: format!("-{}", Uuid::new_v4().simple()) };
        subject.make_with(json!({})).await;
        subject
    }

    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(Apart { plugin: self.fake.destination(), suffix: self.suffix.clone() })
    }

    async fn inject(&self, fault: Fault) -> bool {
        match &fault {
            Fault::Overloaded => self.set(json!({ "index.blocks.read_only_allow_delete": true })).await,
            Fault::RefusedIndex(index) => {
                let path = format!("/{index}{}", self.suffix);
                self.server.try_ask(Method::PUT, &path, "").await;
                self.server.ask(Method::POST, &format!("{path}/_close"), "").await;
            }
            Fault::Poison { poison: Poison::Named, .. } => {
                self.process(
                    json!({ "convert": { "field": "mark", "type": "long", "ignore_missing": true } }),
                )
                .await;
            }
            Fault::Poison { mark, poison: Poison::ItemError } => {
                let condition = format!("ctx.mark == '{mark}'");
                self.process(json!({ "fail": { "if": condition, "message": "the pipeline cannot go on" } }))
                    .await;
            }
            _ => return self.fake.inject(fault).await,
        }
        true
    }

    async fn recover(&self) {
        self.fake.recover().await;
        self.make_with(json!({})).await;
        // While the block is there, nothing else may be changed.
        for setting in ["index.blocks.read_only_allow_delete", "index.final_pipeline"] {
            self.change(json!({ setting: null })).await;
        }
        let open = format!("/*{}/_open?wait_for_active_shards=1", self.suffix);
        self.server.try_ask(Method::POST, &open, "").await;
    }

    fn unmet(&self) -> usize {
        self.fake.unmet()
    }

    async fn release(&self) -> usize {
        self.fake.release().await
    }

    async fn state(&self) -> State {
        let documents = self.server.documents(&format!("*{}", self.suffix), "*").await;
        let key = |index: &str, object_id: &str| Key {
            index: index.strip_suffix(&self.suffix).expect("it is ours").into(),
            object_id: object_id.into(),
        };
        let objects = documents.into_iter().map(|((index, id), document)| (key(&index, &id), document));
        // In which order it applied what, the cluster does not tell.
        State { objects: objects.collect(), applied: None }
    }

    fn secrets(&self) -> Vec<String> {
        self.fake.secrets()
    }

    fn violations(&self) -> Vec<String> {
        self.fake.violations()
    }
}

impl RealCluster {
    /// Indexes that are made from now on have these settings.
    async fn make_with(&self, mut settings: Value) {
        settings["number_of_replicas"] = 0.into();
        let patterns = [format!("*{}", self.suffix)];
        let template =
            json!({ "index_patterns": patterns, "priority": 1, "template": { "settings": settings } });
        let path = format!("/_index_template/conformance{}", self.suffix);
        self.server.ask(Method::PUT, &path, &template.to_string()).await;
    }

    /// Indexes that are there have these settings.
    async fn change(&self, settings: Value) {
        let path = format!("/*{}/_settings?allow_no_indices=true&expand_wildcards=all", self.suffix);
        self.server.ask(Method::PUT, &path, &settings.to_string()).await;
    }

    async fn set(&self, settings: Value) {
        self.make_with(settings.clone()).await;
        self.change(settings).await;
    }

    /// Every document passes this processor at last.
    async fn process(&self, processor: Value) {
        let pipeline = format!("conformance{}", self.suffix);
        let body = json!({ "processors": [processor] });
        self.server.ask(Method::PUT, &format!("/_ingest/pipeline/{pipeline}"), &body.to_string()).await;
        self.set(json!({ "index.final_pipeline": pipeline })).await;
    }
}

/// The plugin at a test's own indexes.
struct Apart {
    plugin: Arc<dyn Destination>,
    suffix: String,
}

impl Apart {
    fn there(&self, index: &str) -> Arc<str> {
        format!("{index}{}", self.suffix).into()
    }

    fn back(&self, index: &Arc<str>) -> Arc<str> {
        index.strip_suffix(&self.suffix).map_or_else(|| Arc::clone(index), Into::into)
    }

    fn moved(&self, operation: &Operation) -> Operation {
        let mut operation = operation.clone();
        operation.key.index = self.there(&operation.key.index);
        operation
    }
}

#[async_trait]
impl Destination for Apart {
    async fn write(&self, batch: &Batch) -> Result<Written, WriteError> {
        let moved: Batch = batch.operations().iter().map(|operation| self.moved(operation)).collect();
        match self.plugin.write(&moved).await {
            Ok(mut written) => {
                for confirmation in &mut written.confirmations {
                    confirmation.index = self.back(&confirmation.index);
                }
                Ok(written)
            }
            Err(WriteError::Misconfigured { scope: Scope::Index(index), reason }) => {
                Err(WriteError::Misconfigured { scope: Scope::Index(self.back(&index)), reason })
            }
            Err(error) => Err(error),
        }
    }

    async fn confirmed(&self, confirmation: &Confirmation) -> Result<bool, WriteError> {
        let index = self.there(&confirmation.index);
        self.plugin.confirmed(&Confirmation { index, ..confirmation.clone() }).await
    }

    async fn probe(&self) -> Result<(), WriteError> {
        self.plugin.probe().await
    }

    fn admit(&self, operation: &Operation) -> Result<(), Reason> {
        self.plugin.admit(&self.moved(operation))
    }

    fn capabilities(&self) -> Capabilities {
        self.plugin.capabilities()
    }
}

//! The real cluster with a destination in front of it, and operations for it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use plugin_api::{
    destination::Destination,
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Batch, Key, Operation, Source},
    verdict::Verdict,
};
use plugin_elasticsearch::{Elasticsearch, PartialUpdates, Settings};
use plugin_http::endpoint::Endpoint;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::server::Server;

/// The cluster and a destination that writes to it.
pub(crate) struct Cluster {
    pub(crate) elasticsearch: Elasticsearch,
    server: Server,
}

/// One operation of a test's index: action, id, body.
pub(crate) type Row<'a> = (Action, &'a str, &'a str);

impl Cluster {
    /// The cluster, if there is one.
    pub(crate) fn find() -> Option<Self> {
        Self::find_with(|_| {})
    }

    /// The same with other settings.
    pub(crate) fn find_with(change: impl FnOnce(&mut Settings)) -> Option<Self> {
        let server = Server::find()?;
        let endpoint = Endpoint::parse(&server.url, true).expect("it is an address");
        let mut settings = Settings { timeout: Duration::from_secs(60), ..Settings::new(vec![endpoint]) };
        change(&mut settings);
        let elasticsearch = Elasticsearch::new(settings).expect("the settings are right");
        Some(Self { elasticsearch, server })
    }

    pub(crate) fn find_merging() -> Option<Self> {
        Self::find_with(|settings| settings.partial_updates = PartialUpdates::DeepMerge)
    }

    /// Asks for something that must succeed.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &str) -> Value {
        self.server.ask(method, path, body).await
    }

    /// Asks for something.
    pub(crate) async fn try_ask(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        self.server.try_ask(method, path, body).await
    }

    /// Makes an index anew; `body` has its settings and mappings.
    pub(crate) async fn make(&self, index: &str, body: &str) {
        self.try_ask(Method::DELETE, &format!("/{index}"), "").await;
        self.ask(Method::PUT, &format!("/{index}"), body).await;
    }

    /// A document as it is stored.
    pub(crate) async fn get(&self, index: &str, id: &str) -> Option<Value> {
        let (status, mut answer) = self.try_ask(Method::GET, &format!("/{index}/_doc/{id}"), "").await;
        (status == 200).then(|| answer["_source"].take())
    }

    /// A document's version.
    pub(crate) async fn version(&self, index: &str, id: &str) -> Option<i64> {
        let (_, answer) = self.try_ask(Method::GET, &format!("/{index}/_doc/{id}"), "").await;
        answer["_version"].as_i64()
    }

    /// The verdicts of a batch that is answered item by item.
    pub(crate) async fn write(&self, batch: &Batch) -> Vec<Verdict> {
        let written = self.elasticsearch.write(batch).await;
        written.unwrap_or_else(|error| panic!("{error:?}")).verdicts
    }
}

/// A version that an agent gives now, and others after it.
pub(crate) fn now() -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    clock.as_micros() as u64
}

/// Operations whose versions rise from `first` on.
pub(crate) fn batch(index: &str, first: u64, rows: &[Row<'_>]) -> Batch {
    let numbered = (first..).zip(rows);
    numbered.map(|(version, (action, id, body))| operation(*action, index, id, body, version)).collect()
}

pub(crate) fn operation(action: Action, index: &str, id: &str, body: &str, version: u64) -> Operation {
    Operation {
        action,
        key: Key { index: Arc::from(index), object_id: Arc::from(id) },
        body: body.to_owned().into(),
        version: Version(version),
        record_index: index.into(),
        origin: None,
        source: Source {
            log_id: LogId(Uuid::nil()),
            position: Position::default(),
            number: 0,
            request_id: RequestId(Uuid::nil()),
            accepted_at: Timestamp::default(),
            caller: None,
        },
    }
}

/// A letter for each verdict: written, superseded, retry, rejected, index refused, foreign version.
pub(crate) fn shown(verdicts: &[Verdict]) -> String {
    use plugin_api::verdict::ReasonCode::{ForeignVersion, IndexRefused};
    let letter = |verdict: &Verdict| match verdict {
        Verdict::Written => 'w',
        Verdict::Superseded => 's',
        Verdict::Retry(_) => 'r',
        Verdict::Reject(reason) if reason.code == IndexRefused => 'i',
        Verdict::Reject(reason) if reason.code == ForeignVersion => 'f',
        Verdict::Reject(_) => 'x',
    };
    verdicts.iter().map(letter).collect()
}

//! A destination in front of a fake, and operations for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fakes::elasticsearch::{FakeElasticsearch, Options};
use plugin_api::{
    destination::Destination,
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Batch, Key, Operation, Source},
    verdict::Verdict,
};
use plugin_elasticsearch::{Elasticsearch, Settings};
use plugin_http::endpoint::Endpoint;
use uuid::Uuid;

/// A fake with one node and a destination that knows it, gzip off.
pub(crate) async fn start() -> (FakeElasticsearch, Elasticsearch) {
    start_with(Options::default(), |_| {}).await
}

/// A fake of another kind, and other settings.
pub(crate) async fn start_with(
    options: Options,
    change: impl FnOnce(&mut Settings),
) -> (FakeElasticsearch, Elasticsearch) {
    let fake = FakeElasticsearch::start(options).await.expect("loopback sockets can be opened");
    let nodes =
        fake.urls().iter().map(|url| Endpoint::parse(url, false).expect("loopback is allowed")).collect();
    let mut settings = Settings { gzip: false, timeout: Duration::from_secs(10), ..Settings::new(nodes) };
    change(&mut settings);
    (fake, Elasticsearch::new(settings).expect("the settings are right"))
}

/// A version that an agent gives now, plus this.
pub(crate) fn version(plus: u64) -> Version {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    Version(clock.as_micros() as u64 + plus)
}

pub(crate) fn operation(
    action: Action,
    index: &str,
    object_id: &str,
    body: &str,
    version: Version,
) -> Operation {
    Operation {
        action,
        key: Key { index: index.into(), object_id: object_id.into() },
        body: body.to_owned().into(),
        version,
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

/// Operations of one index whose versions rise from `first` on.
pub(crate) fn batch_from(first: u64, operations: &[(Action, &str, &str)]) -> Batch {
    let numbered = (first..).zip(operations);
    numbered
        .map(|(version, (action, id, body))| operation(*action, "i", id, body, Version(version)))
        .collect()
}

pub(crate) fn batch(operations: &[(Action, &str, &str)]) -> Batch {
    batch_from(1_000, operations)
}

/// Saves of `{"n":0}`, `{"n":1}`, ... under the ids "0", "1", ... of one index.
pub(crate) fn saves(index: &str, count: usize) -> Batch {
    let save = |number: usize| {
        let body = format!("{{\"n\":{number}}}");
        operation(Action::Save, index, &number.to_string(), &body, Version(1_000 + number as u64))
    };
    (0..count).map(save).collect()
}

/// The verdicts of a batch that is answered item by item.
pub(crate) async fn write(elasticsearch: &Elasticsearch, batch: &Batch) -> Vec<Verdict> {
    elasticsearch.write(batch).await.unwrap_or_else(|error| panic!("{error:?}")).verdicts
}

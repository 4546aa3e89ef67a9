//! A destination in front of a fake, and operations for it.

use std::time::Duration;

use fakes::algolia::{FakeAlgolia, Options};
use plugin_algolia::{Algolia, Settings};
use plugin_api::{
    identity::{LogId, Position, RequestId, Timestamp, Version},
    operation::{Action, Batch, Key, Operation, Source},
};
use plugin_http::{endpoint::Endpoint, secret::Secret};
use uuid::Uuid;

/// A fake with one host and a destination that knows it, gzip off.
pub(crate) async fn start() -> (FakeAlgolia, Algolia) {
    start_with(Options::default(), |_| {}).await
}

/// A fake of another kind, and other settings.
pub(crate) async fn start_with(
    options: Options,
    change: impl FnOnce(&mut Settings),
) -> (FakeAlgolia, Algolia) {
    let (app_id, api_key) = (options.app_id.clone(), Secret::new(options.api_key.as_str()));
    let fake = FakeAlgolia::start(options).await.expect("loopback sockets can be opened");
    let hosts =
        fake.urls().iter().map(|url| Endpoint::parse(url, false).expect("loopback is allowed")).collect();
    let mut settings = Settings {
        hosts: Some(hosts),
        gzip: false,
        timeout: Duration::from_secs(10),
        ..Settings::new(app_id, api_key)
    };
    change(&mut settings);
    (fake, Algolia::new(settings).expect("the settings are right"))
}

pub(crate) fn operation(action: Action, index: &str, object_id: &str, body: &str) -> Operation {
    Operation {
        action,
        key: Key { index: index.into(), object_id: object_id.into() },
        body: body.to_owned().into(),
        version: Version::default(),
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

pub(crate) fn save(index: &str, object_id: &str, body: &str) -> Operation {
    operation(Action::Save, index, object_id, body)
}

/// Saves of `{"n":0}`, `{"n":1}`, ... under the ids "0", "1", ... of one index.
pub(crate) fn saves(index: &str, count: usize) -> Batch {
    (0..count).map(|number| save(index, &number.to_string(), &format!("{{\"n\":{number}}}"))).collect()
}

pub(crate) fn batch<const N: usize>(operations: [Operation; N]) -> Batch {
    operations.into_iter().collect()
}

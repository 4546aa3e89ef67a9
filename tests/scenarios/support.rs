//! What several scenarios share: starting, waiting for a condition, and judging.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use fakes::{
    algolia::{Detail, FakeAlgolia, Options},
    elasticsearch::{self, Auth, FakeElasticsearch},
};
use harness::{
    history::{Destination, Findings, Request, check},
    load::{
        options::{self, Mix},
        report::Report,
        run::run,
    },
    ndjson::Journal,
    process::{Agent, Setup},
};

/// How long a condition may take to come true: many times what it takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The agent that this package builds.
pub(crate) fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_sync-agent"))
}

/// Keys of an Algolia destination that make outages short, to be appended right after it.
pub(crate) const IMPATIENT: &str = "backoff = { min = \"10ms\", max = \"200ms\" }\ntimeout = \"1s\"\n";

/// A fake Algolia that [`Setup::algolia`] has the keys of and that keeps what the history checker needs.
pub(crate) async fn fake() -> FakeAlgolia {
    let options = Options {
        app_id: "app".to_owned(),
        api_key: "key".to_owned(),
        detail: Detail::Attribute("seq".to_owned()),
        ..Options::default()
    };
    FakeAlgolia::start(options).await.unwrap()
}

/// A fake Elasticsearch that [`Setup::elasticsearch`] has the key of and that keeps what the history checker needs.
pub(crate) async fn fake_elasticsearch() -> FakeElasticsearch {
    let options = elasticsearch::Options {
        auth: Auth::Header("ApiKey key".to_owned()),
        detail: elasticsearch::Detail::Attribute("seq".to_owned()),
        ..elasticsearch::Options::default()
    };
    FakeElasticsearch::start(options).await.unwrap()
}

/// A load with everything that can go wrong between operations: few keys, several indexes, every action, requests of
/// several records, several of them in flight.
pub(crate) fn lively() -> options::Options {
    options::Options {
        connections: 3,
        in_flight: 3,
        request_records: 7,
        indexes: 3,
        keys: 300,
        mix: Mix { save: 4, partial_update: 3, delete: 1 },
        recorded: true,
        ..options::Options::default()
    }
}

/// Runs a load that nothing may go wrong with.
pub(crate) async fn accepted(agent: &Agent, options: options::Options) -> Report {
    let report = run(agent.address(), options).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    report
}

/// Waits for a condition and says how long it took.
pub(crate) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Duration {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "after {DEADLINE:?} it is still not true that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

/// Waits until a destination has everything, and fails with what is wrong if it never does. Everything is judged again
/// and again, since how much an unknown outcome brings is not known beforehand.
pub(crate) async fn settled(requests: &[Request], mut destination: impl FnMut() -> Destination) -> Findings {
    let start = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        let findings = check(requests, &destination());
        if findings.hold() || start.elapsed() > DEADLINE {
            findings.assert_hold();
            return findings;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// What a file destination has by now.
pub(crate) fn file(journal: &mut Journal) -> Destination {
    journal.read().unwrap();
    journal.destination()
}

//! The server is killed.

use std::time::{Duration, Instant};

use harness::load::{
    options::{Mix, Options, Pace, Until},
    run::run,
};
use reqwest::Method;

use crate::launched::{Launched, setup};

/// Far longer than it takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// Scenario: under load of every action, the server is killed (SIGKILL) with requests in flight, and started again on the
/// same data directory; the load goes on all the time.
///
/// Protects G3, G4 and G5: every object that was acknowledged is there at its newest, none that was deleted is, and
/// nothing is dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_is_killed() {
    let Some(mut launched) = Launched::start(&[]).await else { return };
    let patient = "backoff = { min = \"10ms\", max = \"500ms\" }\nbatch = { operations_max = 100, linger = \"20ms\" }\n";
    let agent = setup().elasticsearch("mirror", &launched.server.url).config(patient).start().await.unwrap();
    let options = Options {
        // Until it is stopped.
        until: Until::Elapsed(2 * DEADLINE),
        pace: Pace::Open { requests_per_second: 200.0 },
        connections: 3,
        in_flight: 3,
        request_records: 7,
        indexes: 3,
        keys: 3_000,
        mix: Mix { save: 4, partial_update: 3, delete: 1 },
        recorded: true,
        ..Options::default()
    };
    let control = options.control.clone();
    let load = tokio::spawn(run(agent.address(), options));
    until_written(&launched, 1_000).await;
    launched.kill();
    launched.restart().await;
    until_written(&launched, 1_000).await;
    control.stop();
    let report = load.await.unwrap().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    launched.holds("", &report.history).await;
    assert_eq!(agent.dead_letters(), []);
}

/// Waits until the server has taken so many operations since its start.
async fn until_written(launched: &Launched, least: u64) {
    let start = Instant::now();
    loop {
        let path = "/_stats/indexing?filter_path=_all.primaries.indexing.index_total";
        let statistics = launched.server.ask(Method::GET, path, "").await;
        let written = statistics["_all"]["primaries"]["indexing"]["index_total"].as_u64().unwrap_or_default();
        if written >= least {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "only {written} operations arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

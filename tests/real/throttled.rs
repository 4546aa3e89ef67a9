//! The server has too little room for what it gets.

use harness::load::{
    options::{Choice, Options, Until},
    run::run,
};
use reqwest::Method;
use serde_json::Value;

use crate::launched::{Launched, setup};

/// One write at a time and one that waits; a megabyte in flight, less than many a request here has; four in one request.
const NARROW: [&str; 4] = [
    "thread_pool.write.size=1",
    "thread_pool.write.queue_size=1",
    "indexing_pressure.memory.limit=1mb",
    "http.max_content_length=4mb",
];

/// One sends many small requests at once, the other few large ones.
const MANY: &str =
    "index = \"many-{index}\"\nrequests_max = 24\nbatch = { operations_max = 10, linger = \"1ms\" }\n";
const LARGE: &str = "index = \"large-{index}\"\nrequests_max = 2\nbatch = { operations_max = 10000 }\n";
const IMPATIENT: &str = "backoff = { min = \"10ms\", max = \"200ms\" }\n";

/// Scenario: a server with a queue of one and a megabyte of indexing pressure gets more requests than it may queue, and
/// larger ones than it ever takes.
///
/// Protects G3 and G5: it answers 429 in both ways, to items and to whole requests; everything is written in the end, and
/// nothing is dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_and_indexing_pressure_lose_nothing() {
    let Some(launched) = Launched::start(&NARROW).await else { return };
    let url = &launched.server.url;
    let setup = setup().elasticsearch("many", url).config(&format!("{MANY}{IMPATIENT}"));
    let setup = setup.elasticsearch("large", url).config(&format!("{LARGE}{IMPATIENT}"));
    let agent = setup.start().await.unwrap();
    let options = Options {
        until: Until::Records(5_000),
        connections: 4,
        in_flight: 2,
        request_records: 50,
        choice: Choice::InTurn,
        record_bytes: 3_000,
        recorded: true,
        ..Options::default()
    };
    let report = run(agent.address(), options).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for destination in ["many-", "large-"] {
        launched.holds(destination, &report.history).await;
    }
    assert_eq!(agent.dead_letters(), []);

    let path = "/_nodes/stats/thread_pool,indexing_pressure";
    let statistics = launched.server.ask(Method::GET, path, "").await;
    for counter in ["/thread_pool/write/rejected", "/indexing_pressure/memory/total/coordinating_rejections"]
    {
        let of_node = |node: &Value| node.pointer(counter).and_then(Value::as_u64);
        let counts: Option<u64> = statistics["nodes"].as_object().unwrap().values().map(of_node).sum();
        assert!(counts.is_some_and(|count| count > 0), "{counter} is {counts:?}: the test tells nothing");
    }
}

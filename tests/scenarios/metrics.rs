//! What a scraper and whoever runs the agent see of it.

use std::{collections::BTreeSet, fs};

use fakes::{
    algolia::{Fault, HostState},
    elasticsearch::Poison,
};
use harness::{
    guests::stamps,
    load::{
        options::{Options, Until},
        report::Report,
        run::run,
    },
    metrics::{Scrape, get, scrape, scrape_open},
    process::Agent,
};
use sync_agent::telemetry::metrics::FAMILIES;

use crate::support::{DEADLINE, IMPATIENT, accepted, eventually, fake, fake_elasticsearch, setup};

/// Saves of one object each, so that nothing is superseded.
fn saves(index: &str, records: u64) -> Options {
    let (index, request_records) = (index.to_owned(), 7);
    Options { until: Until::Records(records), index, request_records, ..Options::default() }
}

async fn readiness(agent: &Agent) -> (u16, String) {
    let answer = get(agent.http_address(), "/readyz", "*/*").await.unwrap();
    (answer.status, answer.body)
}

/// Waits until a scrape is as it should be, and returns it.
async fn until(agent: &Agent, what: &str, is: impl Fn(&Scrape) -> bool) -> Scrape {
    eventually(what, async || is(&scrape(agent.http_address()).await)).await;
    scrape(agent.http_address()).await
}

fn records(scrape: &Scrape, destination: &str, outcome: &str) -> f64 {
    scrape.value("sync_agent_records_total", &[("destination", destination), ("outcome", outcome)])
}

/// Scenario: records for three destinations, of which one fails three requests, one rejects one record and one is healthy;
/// an index with a transform; requests that are refused; a config that is refused and mended.
///
/// Protects that what is served is the table in the code, in both formats and nothing else, that every value that can be
/// known from outside is that value, and that no label takes a value of which there may be any number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_tells_what_happened() {
    const RECORDS: u64 = 700;
    const STAMPED: u64 = 70;
    let (search, mirror) = (fake().await, fake_elasticsearch().await);
    mirror.poison_text("\"seq\":172,", Poison::unparsable());
    let setup = setup()
        .file("archive")
        .elasticsearch("mirror", &mirror.url())
        .algolia("search", &search.url())
        .config(IMPATIENT);
    let module = setup.directory().join("stamps.wasm");
    fs::write(&module, stamps(1)).unwrap();
    let config = format!(
        "[limits]\nrequest_records_max = 100\n[[indexes]]\nmatch = \"stamped\"\ndestinations = [\"archive\"]\n\
         transform = \"stamps\"\n[transforms.stamps]\npath = {module:?}\n"
    );
    let agent = setup.config(&config).start().await.unwrap();
    the_table_is_served(&agent).await;

    search.fail_next(3, Fault::Refused { status: 503, message: "later".to_owned() });
    let Report { requests: first, .. } = accepted(&agent, saves("products", RECORDS)).await;
    let Report { requests: second, .. } = accepted(&agent, saves("stamped", STAMPED)).await;
    let refused = Options { request_records: 101, ..saves("products", 101) };
    let refused = run(agent.address(), refused).await.unwrap();
    assert_eq!((refused.requests.refused, refused.requests.acknowledged), (1, 0));

    let all = RECORDS + STAMPED;
    let requests = (first.acknowledged + second.acknowledged) as f64;
    let seen = until(&agent, "everything is settled and counted", |scrape| {
        let settled = |destination: &str| {
            let outcomes = ["written", "superseded", "skipped", "dead_lettered", "gap"];
            outcomes.map(|outcome| records(scrape, destination, outcome)).iter().sum::<f64>() == all as f64
        };
        let letter = [("destination", "mirror"), ("reason", "rejected")];
        ["archive", "mirror", "search"].iter().all(|name| settled(name))
            && scrape.find("sync_agent_dead_letters", &letter) == Some(1.0)
    })
    .await;
    let is = |name: &str, labels: &[(&str, &str)], value: f64| {
        assert_eq!(seen.value(&format!("sync_agent_{name}"), labels), value, "{name} {labels:?}");
    };
    is("ingest_requests_total", &[("code", "OK")], requests);
    is("ingest_requests_total", &[("code", "RESOURCE_EXHAUSTED")], 1.0);
    is("ingest_requests_total", &[("code", "INVALID_ARGUMENT")], 0.0);
    is("ingest_records_total", &[("code", "OK")], all as f64);
    is("log_appends_total", &[], requests);
    is("accept_durable_seconds_count", &[], requests);
    assert!(seen.value("sync_agent_log_syncs_total", &[]) <= requests);
    assert!(seen.value("sync_agent_log_appended_bytes_total", &[]) > 600.0 * all as f64);
    assert!(seen.value("sync_agent_disk_used_bytes", &[]) < seen.value("sync_agent_disk_max_bytes", &[]));

    for (destination, written, dead_lettered) in
        [("archive", all, 0), ("search", RECORDS, 0), ("mirror", RECORDS - 1, 1)]
    {
        let labels = [("destination", destination)];
        assert_eq!(records(&seen, destination, "written"), written as f64, "{destination}");
        assert_eq!(records(&seen, destination, "dead_lettered"), f64::from(dead_lettered), "{destination}");
        let skipped = if destination == "archive" { 0 } else { STAMPED };
        assert_eq!(records(&seen, destination, "skipped"), skipped as f64, "{destination}");
        is("accept_delivered_seconds_count", &labels, written as f64);
        is("lag_records", &labels, 0.0);
        is("oldest_pending_seconds", &labels, 0.0);
        is("destination_state", &[labels[0], ("state", "running")], 1.0);
        is("breaker_state", &[labels[0], ("state", "closed")], 1.0);
        let sent = seen.value("sync_agent_batch_operations_sum", &labels);
        assert!(
            sent >= written as f64 && seen.value("sync_agent_batch_bytes_sum", &labels) > sent,
            "{destination}"
        );
    }
    is("retries_total", &[("destination", "search"), ("cause", "unavailable")], 3.0);
    is("retries_total", &[("destination", "archive"), ("cause", "unavailable")], 0.0);
    is("dead_letters_filed_total", &[("destination", "mirror"), ("reason", "rejected")], 1.0);
    assert!(seen.value("sync_agent_dead_letters_bytes", &[("destination", "mirror")]) > 600.0);
    is("transform_records_total", &[("transform", "stamps"), ("outcome", "replaced")], STAMPED as f64);
    is("transform_suspended_indexes", &[("transform", "stamps")], 0.0);
    assert!(seen.value("sync_agent_transform_call_seconds_sum", &[("transform", "stamps")]) > 0.0);
    is("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    assert!(seen.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(seen.value("process_cpu_seconds_total", &[]) > 0.0);
    labels_are_bounded(&seen);
    a_refused_config_is_told(&agent).await;
}

/// Families, kinds, units and help are those of the table, in both formats, from the first scrape on.
async fn the_table_is_served(agent: &Agent) {
    let (plain, open) =
        (scrape(agent.http_address()).await.families, scrape_open(agent.http_address()).await.families);
    let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    for families in [&plain, &open] {
        assert_eq!(families.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    }
    for family in FAMILIES {
        for served in [&plain[family.name], &open[family.name]] {
            assert_eq!(
                (&*served.kind, &*served.help),
                (family.kind.as_str(), family.help),
                "{}",
                family.name
            );
        }
        assert_eq!(open[family.name].unit, family.unit, "{}", family.name);
    }
    let elsewhere = get(agent.http_address(), "/v1/status", "*/*").await.unwrap();
    assert_eq!(elsewhere.status, 404, "only what anybody may read");
}

/// Every label is one of the table, and takes its values from the config or the code: no index, object or caller.
fn labels_are_bounded(scrape: &Scrape) {
    for family in FAMILIES {
        assert!(!scrape.families[family.name].samples.is_empty(), "{} has no sample", family.name);
        for (_, labels) in scrape.families[family.name].samples.keys() {
            let names: BTreeSet<&str> =
                labels.keys().map(String::as_str).filter(|name| *name != "le").collect();
            assert_eq!(names, family.labels.iter().copied().collect(), "{}", family.name);
            for (name, value) in labels {
                let bounded = match &**name {
                    "destination" => ["archive", "mirror", "search"].contains(&&**value),
                    "transform" => value == "stamps",
                    "version" => value == env!("CARGO_PKG_VERSION"),
                    "le" => true,
                    _ => {
                        !value.is_empty()
                            && value.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphabetic())
                    }
                };
                assert!(bounded, "{}: {name}={value:?}", family.name);
            }
        }
    }
}

async fn a_refused_config_is_told(agent: &Agent) {
    let path = agent.directory().join("config.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{good}\nbroken")).unwrap();
    let at =
        until(agent, "the refusal is told", |scrape| scrape.value("sync_agent_config_refused", &[]) == 1.0)
            .await
            .value("sync_agent_config_last_refused_timestamp_seconds", &[]);
    fs::write(&path, good.replace("request_records_max = 100", "request_records_max = 200")).unwrap();
    let mended = |scrape: &Scrape| scrape.value("sync_agent_config_generation", &[]) == 2.0;
    let seen = until(agent, "the mended config serves", mended).await;
    assert_eq!(seen.value("sync_agent_config_refused", &[]), 0.0);
    assert!(seen.value("sync_agent_config_last_refused_timestamp_seconds", &[]) >= at && at > 1e9);
    assert_eq!(seen.value("sync_agent_reloads_total", &[("outcome", "accepted")]), 1.0);
    assert!(seen.value("sync_agent_reloads_total", &[("outcome", "refused")]) >= 1.0);
}

/// Scenario: the only destination is down until its backlog is full and ingest refuses.
///
/// Protects that neither makes the agent unready: another one would serve no better, and a refusal tells a producer more
/// than a closed door. Draining does, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_leaves_the_agent_ready() {
    let search = fake().await;
    search.set_hosts(HostState::Refusing).await.unwrap();
    let small = "disk_bytes_max = \"2MiB\"\nsegment_bytes = \"128KiB\"\nretention = { age = \"0s\" }";
    let refuse = format!("{IMPATIENT}backlog_bytes_max = \"512KiB\"\n");
    let setup = setup().data(small).algolia("search", &search.url()).config(&refuse);
    let agent = setup.start().await.unwrap();
    let report = run(agent.address(), saves("products", 3_500)).await.unwrap();
    assert!(report.requests.refused > 0, "{:?}", report.problems);

    let open = [("destination", "search"), ("state", "open")];
    let seen = until(&agent, "the breaker opens", |scrape| {
        scrape.value("sync_agent_breaker_state", &open) == 1.0
            && scrape.value("sync_agent_destination_state", &open) == 1.0
    })
    .await;
    let labels = [("destination", "search")];
    assert_eq!(seen.value("sync_agent_lag_records", &labels), report.records.acknowledged as f64);
    assert!(seen.value("sync_agent_lag_bytes", &labels) > 500_000.0);
    assert_eq!(seen.value("sync_agent_lag_max_bytes", &labels), 512.0 * 1024.0);
    assert!(seen.value("sync_agent_oldest_pending_seconds", &labels) > 0.0);
    let refused = seen.value("sync_agent_ingest_requests_total", &[("code", "RESOURCE_EXHAUSTED")]);
    assert_eq!(refused, report.requests.refused as f64);
    let refused = seen.value("sync_agent_ingest_records_total", &[("code", "RESOURCE_EXHAUSTED")]);
    assert_eq!(refused, report.records.refused as f64);
    let retries = seen.families["sync_agent_retries_total"].samples.values().sum::<f64>();
    assert!(retries >= 5.0, "{retries}");
    assert_eq!(readiness(&agent).await, (200, "ready\n".to_owned()));

    assert_eq!(agent.execute(&["drain"]).status.code(), Some(3), "records remain");
    let (status, why) = readiness(&agent).await;
    assert!(status == 503 && why.starts_with("draining: "), "{status} {why}");
    assert_eq!(scrape(agent.http_address()).await.value("sync_agent_draining", &[]), 1.0);
    assert!(agent.execute(&["drain", "--cancel"]).status.success());
    assert_eq!(readiness(&agent).await.0, 200);
}

/// Scenario: the log's directory is gone, so that the next segment cannot be made.
///
/// Protects that the agent is unready, with words, from then until it is restarted, alive all the same, and delivers what
/// it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_log_makes_it_unready() {
    let setup = setup().data("segment_bytes = \"64KiB\"").file("archive");
    let mut agent = setup.start().await.unwrap();
    assert_eq!(readiness(&agent).await.0, 200);
    accepted(&agent, saves("products", 7)).await;
    let log = agent.data_directory().join("logs/default");
    let away = agent.data_directory().join("logs/away");
    fs::rename(&log, &away).unwrap();
    let report = run(agent.address(), saves("products", 700)).await.unwrap();
    assert!(report.requests.acknowledged < 100, "{:?}", report.problems);

    let (status, why) = readiness(&agent).await;
    assert!(status == 503 && why.starts_with("the log is poisoned: "), "{status} {why}");
    let health = get(agent.http_address(), "/healthz", "*/*").await.unwrap();
    assert_eq!((health.status, &*health.body), (200, "alive\n"));
    let seen = scrape(agent.http_address()).await;
    assert_eq!(seen.value("sync_agent_log_poisoned", &[]), 1.0);
    assert!(seen.value("sync_agent_ingest_requests_total", &[("code", "UNAVAILABLE")]) > 0.0);

    agent.kill();
    fs::rename(&away, &log).unwrap();
    agent.restart().await.unwrap();
    assert_eq!(readiness(&agent).await.0, 200);
    assert_eq!(scrape(agent.http_address()).await.value("sync_agent_log_poisoned", &[]), 0.0);
    assert!(agent.terminate(DEADLINE).await.unwrap().success());
}

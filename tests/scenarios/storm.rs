//! Several batches in flight at destinations that fail now and then in every way, while the agent is killed.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fakes::{
    algolia::{self as algolia_fake, FakeAlgolia},
    elasticsearch::{self as elasticsearch_fake, FakeElasticsearch},
};
use harness::{
    algolia, elasticsearch,
    journal::Marks,
    load::{
        options::{Options as Load, Until},
        run::run,
    },
    ndjson::Journal,
};

use crate::support::{self, DEADLINE, IMPATIENT, accepted, lively, settled, setup};

/// Small batches, so that there are many, and eight of them in flight.
const STORMY: &str =
    "requests_max = 8\nattempts_max = 3\nbatch = { operations_max = 20, linger = \"5ms\" }\n";

const KILLS: u64 = 3;

/// The sequence numbers of records that are poison everywhere but in the file, in the last phase.
const POISON: [u64; 3] = [77, 1_111, 2_345];

/// Scenario: under load of every action on few keys, one of twenty requests to Algolia and to Elasticsearch fails (500,
/// 503, 429, a cut connection), one of a hundred is applied without an answer, both slow down now and then, and the agent
/// is killed again and again. At last three records come that are refused with a culprit, without one, and as a server
/// error.
///
/// Protects G3, G4, G5 and G6: everything that was acknowledged arrives or is superseded, nothing older is left over
/// anything newer, and each poison record is alone in the dead letters, with its reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_storm() {
    let search = Arc::new(support::fake().await);
    let mirror = Arc::new(support::fake_elasticsearch().await);
    let config = format!("{IMPATIENT}{STORMY}");
    let mut agent = setup()
        .file("archive")
        .algolia("search", &search.url())
        .config(&config)
        .elasticsearch("mirror", &mirror.url())
        .config(&config)
        .start()
        .await
        .unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let is_over = Arc::new(AtomicBool::new(false));
    let storm = tokio::spawn(weather(search.clone(), mirror.clone(), is_over.clone()));

    let (mut requests, mut search_marks, mut mirror_marks) = (Vec::new(), Marks::default(), Marks::default());
    let mut options = Load { until: Until::Elapsed(DEADLINE), ..lively() };
    for kill in 0..KILLS {
        let load = tokio::spawn(run(agent.address(), options.clone()));
        search.wait_for_operations(search.operation_count() + 1_500).await;
        mirror.wait_for_operations(mirror.operation_count() + 1_500).await;
        // Not a wait for something: the moment of the kill is what is tried out.
        tokio::time::sleep(Duration::from_millis(70 * kill)).await;
        agent.kill();
        let report = load.await.unwrap().unwrap();
        options.first_sequence = report.next_sequence;
        requests.extend(report.history);
        journal.restarted().unwrap();
        // What its sockets still held is applied, or not, before the next one comes.
        search.set_hosts(algolia_fake::HostState::Refusing).await.unwrap();
        mirror.set_hosts(elasticsearch_fake::HostState::Refusing).await.unwrap();
        search_marks.restarts.push(search.journal().len());
        mirror_marks.restarts.push(mirror.journal().len());
        search.set_hosts(algolia_fake::HostState::Serving).await.unwrap();
        mirror.set_hosts(elasticsearch_fake::HostState::Serving).await.unwrap();
        agent.restart().await.unwrap();
    }
    assert!(search.concurrency_max() > 2 && mirror.concurrency_max() > 2, "batches went one after the other");
    is_over.store(true, Ordering::Relaxed);
    storm.await.unwrap();
    search.recover();
    mirror.recover();

    let kinds = [
        (algolia_fake::Poison::Named, elasticsearch_fake::Poison::unparsable()),
        (algolia_fake::Poison::Anonymous, elasticsearch_fake::Poison::Anonymous),
        (algolia_fake::Poison::ServerError, elasticsearch_fake::Poison::ServerError),
    ];
    let first = options.first_sequence;
    for (poison, (of_search, of_mirror)) in POISON.iter().zip(kinds) {
        search.poison_text(&format!("\"seq\":{},", first + poison), of_search);
        mirror.poison_text(&format!("\"seq\":{},", first + poison), of_mirror);
    }
    // New keys, so that nothing takes the place of a poison record.
    let calm = Load { connections: 1, in_flight: 1, keys: 1_000_000, mix: Default::default(), ..lively() };
    let index = "calm".to_owned();
    let calm = Load { until: Until::Records(3_500), first_sequence: first, index, ..calm };
    requests.extend(accepted(&agent, calm).await.history);

    settled(&requests, || {
        let mut destination = algolia::destination(&search.journal(), &search_marks);
        destination.dead_letters = dead_letters(&agent, "search");
        destination
    })
    .await;
    settled(&requests, || {
        let mut destination = elasticsearch::destination(&mirror.journal(), &mirror_marks);
        destination.dead_letters = dead_letters(&agent, "mirror");
        destination
    })
    .await;
    settled(&requests, || support::file(&mut journal)).await;
    for name in ["search", "mirror"] {
        let mut letters: Vec<_> = agent.dead_letters();
        letters.retain(|letter| letter.destination == name);
        letters.sort_by_key(|letter| letter.operation.sequence);
        let sequences: Vec<_> = letters.iter().filter_map(|letter| letter.operation.sequence).collect();
        assert_eq!(sequences, POISON.map(|poison| first + poison), "{letters:#?}");
        assert_eq!(letters[2].reason, "poison_suspected", "{letters:#?}");
    }
    assert_eq!(search.violations(), Vec::<String>::new());
    assert_eq!(mirror.violations(), Vec::<String>::new());
}

fn dead_letters(agent: &harness::process::Agent, name: &str) -> Vec<harness::history::Applied> {
    let letters = agent.dead_letters().into_iter().filter(|letter| letter.destination == name);
    letters.map(|letter| letter.operation).collect()
}

/// Lets requests fail by the share of them that has come, and slows both down every two seconds.
async fn weather(search: Arc<FakeAlgolia>, mirror: Arc<FakeElasticsearch>, is_over: Arc<AtomicBool>) {
    use algolia_fake::Fault as OfSearch;
    use elasticsearch_fake::Fault as OfMirror;
    let status = |status| OfSearch::Refused { status, message: "overloaded".to_owned() };
    let of_search = [
        status(500),
        status(503),
        OfSearch::Throttled { retry_after: None },
        OfSearch::Cut,
        OfSearch::CutAfterApplying,
    ];
    let status =
        |status| OfMirror::Refused { status, kind: "exception".to_owned(), reason: "overloaded".to_owned() };
    let of_mirror = [
        status(500),
        status(503),
        OfMirror::Throttled { retry_after: None },
        OfMirror::Cut,
        OfMirror::CutAfterApplying,
    ];
    let (mut search_due, mut mirror_due, mut turn) = (0, 0, 0_usize);
    let mut brown_out = tokio::time::interval(Duration::from_secs(2));
    while !is_over.load(Ordering::Relaxed) {
        if search.write_count() >= search_due {
            search_due = search.write_count() + 20;
            search.fail_next(1, of_search[turn % of_search.len()].clone());
        }
        if mirror.write_count() >= mirror_due {
            mirror_due = mirror.write_count() + 20;
            mirror.fail_next(1, of_mirror[turn % of_mirror.len()].clone());
        }
        turn += 1;
        let slow = Duration::from_millis(300);
        if poll_once(brown_out.tick()).await {
            search.fail_next(8, OfSearch::Delay(slow));
            mirror.fail_next(8, OfMirror::Delay(slow));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether a future is ready now.
async fn poll_once<T>(future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(Duration::ZERO, future).await.is_ok()
}

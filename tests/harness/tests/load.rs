//! The load generator against a real gRPC server of the contract.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use harness::{
    contract::{Action, UpsertObjectsRequest, UpsertObjectsResponse},
    history::Outcome,
    load::{
        control::Control,
        options::{Choice, Mix, Options, Pace, Until},
        probes::probe,
        report::Report,
        run::run,
    },
    server::{Answer, accept_all, serve},
};
use tokio::net::TcpListener;
use tonic::Status;

async fn load(answer: Arc<Answer>, options: Options) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, answer));
    let report = run(address, options).await.unwrap();
    server.abort();
    report
}

/// Scenario: several connections and slots, several indexes, every action, few keys. Protects the history checker's
/// premises: what is recorded is what arrived, sequences rise with each operation of a key, no delete follows a delete
/// of its key, and only deletes carry no data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_what_arrives_in_the_order_of_each_key() {
    let arrived: Arc<Mutex<Vec<UpsertObjectsRequest>>> = Arc::default();
    let log = Arc::clone(&arrived);
    let answer: Arc<Answer> = Arc::new(move |request| {
        let mut log = log.lock().unwrap();
        log.push(request);
        Ok(UpsertObjectsResponse { request_id: (log.len() - 1).to_string(), message: String::new() })
    });
    let options = Options {
        until: Until::Records(6000),
        connections: 3,
        in_flight: 4,
        request_records: 5,
        indexes: 2,
        keys: 240,
        mix: Mix { save: 3, partial_update: 2, delete: 2 },
        recorded: true,
        ..Options::default()
    };
    let report = load(answer, options).await;
    assert_eq!(report.records.acknowledged, 6000);
    assert_eq!(report.history.len(), 1200);

    let arrived = arrived.lock().unwrap();
    for request in &report.history {
        let Outcome::Acknowledged { request_id } = &request.outcome else { panic!("{request:?}") };
        let seen = &arrived[request_id.parse::<usize>().unwrap()];
        assert_eq!((seen.index_name.as_str(), seen.action_type), (&*request.index, request.action as i32));
        let ids: Vec<_> = request.operations.iter().map(|sent| &sent.object_id).collect();
        assert_eq!(seen.payloads.iter().map(|payload| &payload.object_id).collect::<Vec<_>>(), ids);
        for (payload, sent) in seen.payloads.iter().zip(&request.operations) {
            assert_eq!(sequence(payload), (request.action != Action::Delete).then_some(sent.sequence));
        }
    }
    let mut last: HashMap<(&str, &str), (u64, bool)> = HashMap::new();
    let mut actions = HashSet::new();
    for request in arrived.iter() {
        let is_delete = request.action_type == Action::Delete as i32;
        actions.insert(request.action_type);
        for payload in &request.payloads {
            let (before, was_delete) = last
                .insert(
                    (&request.index_name, &payload.object_id),
                    (sequence(payload).unwrap_or(0), is_delete),
                )
                .unwrap_or((0, true));
            assert!(is_delete || sequence(payload).unwrap() > before);
            assert!(!(is_delete && was_delete), "two deletes of {} in a row", payload.object_id);
        }
    }
    assert_eq!(actions.len(), 3);
    assert_eq!(arrived.iter().map(|request| &request.index_name).collect::<HashSet<_>>().len(), 2);
}

fn sequence(payload: &harness::contract::SyncPayload) -> Option<u64> {
    let value = payload.data.as_ref()?.fields["seq"].kind.clone();
    let Some(prost_types::value::Kind::NumberValue(number)) = value else { panic!("{payload:?}") };
    Some(number as u64)
}

/// Scenario: refusals, internal errors and acceptances in turn. Protects the checker from calling a refusal lost, or
/// an unknown outcome refused.
#[tokio::test]
async fn tells_refused_from_unknown() {
    let count = Mutex::new(0);
    let answer: Arc<Answer> = Arc::new(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        match *count % 4 {
            0 => Err(Status::resource_exhausted("disk budget")),
            1 => Err(Status::internal("log poisoned")),
            2 => Err(Status::unavailable("draining")),
            _ => Ok(UpsertObjectsResponse { request_id: count.to_string(), message: String::new() }),
        }
    });
    let options = Options { until: Until::Records(40), recorded: true, ..Options::default() };
    let report = load(answer, options).await;
    assert_eq!(
        (report.requests.acknowledged, report.requests.refused, report.requests.unknown),
        (10, 10, 20)
    );
    let problems: Vec<_> = report.problems.into_iter().collect();
    let expected = ["Internal: log poisoned", "ResourceExhausted: disk budget", "Unavailable: draining"];
    assert_eq!(problems, expected.map(|problem| (problem.to_owned(), 10)));
}

/// Scenario: an open loop against a server that stands still for 300 ms. Protects every p99: requests that should have
/// been sent meanwhile count from then, although one slot could send only one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_omits_nothing() {
    let start = Instant::now();
    let first = std::sync::Once::new();
    let answer: Arc<Answer> = Arc::new(move |_| {
        first.call_once(|| std::thread::sleep(Duration::from_millis(300)));
        Ok(UpsertObjectsResponse::default())
    });
    let options = Options {
        until: Until::Elapsed(Duration::from_millis(600)),
        pace: Pace::Open { requests_per_second: 500.0 },
        ..Options::default()
    };
    let report = load(answer, options).await;
    assert_eq!(report.requests.acknowledged, 300);
    assert!(start.elapsed() >= Duration::from_millis(590));
    assert!(report.latency(0.75) >= Duration::from_millis(100), "{:?}", report.latency(0.75));
    assert!(report.latency(1.0) >= Duration::from_millis(300));
}

/// Scenario: a closed loop for a given time. It ends by itself, and its rate is that of its answers.
#[tokio::test]
async fn a_closed_loop_ends_in_time() {
    let options = Options {
        until: Until::Elapsed(Duration::from_millis(200)),
        connections: 2,
        in_flight: 2,
        ..Options::default()
    };
    let report = load(accept_all(), options).await;
    assert!(report.elapsed >= Duration::from_millis(200) && report.elapsed < Duration::from_secs(5));
    let rate = report.records.acknowledged as f64 / report.elapsed.as_secs_f64();
    assert!((report.records_per_second() - rate).abs() < 1e-6);
    assert!(report.history.is_empty());
}

/// By object: how often it came and after how many other records at the least, over requests in their order.
fn repeats(requests: &[UpsertObjectsRequest]) -> HashMap<&str, (usize, usize)> {
    let mut seen: HashMap<&str, (usize, usize, usize)> = HashMap::new();
    let records = requests.iter().flat_map(|request| &request.payloads);
    for (number, payload) in records.enumerate() {
        let (times, nearest, last) = seen.get(&*payload.object_id).copied().unwrap_or((0, usize::MAX, 0));
        let nearest = if times == 0 { nearest } else { nearest.min(number - last) };
        seen.insert(&payload.object_id, (times + 1, nearest, number));
    }
    seen.into_iter().map(|(id, (times, nearest, _))| (id, (times, nearest))).collect()
}

async fn arrived(options: Options) -> (Report, Vec<UpsertObjectsRequest>) {
    let arrived: Arc<Mutex<Vec<UpsertObjectsRequest>>> = Arc::default();
    let log = Arc::clone(&arrived);
    let answer: Arc<Answer> = Arc::new(move |request| {
        log.lock().unwrap().push(request);
        Ok(UpsertObjectsResponse::default())
    });
    let report = load(answer, options).await;
    let requests = std::mem::take(&mut *arrived.lock().unwrap());
    (report, requests)
}

/// Scenario: keys in turn, in a load and in one that goes on with it. Protects what counts operations at a destination
/// that coalesces: no key comes again while it could still be waiting.
#[tokio::test]
async fn keys_in_turn_come_again_as_late_as_possible() {
    let options = Options { request_records: 7, keys: 100, choice: Choice::InTurn, ..Options::default() };
    let first = Options { until: Until::Records(350), ..options.clone() };
    let (report, mut requests) = arrived(first).await;
    let first_sequence = report.next_sequence;
    let second = Options { until: Until::Records(350), first_sequence, ..options };
    requests.extend(arrived(second).await.1);
    let repeats = repeats(&requests);
    assert_eq!(repeats.len(), 100);
    assert!(repeats.values().all(|repeat| *repeat == (7, 100)), "{repeats:?}");
}

/// Scenario: nine tenths of the records on eight keys, with deletes. Protects the measure of coalescing, and the order
/// that the checker relies on: also within a request sequences rise, and no delete follows a delete.
#[tokio::test]
async fn hot_keys_get_their_share() {
    let options = Options {
        until: Until::Records(20_000),
        connections: 2,
        in_flight: 2,
        request_records: 10,
        keys: 100_000,
        choice: Choice::Hot { keys: 8, share: 0.9 },
        mix: Mix { save: 1, delete: 1, ..Mix::default() },
        ..Options::default()
    };
    let (_, requests) = arrived(options).await;
    let mut last: HashMap<&str, u64> = HashMap::new();
    for payload in requests.iter().flat_map(|request| &request.payloads) {
        let sequence = sequence(payload).unwrap();
        assert!(last.insert(&payload.object_id, sequence).is_none_or(|before| before < sequence));
    }
    let mut times: Vec<usize> = repeats(&requests).values().map(|(times, _)| *times).collect();
    times.sort_unstable_by_key(|times| std::cmp::Reverse(*times));
    let hot: usize = times[..8].iter().sum();
    assert!((17_500..18_500).contains(&hot), "{hot} of 20,000 records concern {:?}", &times[..9]);
    assert!(times[7] > 1_000 && times[8] < 10, "{:?}", &times[..9]);
}

/// Scenario: loads without an end, as fast as possible and at a rate that the server cannot keep up with, are stopped.
/// Both end at once, and what was acknowledged is known on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_stopped() {
    for pace in [Pace::Closed, Pace::Open { requests_per_second: 1e5 }] {
        let answer: Arc<Answer> = Arc::new(|_| {
            std::thread::sleep(Duration::from_millis(1));
            Ok(UpsertObjectsResponse::default())
        });
        let until = Until::Elapsed(Duration::from_secs(600));
        let options = Options { until, pace, request_records: 3, ..Options::default() };
        let control = options.control.clone();
        let running = tokio::spawn(load(answer, options));
        while control.acknowledged() < 30 {
            tokio::task::yield_now().await;
        }
        control.stop();
        let report = tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
        assert_eq!(report.records.acknowledged, control.acknowledged());
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

/// Scenario: probes while a server answers each after a while. Each is a record of its own, and its time is that of its
/// answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_lone_records_with_the_time_of_their_answer() {
    let arrived: Arc<Mutex<Vec<UpsertObjectsRequest>>> = Arc::default();
    let (log, control) = (Arc::clone(&arrived), Control::default());
    let last = control.clone();
    let answer: Arc<Answer> = Arc::new(move |request| {
        let mut log = log.lock().unwrap();
        log.push(request);
        if log.len() == 20 {
            last.stop();
        }
        Ok(UpsertObjectsResponse::default())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, answer));
    let start = SystemTime::now();
    let probes = probe(address, "probes".to_owned(), Duration::from_millis(2), control).await.unwrap();
    server.abort();

    let arrived = arrived.lock().unwrap();
    assert!(arrived.len() >= 20 && arrived.len() == probes.len());
    let ids: HashSet<_> = arrived.iter().map(|request| &request.payloads[0].object_id).collect();
    assert_eq!(ids.len(), arrived.len());
    assert!(arrived.iter().all(|request| request.index_name == "probes" && request.payloads.len() == 1));
    assert!(probes.iter().all(|probe| matches!(probe.outcome, Outcome::Acknowledged { .. })));
    let apart = probes[19].at.duration_since(start).unwrap();
    assert!(probes.is_sorted_by_key(|probe| probe.at) && apart >= Duration::from_millis(38), "{apart:?}");
}

//! `send` against a server of the contract on a real socket, whose answers each test scripts.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::Mutex,
    time::Duration,
};

use prost::Message as _;
use tokio::{net::TcpListener, task::yield_now};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::{
    sender::{Refusal, SendError},
    *,
};
use crate::contract::{
    client::UpsertObjectsRequest,
    server::{
        UpsertObjectsResponse,
        sync_service_server::{SyncService, SyncServiceServer},
    },
};

type Answer = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// Answers as a function says.
struct Scripted<F>(F);

#[tonic::async_trait]
impl<F: Fn(UpsertObjectsRequest) -> Answer + Send + Sync + 'static> SyncService for Scripted<F> {
    async fn upsert_objects(
        &self,
        request: Request<prost::bytes::Bytes>,
    ) -> Result<Response<UpsertObjectsResponse>, Status> {
        let request = UpsertObjectsRequest::decode(request.into_inner());
        (self.0)(request.map_err(|error| Status::internal(error.to_string()))?).await?;
        Ok(Response::new(UpsertObjectsResponse::default()))
    }
}

/// Serves until the test ends; returns the address.
async fn serve(script: impl Fn(UpsertObjectsRequest) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::builder().add_service(SyncServiceServer::new(Scripted(script)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// A server that answers at once, and what it was asked.
async fn serve_now(
    script: impl Fn(&UpsertObjectsRequest, usize) -> Result<(), Status> + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<UpsertObjectsRequest>>>) {
    let seen: Arc<Mutex<Vec<UpsertObjectsRequest>>> = Arc::default();
    let log = seen.clone();
    let address = serve(move |request| {
        let mut log = log.lock().unwrap();
        let answer = script(&request, log.len());
        log.push(request);
        Box::pin(std::future::ready(answer))
    })
    .await;
    (address, seen)
}

fn options(target: &str) -> Options {
    Options::new(target.to_owned(), "products".to_owned(), ActionType::SaveObject)
}

fn saves(ids: impl Iterator<Item = String>) -> Vec<Record> {
    let record = |(at, object_id)| Record {
        line: at as u64 + 1,
        bytes: 10,
        object_id,
        data: Some(Default::default()),
    };
    ids.enumerate().map(record).collect()
}

/// Sends, and returns what was accepted, refused, and sent again.
async fn sent(records: Vec<Record>, options: Options) -> (Result<(), SendError>, usize, Vec<Refusal>, usize) {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let log = events.clone();
    let result =
        send(tokio_stream::iter(records), options, move |event| log.lock().unwrap().push(event)).await;
    let (mut accepted, mut refused, mut waited) = (0, Vec::new(), 0);
    for event in events.lock().unwrap().drain(..) {
        match event {
            Event::Accepted { records, .. } => accepted += records,
            Event::Refused(refusal) => refused.push(refusal),
            Event::Waiting { .. } => waited += 1,
        }
    }
    refused.sort_by_key(|refusal| refusal.line);
    (result, accepted, refused, waited)
}

fn retry_after(delay: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(delay));
    Status::with_error_details(Code::ResourceExhausted, "full", details)
}

fn invalid(fields: Vec<FieldViolation>) -> Status {
    Status::with_error_details(Code::InvalidArgument, "invalid", ErrorDetails::with_bad_request(fields))
}

/// G4 begins at the producer: thousands of records of a few objects, answered in any order and often only at the
/// second attempt; an object is never in two requests at once, and its records are accepted in the order of the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_an_object_stay_in_order() {
    #[derive(Default)]
    struct Seen {
        in_flight: HashSet<String>,
        overlaps: Vec<String>,
        requests_in_flight: usize,
        requests_in_flight_max: usize,
        requests: usize,
        accepted: HashMap<String, Vec<u64>>,
    }
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let log = seen.clone();
    let address = serve(move |request| {
        let log = log.clone();
        Box::pin(async move {
            let ids: HashSet<String> = request.payloads.iter().map(|p| p.object_id.clone()).collect();
            let attempt = {
                let mut seen = log.lock().unwrap();
                for id in &ids {
                    if !seen.in_flight.insert(id.clone()) {
                        seen.overlaps.push(id.clone());
                    }
                }
                seen.requests_in_flight += 1;
                seen.requests_in_flight_max = seen.requests_in_flight_max.max(seen.requests_in_flight);
                seen.requests += 1;
                seen.requests
            };
            for _ in 0..attempt % 7 * 20 {
                yield_now().await;
            }
            let mut seen = log.lock().unwrap();
            seen.in_flight.retain(|id| !ids.contains(id));
            seen.requests_in_flight -= 1;
            if attempt.is_multiple_of(5) {
                return Err(retry_after(Duration::from_millis(1)));
            }
            for payload in request.payloads {
                let data = payload.data.expect("a save has data");
                seen.accepted.entry(payload.object_id).or_default().push(number_of(&data));
            }
            Ok(())
        })
    })
    .await;

    let records: Vec<Record> = (0..3_000_u64)
        .map(|number| {
            let value =
                prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(number as f64)) };
            let data = prost_types::Struct { fields: [("n".to_owned(), value)].into() };
            Record { line: number + 1, bytes: 30, object_id: format!("{}", number % 37), data: Some(data) }
        })
        .collect();
    let (result, accepted, refused, _) = sent(records, options(&address)).await;
    result.unwrap();
    assert_eq!((accepted, refused.len()), (3_000, 0));
    let seen = seen.lock().unwrap();
    assert!(seen.requests_in_flight_max > 1, "several requests were in flight");
    assert!(seen.overlaps.is_empty(), "in two requests at once: {:?}", seen.overlaps);
    for (id, numbers) in &seen.accepted {
        assert!(numbers.is_sorted(), "{id}: {numbers:?}");
    }
}

fn number_of(data: &prost_types::Struct) -> u64 {
    match data.fields["n"].kind {
        Some(prost_types::value::Kind::NumberValue(number)) => number as u64,
        _ => panic!("not a number"),
    }
}

/// G1: whatever is sent again carries the key of the first attempt, and every request has a key of its own.
#[tokio::test]
async fn an_unknown_outcome_is_sent_again_with_the_same_key() {
    let (address, seen) = serve_now(|_, before| match before {
        0 => Err(Status::unavailable("restarting")),
        1 => Err(retry_after(Duration::from_millis(1))),
        2 => Err(Status::deadline_exceeded("slow")),
        _ => Ok(()),
    })
    .await;
    let options = Options { requests_max: 1, ..options(&address) };
    let (result, accepted, _, waited) = sent(saves((0..150).map(|id| id.to_string())), options).await;
    result.unwrap();
    assert_eq!((accepted, waited), (150, 3));
    let seen = seen.lock().unwrap();
    let keys: Vec<&str> = seen.iter().map(|request| request.idempotency_key.as_str()).collect();
    assert_eq!(keys.len(), 5);
    assert!(keys[..4].iter().all(|key| *key == keys[0] && !key.is_empty()), "{keys:?}");
    assert_ne!(keys[4], keys[0]);
    assert!(seen[..4].iter().all(|request| request.payloads == seen[0].payloads));
}

/// The agent is killed with requests in flight and comes back at the same address: nobody notices but the retries.
#[test]
fn a_restarted_agent_gets_the_rest() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (told_tx, told_rx) = std::sync::mpsc::channel();
    let first = runtime();
    // The first agent takes 5 requests and then hangs with the others.
    let taken = std::sync::atomic::AtomicUsize::new(0);
    let address = first.block_on(serve(move |_| {
        let number = taken.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let _ = told_tx.send(number);
        Box::pin(async move { if number < 5 { Ok(()) } else { std::future::pending().await } })
    }));
    let client = runtime();
    let sending = client.spawn(sent(saves((0..2_000).map(|id| id.to_string())), options(&address)));
    while told_rx.recv().unwrap() < 10 {}
    first.shutdown_timeout(Duration::from_secs(10));

    let second = runtime();
    let listener = second.block_on(TcpListener::bind(&address)).unwrap();
    let server = Server::builder()
        .add_service(SyncServiceServer::new(Scripted(|_| Box::pin(std::future::ready(Ok(()))) as Answer)));
    second.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let (result, accepted, refused, waited) = client.block_on(sending).unwrap();
    result.unwrap();
    assert_eq!((accepted, refused.len()), (2_000, 0));
    assert!(waited > 0, "requests were in flight when the first agent died");
}

/// A RetryInfo is waited for, not just noticed.
#[tokio::test]
async fn the_delay_that_the_agent_asks_for_is_kept() {
    let delay = Duration::from_millis(300);
    let (address, _) =
        serve_now(move |_, before| if before == 0 { Err(retry_after(delay)) } else { Ok(()) }).await;
    let started = Instant::now();
    sent(saves(["1".to_owned()].into_iter()), options(&address)).await.0.unwrap();
    assert!(started.elapsed() >= delay);
}

/// Two of many lines are refused by the server, which names only one of them at a time: both are told by their
/// numbers, and everything else is accepted, as new requests with new keys.
#[tokio::test]
async fn refused_lines_are_told_and_the_others_go_on() {
    let (address, seen) = serve_now(|request, _| {
        let is_bad = |payload: &&crate::contract::client::SyncPayload| payload.object_id.starts_with("bad");
        match request.payloads.iter().filter(is_bad).count() {
            0 => Ok(()),
            count => {
                let at = request.payloads.iter().position(|payload| is_bad(&payload)).unwrap();
                let mut fields = vec![FieldViolation::new(format!("payloads[{at}].data.x"), "is not finite")];
                if count > 1 {
                    fields.push(FieldViolation::new("", format!("and {} more violations", count - 1)));
                }
                Err(invalid(fields))
            }
        }
    })
    .await;
    let id = |at| if at == 3 || at == 70 { format!("bad{at}") } else { format!("{at}") };
    let options = Options { requests_max: 1, ..options(&address) };
    let (result, accepted, refused, _) = sent(saves((0..80).map(id)), options).await;
    result.unwrap();
    assert_eq!(accepted, 78);
    let told: Vec<_> = refused.iter().map(|r| (r.line, r.object_id.as_deref(), r.reason.as_str())).collect();
    let reason = "data.x is not finite";
    assert_eq!(told, [(4, Some("bad3"), reason), (71, Some("bad70"), reason)]);
    let seen = seen.lock().unwrap();
    let keys: HashSet<&str> = seen.iter().map(|request| request.idempotency_key.as_str()).collect();
    assert_eq!((seen.len(), keys.len()), (3, 3), "another request has another key");
    let order: Vec<usize> =
        seen[2].payloads.iter().map(|payload| payload.object_id.parse().unwrap()).collect();
    assert!(order.is_sorted());
}

/// A request over the agent's limit is halved until it fits; a record that alone is too large is refused.
#[tokio::test]
async fn requests_that_are_too_large_are_halved_in_order() {
    let (address, seen) = serve_now(|request, _| {
        let large = request.payloads.iter().any(|payload| payload.object_id == "40");
        match request.payloads.len() {
            1 if large => Err(Status::out_of_range("message too large")),
            length if length > 30 || large => Err(Status::resource_exhausted("too many records")),
            _ => Ok(()),
        }
    })
    .await;
    let options = Options { requests_max: 1, ..options(&address) };
    let (result, accepted, refused, _) = sent(saves((0..100).map(|id| id.to_string())), options).await;
    result.unwrap();
    assert_eq!((accepted, refused.len()), (99, 1));
    assert_eq!((refused[0].line, refused[0].reason.as_str()), (41, "message too large"));
    let fits = |request: &&UpsertObjectsRequest| {
        request.payloads.len() <= 30 && request.payloads.iter().all(|payload| payload.object_id != "40")
    };
    let seen = seen.lock().unwrap();
    let ids = seen.iter().filter(fits).flat_map(|request| &request.payloads);
    let order: Vec<usize> = ids.map(|payload| payload.object_id.parse().unwrap()).collect();
    assert!(order.len() == 99 && order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn an_agent_that_accepts_nothing_is_given_up() {
    let (address, seen) = serve_now(|_, _| Err(Status::unavailable("draining"))).await;
    let options = Options { patience: Duration::from_millis(150), ..options(&address) };
    let (result, accepted, _, _) = sent(saves(["1".to_owned()].into_iter()), options).await;
    assert!(matches!(result, Err(SendError::GaveUp { reason, .. }) if reason == "draining"));
    assert!(accepted == 0 && !seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_index_that_the_agent_refuses_ends_everything() {
    let (address, seen) =
        serve_now(|_, _| Err(invalid(vec![FieldViolation::new("index_name", "is empty")]))).await;
    let options = Options { requests_max: 1, ..options(&address) };
    let (result, ..) = sent(saves((0..5_000).map(|id| id.to_string())), options).await;
    assert!(matches!(result, Err(SendError::Refused { .. })));
    assert_eq!(seen.lock().unwrap().len(), 1, "nothing else was tried");
}

#[tokio::test]
async fn nobody_at_the_target_is_told_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let options = |target: &str| Options { connect_within: Duration::from_millis(150), ..options(target) };
    let error = sent(Vec::new(), options(&address)).await.0.unwrap_err();
    assert!(
        matches!(&error, SendError::Unreachable { .. }) && error.to_string().contains("refused"),
        "{error}"
    );
    for target in ["nowhere", "https://127.0.0.1:1", "http://", "a b:1"] {
        assert!(
            matches!(sent(Vec::new(), options(target)).await.0, Err(SendError::Target { .. })),
            "{target}"
        );
    }
}

/// Whoever types sees a line arrive, although its request is not full and the input goes on.
#[tokio::test]
async fn a_line_is_sent_while_the_input_stays_open() {
    let (address, seen) = serve_now(|_, _| Ok(())).await;
    let (tx, rx) = mpsc::channel(1);
    let (accepted_tx, mut accepted_rx) = mpsc::unbounded_channel();
    let sending = tokio::spawn(send(ReceiverStream::new(rx), options(&address), move |event| {
        let _ = accepted_tx.send(event);
    }));
    for record in saves(["1".to_owned(), "2".to_owned()].into_iter()) {
        tx.send(record).await.unwrap();
        let event = tokio::time::timeout(Duration::from_secs(10), accepted_rx.recv()).await.unwrap();
        assert!(matches!(event, Some(Event::Accepted { records: 1, .. })));
    }
    drop(tx);
    sending.await.unwrap().unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);
}

/// The command itself: file in, requests out, exit code and counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_sends_a_file() {
    let (address, seen) = serve_now(|_, _| Ok(())).await;
    let folder = tempfile::tempdir().unwrap();
    let run_with = async |action, content: &str| {
        let file = folder.path().join("lines.ndjson");
        std::fs::write(&file, content).unwrap();
        let (index, target, tls) = ("products".to_owned(), address.clone(), connect::Files::default());
        let arguments = Arguments { index, action, target, tls, json: true, file };
        run(&arguments).await.unwrap()
    };
    let code =
        run_with(Action::PartialNoCreate, "{\"objectID\":\"1\",\"a\":1}\n{\"objectID\":\"2\"}\n").await;
    assert_eq!(code, ExitCode::SUCCESS);
    let code = run_with(Action::Delete, "{\"objectID\":\"1\"}\nnonsense\n").await;
    assert_eq!(code, ExitCode::from(SOME_REFUSED));

    let seen = seen.lock().unwrap();
    let (deletes, partials): (Vec<_>, Vec<_>) =
        seen.iter().partition(|request| request.action_type == ActionType::DeleteObject as i32);
    assert_eq!(deletes.len(), 1);
    assert!(deletes[0].payloads.len() == 1 && deletes[0].payloads[0].data.is_none());
    assert_eq!(partials.iter().map(|request| request.payloads.len()).sum::<usize>(), 2);
    assert!(partials.iter().all(|request| {
        request.action_type == ActionType::PartialUpdateObjectNoCreate as i32
            && request.index_name == "products"
    }));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_a_usage_error() {
    for file in ["/nowhere.ndjson", "/"] {
        let arguments = Arguments {
            index: "products".to_owned(),
            action: Action::Save,
            target: "127.0.0.1:1".to_owned(),
            tls: connect::Files::default(),
            json: false,
            file: file.into(),
        };
        assert_eq!(run(&arguments).await.unwrap(), ExitCode::from(USAGE), "{file}");
    }
}

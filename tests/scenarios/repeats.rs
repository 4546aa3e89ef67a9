//! Producers repeat what they have sent, with the same idempotency keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::{history::Event, ndjson::Journal};
use sync_agent::contract::client::{
    ActionType, SyncPayload, UpsertObjectsRequest, sync_service_client::SyncServiceClient,
};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use crate::support::{DEADLINE, eventually, setup};

type Client = SyncServiceClient<Channel>;

/// Answers by key: the request id, or `None` where the connection was cut.
type Answers = BTreeMap<String, Option<String>>;

/// Requests of one connection are in flight one by one.
const CONNECTIONS: usize = 4;

async fn connect(address: SocketAddr) -> Client {
    SyncServiceClient::connect(format!("http://{address}")).await.unwrap()
}

/// One object of its own for each key; it names the action, since data plays no part here.
fn request(key: &str, action: ActionType) -> UpsertObjectsRequest {
    UpsertObjectsRequest {
        index_name: "products".into(),
        action_type: action.into(),
        payloads: vec![SyncPayload { object_id: key.into(), data: Some(prost_types::Struct::default()) }],
        idempotency_key: key.into(),
    }
}

async fn send(client: &mut Client, key: &str) -> Result<String, Status> {
    let answer = client.upsert_objects(request(key, ActionType::SaveObject)).await?;
    Ok(answer.into_inner().request_id)
}

/// Sends requests with ever new keys until the agent is gone.
async fn send_until_cut(address: SocketAddr, connection: usize, sent: Arc<AtomicUsize>) -> Answers {
    let mut client = connect(address).await;
    let mut answers = Answers::new();
    loop {
        let key = format!("{connection}-{}", answers.len());
        let answer = send(&mut client, &key).await.ok();
        sent.fetch_add(1, Ordering::Relaxed);
        if answers.entry(key).or_insert(answer).is_none() {
            return answers;
        }
    }
}

/// Scenario: SIGKILL under load, with segments that roll; after the restart every request is repeated, also those whose
/// answers were cut off, and once more.
///
/// Protects G1: what was acknowledged gets the same request id, its key with other content is refused, and the file
/// destination shows every object once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_after_a_kill_are_recognised() {
    let mut agent = setup().file("archive").data("segment_bytes = 65536").start().await.unwrap();
    let mut journal = Journal::new(agent.output("archive"));
    let sent = Arc::new(AtomicUsize::new(0));
    let (address, mut load) = (agent.address(), JoinSet::new());
    (0..CONNECTIONS).for_each(|number| _ = load.spawn(send_until_cut(address, number, sent.clone())));
    eventually("several segments are written", || std::future::ready(sent.load(Ordering::Relaxed) > 800))
        .await;
    agent.kill();
    let answers: Answers = load.join_all().await.into_iter().flatten().collect();
    assert!(answers.values().any(Option::is_none), "no answer was cut off");
    journal.restarted().unwrap();
    agent.restart().await.unwrap();

    let mut client = connect(agent.address()).await;
    for (key, before) in &answers {
        let after = send(&mut client, key).await.unwrap();
        assert!(before.as_ref().is_none_or(|before| *before == after), "{key}: {before:?}, then {after}");
        assert_eq!(send(&mut client, key).await.unwrap(), after, "{key}");
    }
    let key = answers.keys().next().unwrap();
    let other = request(key, ActionType::PartialUpdateObject);
    assert_eq!(client.upsert_objects(other).await.unwrap_err().code(), Code::AlreadyExists);

    let delivered = |journal: &Journal| {
        let mut delivered = BTreeMap::<String, BTreeSet<_>>::new();
        for event in journal.destination().events {
            let Event::Batch { operations, .. } = event else { continue };
            for operation in operations {
                delivered.entry(operation.object_id).or_default().insert(operation.identity);
            }
        }
        delivered
    };
    eventually("every object is delivered", || {
        journal.read().unwrap();
        std::future::ready(delivered(&journal).len() == answers.len())
    })
    .await;
    assert!(agent.terminate(DEADLINE).await.unwrap().success());
    journal.read().unwrap();
    let twice: Vec<_> = delivered(&journal).into_iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "accepted more than once: {twice:?}");
}

/// Scenario: producers repeat an acknowledged request as fast as they can while the agent is asked to end.
///
/// Protects G2: each answer is the same OK until the connection ends; none is refused because the agent is draining.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_while_draining_are_answered() {
    let mut agent = setup().file("archive").start().await.unwrap();
    let mut client = connect(agent.address()).await;
    let first = send(&mut client, "key").await.unwrap();
    let (repeats, mut producers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..8 {
        let (mut client, first, repeats) = (connect(agent.address()).await, first.clone(), repeats.clone());
        producers.spawn(async move {
            loop {
                match send(&mut client, "key").await {
                    Ok(id) => assert_eq!(id, first),
                    Err(status) => return status,
                }
                repeats.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    eventually("repeats are answered", || std::future::ready(repeats.load(Ordering::Relaxed) > 100)).await;
    let status = agent.terminate(Duration::from_secs(20)).await.unwrap();
    assert!(status.success(), "{status}\n{}", agent.stderr());
    for status in producers.join_all().await {
        assert!(!status.message().contains("shutting down"), "{status}");
    }
}

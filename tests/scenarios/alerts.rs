//! What an operator is told, and how often.

use fakes::elasticsearch::IndexState;
use serde_json::json;
use sync_agent::contract::client::{
    ActionType, SyncPayload, UpsertObjectsRequest, sync_service_client::SyncServiceClient,
};

use crate::support::{eventually, fake_elasticsearch, setup};

const REFUSED: &str = "destination refuses an index";
const FOREIGN: &str = "somebody else writes this index with versions of their own";

/// Scenario: two indexes are closed at Elasticsearch, and two hold an object with a version that no agent gave; records
/// for all four come again and again. One of the closed ones is opened, written and closed again.
///
/// Protects G3's alerts: an operator is told once of each index, however many records and requests meet it, and of a
/// refusal again once the index had been written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_index_is_told_of_once() {
    let fake = fake_elasticsearch().await;
    let agent = setup().elasticsearch("mirror", &fake.url()).config("batch = { linger = \"1ms\" }").start();
    let agent = agent.await.unwrap();
    for index in ["closed-a", "closed-b"] {
        fake.set_index(index, IndexState::Closed);
    }
    for index in ["foreign-a", "foreign-b"] {
        fake.put(index, "1", i64::MAX - 1, &json!({}));
    }
    let mut client = SyncServiceClient::connect(format!("http://{}", agent.address())).await.unwrap();
    let mut send = async |index: &str| {
        let payload = SyncPayload { object_id: "1".into(), data: Some(prost_types::Struct::default()) };
        let request = UpsertObjectsRequest {
            index_name: index.into(),
            action_type: ActionType::SaveObject.into(),
            payloads: vec![payload],
            idempotency_key: String::new(),
        };
        client.upsert_objects(request).await.unwrap();
    };
    let letters = async |count: usize| {
        eventually("they are dead-lettered", async || agent.dead_letters().len() == count).await;
    };
    let told = |words: &str, index: &str| {
        let field = format!("index={index}");
        agent.stderr().lines().filter(|line| line.contains(words) && line.contains(&field)).count()
    };

    for round in 1..=3 {
        for index in ["closed-a", "foreign-a", "closed-b", "foreign-b"] {
            send(index).await;
        }
        letters(4 * round).await;
    }
    for (words, index) in
        [(REFUSED, "closed-a"), (REFUSED, "closed-b"), (FOREIGN, "foreign-a"), (FOREIGN, "foreign-b")]
    {
        assert_eq!(told(words, index), 1, "{words}: {index}\n{}", agent.stderr());
    }

    fake.open_indexes();
    send("closed-a").await;
    eventually("it is written", async || fake.operation_count() == 1).await;
    fake.set_index("closed-a", IndexState::Closed);
    send("closed-a").await;
    letters(13).await;
    assert_eq!((told(REFUSED, "closed-a"), told(REFUSED, "closed-b")), (2, 1), "{}", agent.stderr());
}

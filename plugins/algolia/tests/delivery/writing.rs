//! What is sent, and what an accepted batch comes to.

use fakes::algolia::{Action as Applied, Options, Publish};
use plugin_api::{
    destination::Destination,
    operation::Action,
    verdict::{Reason, ReasonCode, Scope, Verdict, WriteError},
};
use plugin_http::secret::Secret;
use serde_json::json;

use crate::setup::{batch, operation, save, saves, start, start_with};

/// G3, G4: the operations of a batch are applied in its order, each with its own meaning, in one request.
#[tokio::test]
async fn a_batch_is_applied_in_its_order() {
    let (fake, algolia) = start().await;
    let written = algolia
        .write(&batch([
            save("products", "a", r#"{"name":"A","price":1}"#),
            operation(Action::PartialUpdate, "products", "a", r#"{"price":2}"#),
            operation(Action::PartialUpdate, "products", "b", r#"{"price":3}"#),
            operation(Action::PartialUpdateNoCreate, "products", "c", r#"{"price":4}"#),
            save("products", "d", "{}"),
            operation(Action::Delete, "products", "d", ""),
        ]))
        .await
        .unwrap();

    assert_eq!(written.verdicts, vec![Verdict::Written; 6]);
    let objects = fake.objects("products");
    assert_eq!(objects.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(objects["a"], json!({ "objectID": "a", "name": "A", "price": 2 }));
    let actions: Vec<_> = fake.journal().iter().map(|applied| applied.action).collect();
    assert_eq!(
        actions,
        [
            Applied::UpdateObject,
            Applied::PartialUpdateObject,
            Applied::PartialUpdateObject,
            Applied::PartialUpdateObjectNoCreate,
            Applied::UpdateObject,
            Applied::DeleteObject,
        ]
    );
    assert_eq!(fake.request_count(), 1);
    assert_eq!(fake.violations(), [""; 0]);
}

/// Whatever a transform or a producer names an object or writes into it arrives unchanged.
#[tokio::test]
async fn ids_and_bodies_arrive_unchanged() {
    let (fake, algolia) = start().await;
    let ids = ["\"", "\\", "a\nb", "ünï ☃ 😀", "a/b?c#d", "{}", "\u{1}"];
    let body = " \n{ \"text\" : \"\\u00e9 \\\"}{\\\" ☃\", \"nested\" : { \"objectID\" : 1 } } ";
    let operations = ids.into_iter().flat_map(|id| [save("i", id, " { } "), save("i", id, body)]);
    algolia.write(&operations.collect()).await.unwrap();

    let objects = fake.objects("i");
    assert_eq!(objects.len(), ids.len());
    for id in ids {
        assert_eq!(objects[id], json!({ "objectID": id, "text": "é \"}{\" ☃", "nested": { "objectID": 1 } }));
    }
    assert_eq!(fake.violations(), [""; 0]);
}

/// The batch of several indexes names each operation's index and confirms each index once.
#[tokio::test]
async fn several_indexes_go_in_one_request() {
    let (fake, algolia) = start().await;
    let operations = [save("b", "1", "{}"), save("a/\"", "1", "{}"), save("b", "2", r#"{"n":1}"#)];
    let written = algolia.write(&batch(operations)).await.unwrap();

    assert_eq!(written.verdicts, vec![Verdict::Written; 3]);
    let indexes: Vec<_> = written.confirmations.iter().map(|confirmation| &*confirmation.index).collect();
    assert_eq!(indexes, ["b", "a/\""]);
    assert_eq!(fake.seen()[0].path, "/1/indexes/*/batch");
    assert_eq!((fake.objects("b").len(), fake.objects("a/\"").len()), (2, 1));
    for confirmation in &written.confirmations {
        assert_eq!(algolia.confirmed(confirmation).await, Ok(true));
    }
    assert_eq!(fake.violations(), [""; 0]);
}

/// G3: an index's name is one segment of the path, so that no name reaches another route with the key.
#[tokio::test]
async fn an_index_name_is_one_segment() {
    let (fake, algolia) = start().await;
    for index in
        ["x/clear", "../keys", "a/../../b", "what?", "#1", "50%", "%2e%2e", "a b+c", "ünï☃", ".hidden", "**"]
    {
        let written = algolia.write(&batch([save(index, "1", "{}")])).await.unwrap();
        assert!(fake.objects(index).contains_key("1"), "{index}");
        let path = fake.seen().last().unwrap().path.clone();
        assert_eq!(path.matches('/').count(), 4, "{path}");
        assert_eq!(algolia.confirmed(&written.confirmations[0]).await, Ok(true), "{index}");
    }
    assert_eq!(fake.violations(), [""; 0]);
}

/// Names that do lead elsewhere never leave, even if nobody asked `admit`.
#[tokio::test]
async fn names_that_lead_elsewhere_are_not_sent() {
    let (fake, algolia) = start().await;
    for index in ["", ".", "..", "*", "a\nb"] {
        let error = algolia.write(&batch([save(index, "1", "{}")])).await.unwrap_err();
        let WriteError::Misconfigured { scope, reason } = error else { panic!("{error:?}") };
        assert_eq!((scope, reason.code), (Scope::Index(index.into()), ReasonCode::IndexRefused));
    }
    assert_eq!(fake.request_count(), 0);
}

/// An empty batch costs nothing.
#[tokio::test]
async fn an_empty_batch_is_not_sent() {
    let (fake, algolia) = start().await;
    assert!(algolia.write(&batch([])).await.unwrap().verdicts.is_empty());
    assert_eq!(fake.request_count(), 0);
}

/// gzip changes the wire and nothing else, for small and for large bodies.
#[tokio::test]
async fn bodies_are_compressed_where_wanted() {
    for gzip in [false, true] {
        let (fake, algolia) = start_with(Options::default(), |settings| settings.gzip = gzip).await;
        for count in [1, 5000] {
            let written = algolia.write(&saves("i", count)).await.unwrap();
            assert_eq!(written.verdicts.len(), count);
        }
        assert_eq!(fake.objects("i").len(), 5000);
        assert!(fake.seen().iter().all(|seen| seen.gzip == gzip));
    }
}

/// A write is visible once its task is published, and not before.
#[tokio::test]
async fn a_task_confirms_a_write() {
    let options = Options { publish: Publish::AfterPolls(3), ..Options::default() };
    let (_fake, algolia) = start_with(options, |_| {}).await;
    let first = algolia.write(&saves("i", 1)).await.unwrap().confirmations.remove(0);
    let second = algolia.write(&saves("i", 1)).await.unwrap().confirmations.remove(0);
    assert_eq!(algolia.confirmed(&first).await, Ok(false));
    assert_eq!(algolia.confirmed(&second).await, Ok(false));
    assert_eq!(algolia.confirmed(&second).await, Ok(false));
    assert_eq!(algolia.confirmed(&second).await, Ok(true));
    assert_eq!(algolia.confirmed(&first).await, Ok(true), "tasks of an index are published in order");
}

/// G10: a key that was reloaded is used from the next request on; wrong ones are never shown.
#[tokio::test]
async fn a_replaced_key_is_used_at_once() {
    let api_key = Secret::new("hunter1");
    let (fake, algolia) = start_with(Options::default(), |settings| settings.api_key = api_key.clone()).await;
    fake.set_api_key("hunter2");
    let refused = algolia.write(&saves("i", 1)).await.unwrap_err();
    assert!(matches!(refused, WriteError::Misconfigured { scope: Scope::Destination, .. }), "{refused:?}");
    assert_eq!(algolia.probe().await, Err(refused));

    api_key.replace("hunter2");
    assert_eq!(algolia.probe().await, Ok(()));
    assert!(algolia.write(&saves("i", 1)).await.is_ok());

    api_key.replace("hunter3\n");
    let Err(WriteError::Misconfigured { scope: Scope::Destination, reason: Reason { message, .. } }) =
        algolia.write(&saves("i", 1)).await
    else {
        panic!("a key that no header carries was sent")
    };
    assert!(!message.contains("hunter"), "{message}");
    assert!(!format!("{algolia:?}").contains("hunter"));
}

/// A probe changes nothing and needs no more than the right to write.
#[tokio::test]
async fn a_probe_changes_nothing() {
    let (fake, algolia) = start().await;
    assert_eq!(algolia.probe().await, Ok(()));
    fake.restrict_key(Some(&["other"]));
    assert_eq!(algolia.probe().await, Ok(()), "a key for some indexes is a valid key");
    assert_eq!((fake.write_count(), fake.operation_count()), (0, 0));
    assert!(fake.seen().iter().all(|seen| seen.user_agent.starts_with("sync-agent/")));
}

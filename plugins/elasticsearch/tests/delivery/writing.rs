//! What is sent, and what an accepted batch comes to.

use fakes::elasticsearch::{Action as Applied, Auth as FakeAuth, Options, Product};
use plugin_api::{
    destination::Destination,
    identity::Version,
    operation::Action::{Delete, PartialUpdate, PartialUpdateNoCreate, Save},
    verdict::{Confirmation, Reason, ReasonCode, Scope, Verdict, WriteError},
};
use plugin_elasticsearch::Auth;
use plugin_http::secret::Secret;
use serde_json::json;

use crate::setup::{batch, operation, saves, start, start_with, write};

/// G3, G4: the operations of a batch are applied in its order, each with its own meaning.
#[tokio::test]
async fn a_batch_is_applied_in_its_order() {
    let (fake, elasticsearch) = start().await;
    let batch = batch(&[
        (Save, "a", r#"{"name":"A","price":1}"#),
        (PartialUpdate, "a", r#"{"price":2}"#),
        (PartialUpdateNoCreate, "c", r#"{"price":4}"#),
        (Save, "d", "{}"),
        (Delete, "d", ""),
        (Delete, "e", ""),
    ]);
    assert_eq!(write(&elasticsearch, &batch).await, vec![Verdict::Written; 6]);
    assert_eq!(json!(fake.objects("i")), json!({ "a": { "name": "A", "price": 2 } }));
    let actions: Vec<_> = fake.journal().iter().map(|applied| applied.action).collect();
    assert_eq!(actions, [Applied::Index, Applied::Update, Applied::Index, Applied::Delete, Applied::Delete]);
    assert_eq!((fake.request_count(), fake.violations()), (1, vec![]));
}

/// The wire format, byte for byte: an operation a line or two, versions, the constant script, a newline at the end.
#[tokio::test]
async fn the_request_is_as_documented() {
    let (fake, elasticsearch) = start().await;
    let batch = batch(&[
        (Save, "a\"", " {\n \"x\" : 1.50 } "),
        (PartialUpdateNoCreate, "a\"", r#"{"y":2}"#),
        (Delete, "b", ""),
    ]);
    write(&elasticsearch, &batch).await;
    let seen = &fake.seen()[0];
    let filter = "errors,items.*._id,items.*.status,items.*.result,items.*.error.type,items.*.error.reason,\
                  items.*.failure_store,items.update._version";
    assert_eq!(seen.path, format!("/_bulk?timeout=6666ms&filter_path={filter}"));
    assert!(seen.user_agent.starts_with("sync-agent/"), "{seen:?}");
    let expected = concat!(
        r#"{"index":{"_index":"i","_id":"a\"","version":1024000,"version_type":"external_gte"}}"#,
        "\n{  \"x\" : 1.50 }\n",
        r#"{"update":{"_index":"i","_id":"a\"","retry_on_conflict":3}}"#,
        "\n",
        r#"{"script":{"lang":"painless","source":"if (ctx._version >= params.next) { ctx.op = 'none' } "#,
        r#"else { ctx._source.putAll(params.d) }","params":{"next":1025056,"d":{"y":2}}}}"#,
        "\n",
        r#"{"delete":{"_index":"i","_id":"b","version":1026048,"version_type":"external_gte"}}"#,
        "\n",
    );
    assert_eq!(std::str::from_utf8(&seen.body).unwrap(), expected);
}

/// Whatever a transform or a producer names an object or writes into it arrives unchanged.
#[tokio::test]
async fn ids_and_bodies_arrive_unchanged() {
    let (fake, elasticsearch) = start().await;
    let ids = ["\"", "\\", "a\nb", "ünï ☃ 😀", "a/b?c#d", "{}", "\u{1}", "current version [1]"];
    let body = " \r\n{ \"text\" : \"\\u00e9 \\n\\\"}{\\\" ☃\",\n\"nested\" : { \"objectID\" : 1 } } ";
    for action in [Save, PartialUpdate] {
        let operations: Vec<_> = ids.iter().map(|id| (action, *id, body)).collect();
        assert_eq!(write(&elasticsearch, &batch(&operations)).await, vec![Verdict::Written; ids.len()]);
        let objects = fake.objects("i");
        assert_eq!(objects.len(), ids.len());
        for id in ids {
            assert_eq!(objects[id], json!({ "text": "é \n\"}{\" ☃", "nested": { "objectID": 1 } }));
        }
    }
    assert_eq!(fake.violations(), [""; 0]);
}

/// Several indexes go in one request, and each that was written is confirmed by one refresh, asked for only then.
#[tokio::test]
async fn a_refresh_confirms_an_index() {
    let (fake, elasticsearch) = start().await;
    let save = |index, id| operation(Save, index, id, "{}", Version(1));
    let batch = [save("b", "1"), save("a.1", "1"), save("b", "2")].into_iter().collect();
    let written = elasticsearch.write(&batch).await.unwrap();
    let indexes: Vec<_> = written.confirmations.iter().map(|confirmation| &*confirmation.index).collect();
    assert_eq!(indexes, ["b", "a.1"]);
    assert_eq!((fake.request_count(), fake.refreshes("b"), fake.refreshes("a.1")), (1, 0, 0));
    for confirmation in &written.confirmations {
        assert_eq!(elasticsearch.confirmed(confirmation).await, Ok(true));
        assert_eq!(fake.refreshes(&confirmation.index), 1);
    }
    // Nothing was written, so nothing is to become visible.
    let older = [operation(Save, "b", "1", "{}", Version(0))].into_iter().collect();
    assert_eq!(elasticsearch.write(&older).await.unwrap().confirmations, []);

    // G3: a name that leads elsewhere never leaves; an index that is gone will never confirm anything.
    let requests = fake.request_count();
    let of = |index: &str| Confirmation { index: index.into(), handle: "refresh".to_owned() };
    for (index, sent) in [("", false), ("../_all", false), ("a,b", false), ("*", false), ("gone", true)] {
        let error = elasticsearch.confirmed(&of(index)).await.unwrap_err();
        let WriteError::Misconfigured { scope, reason } = error else { panic!("{error:?}") };
        assert_eq!((scope, reason.code), (Scope::Index(index.into()), ReasonCode::IndexRefused));
        assert_eq!(fake.request_count(), requests + u64::from(sent));
    }
}

/// An empty batch costs nothing.
#[tokio::test]
async fn an_empty_batch_is_not_sent() {
    let (fake, elasticsearch) = start().await;
    assert!(elasticsearch.write(&batch(&[])).await.unwrap().verdicts.is_empty());
    assert_eq!(fake.request_count(), 0);
}

/// gzip changes the wire and nothing else, for small and for large bodies.
#[tokio::test]
async fn bodies_are_compressed_where_wanted() {
    for gzip in [false, true] {
        let (fake, elasticsearch) = start_with(Options::default(), |settings| settings.gzip = gzip).await;
        for count in [1, 5000] {
            assert_eq!(write(&elasticsearch, &saves("i", count)).await.len(), count);
        }
        assert_eq!(fake.objects("i").len(), 5000);
        assert!(fake.seen().iter().all(|seen| seen.gzip == gzip));
    }
}

/// Each kind of credentials is sent with everything; without them, or with others, the destination pauses (G10: and
/// nothing that is said of it carries them).
#[tokio::test]
async fn credentials_are_sent() {
    let secret = || Secret::new("hunter2");
    let basic = Auth::Basic { user: "agent".to_owned(), password: secret() };
    for (auth, header) in [
        (basic, "Basic YWdlbnQ6aHVudGVyMg=="),
        (Auth::ApiKey(secret()), "ApiKey hunter2"),
        (Auth::Bearer(secret()), "Bearer hunter2"),
    ] {
        let options = Options { auth: FakeAuth::Header(header.to_owned()), ..Options::default() };
        let (fake, elasticsearch) = start_with(options, |settings| settings.auth = auth).await;
        let written = elasticsearch.write(&saves("i", 1)).await.unwrap();
        assert_eq!(elasticsearch.confirmed(&written.confirmations[0]).await, Ok(true), "{header}");
        assert_eq!(elasticsearch.probe().await, Ok(()), "{header}");

        fake.set_auth(FakeAuth::Header("Bearer other".to_owned()));
        let refused = elasticsearch.write(&saves("i", 1)).await.unwrap_err();
        let is_ours = matches!(refused, WriteError::Misconfigured { scope: Scope::Destination, .. });
        assert!(is_ours && refused.reason().status == Some(401), "{refused:?}");
        assert_eq!(elasticsearch.probe().await.unwrap_err().reason().status, Some(401));
        let shown = format!("{refused:?} {elasticsearch:?}");
        assert!(!shown.contains("hunter") && !shown.contains("YWdlbnQ6"), "{shown}");
    }
}

/// G10: a secret that was reloaded is used from the next request on; one that cannot be sent is not shown.
#[tokio::test]
async fn a_replaced_secret_is_used_at_once() {
    let key = Secret::new("hunter1");
    let options = Options { auth: FakeAuth::Header("ApiKey hunter2".to_owned()), ..Options::default() };
    let (_fake, elasticsearch) =
        start_with(options, |settings| settings.auth = Auth::ApiKey(key.clone())).await;
    assert!(elasticsearch.write(&saves("i", 1)).await.is_err());
    key.replace("hunter2");
    assert!(elasticsearch.write(&saves("i", 1)).await.is_ok());
    key.replace("hunter3\n");
    let Err(WriteError::Misconfigured { scope: Scope::Destination, reason: Reason { message, .. } }) =
        elasticsearch.write(&saves("i", 1)).await
    else {
        panic!("a key that no header carries was sent")
    };
    assert!(!message.contains("hunter"), "{message}");
}

/// A probe changes nothing, works on both products, and needs no more than the right to write.
#[tokio::test]
async fn a_probe_changes_nothing() {
    for product in [Product::OpenSearch, Product::Elasticsearch] {
        let (fake, elasticsearch) = start_with(Options { product, ..Options::default() }, |_| {}).await;
        assert_eq!(elasticsearch.probe().await, Ok(()));
        fake.allow_monitoring(false);
        assert_eq!(elasticsearch.probe().await, Ok(()), "a key for writing is a valid key");
        assert_eq!((fake.write_count(), fake.operation_count(), fake.violations()), (0, 0, vec![]));
    }
}

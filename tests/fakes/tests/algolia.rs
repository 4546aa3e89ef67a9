//! The fake against what is known of the real service, by a plain HTTP client: a test is only worth as much as the
//! fake that it trusts.

use std::time::Duration;

use fakes::algolia::{Action, Detail, FakeAlgolia, Fault, HostState, Options, Poison, Publish};
use reqwest::{Client, Response};
use serde_json::{Value, json};

struct Setup {
    fake: FakeAlgolia,
    client: Client,
}

impl Setup {
    async fn new(options: Options) -> Self {
        let client = plugin_http::client::client("test", None).expect("the client needs nothing");
        let fake = FakeAlgolia::start(options).await.expect("loopback sockets can be opened");
        Self { fake, client }
    }

    async fn ask(&self, method: &str, host: usize, path: &str, body: String) -> reqwest::Result<Response> {
        let url = format!("{}{path}", self.fake.urls()[host]);
        let request = self.client.request(method.parse().expect("a method"), url);
        let request =
            request.header("x-algolia-application-id", "FAKEAPP").header("x-algolia-api-key", "fake-key");
        request.body(body).send().await
    }

    async fn json(&self, method: &str, path: &str, body: String) -> (u16, Value) {
        let response = self.ask(method, 0, path, body).await.expect("the fake answers");
        assert!(response.headers().contains_key("correlation-id"));
        let status = response.status().as_u16();
        let body = response.bytes().await.expect("the fake answers");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn batch(&self, index: &str, requests: Value) -> (u16, Value) {
        let body = json!({ "requests": requests }).to_string();
        self.json("POST", &format!("/1/indexes/{index}/batch"), body).await
    }

    async fn partial(&self, changes: Value) -> Value {
        let mut body = changes;
        body["objectID"] = "1".into();
        let (status, _) = self.batch("i", json!([{ "action": "partialUpdateObject", "body": body }])).await;
        assert_eq!(status, 200);
        self.fake.objects("i").remove("1").unwrap_or_default()
    }
}

fn save(object_id: &str) -> Value {
    json!({ "action": "updateObject", "body": { "objectID": object_id } })
}

/// The answers of both routes have the documented form.
#[tokio::test]
async fn batches_are_answered_as_documented() {
    let setup = Setup::new(Options::default()).await;
    let (status, answer) = setup.batch("a", json!([save("1"), save("2")])).await;
    assert_eq!((status, &answer["objectIDs"]), (200, &json!(["1", "2"])));
    let task = answer["taskID"].as_i64().unwrap();

    let several = ["a", "b"]
        .map(|index| json!({ "action": "deleteObject", "indexName": index, "body": { "objectID": "1" } }));
    let (_, answer) = setup.batch("*", json!(several)).await;
    assert!(answer["taskID"]["a"].as_i64().unwrap() > task);
    assert!(answer["taskID"]["b"].is_i64());
    assert_eq!(setup.fake.objects("a").keys().collect::<Vec<_>>(), ["2"]);
    assert_eq!(setup.fake.operations().into_values().collect::<Vec<_>>(), [3, 1]);
    assert_eq!(setup.json("GET", "/1/indexes", String::new()).await.1["items"].as_array().unwrap().len(), 2);
}

/// Partial updates replace first-level attributes; built-in operations compute them.
#[tokio::test]
async fn partial_updates_act_on_first_level_attributes() {
    let setup = Setup::new(Options::default()).await;
    let built_in = |operation: &str, value: Value| json!({ "_operation": operation, "value": value });

    let object = setup.partial(json!({ "deep": { "a": 1, "b": 2 }, "n": 1, "list": ["x"] })).await;
    assert_eq!(object["deep"], json!({ "a": 1, "b": 2 }));
    let object = setup.partial(json!({ "deep": { "a": 3 } })).await;
    assert_eq!((&object["deep"], &object["n"]), (&json!({ "a": 3 }), &json!(1)), "replaced, not merged");

    let changes = json!({
        "n": built_in("Increment", json!(5)),
        "m": built_in("Decrement", json!(2)),
        "list": built_in("Add", json!("x")),
    });
    let object = setup.partial(changes).await;
    assert_eq!((&object["n"], &object["m"], &object["list"]), (&json!(6), &json!(-2), &json!(["x", "x"])));
    let object = setup.partial(json!({ "list": built_in("AddUnique", json!("x")) })).await;
    assert_eq!(object["list"], json!(["x", "x"]));
    let object = setup.partial(json!({ "list": built_in("Remove", json!("x")) })).await;
    assert_eq!(object["list"], json!([]));

    let object = setup.partial(json!({ "n": built_in("IncrementFrom", json!(5)), "other": 1 })).await;
    assert_eq!((&object["n"], &object["other"]), (&json!(6), &json!(1)), "that attribute is ignored");
    let object = setup.partial(json!({ "n": built_in("IncrementFrom", json!(6)) })).await;
    assert_eq!(object["n"], json!(7));
    let object = setup.partial(json!({ "n": built_in("IncrementSet", json!(7)), "other": 2 })).await;
    assert_eq!((&object["n"], &object["other"]), (&json!(7), &json!(1)), "the whole update is ignored");
    let object = setup.partial(json!({ "n": built_in("IncrementSet", json!(9)), "other": 2 })).await;
    assert_eq!((&object["n"], &object["other"]), (&json!(9), &json!(2)));
}

/// One record that is refused takes the whole batch with it; each wording leads to it in its own way.
#[tokio::test]
async fn one_bad_record_refuses_its_batch() {
    let setup = Setup::new(Options { record_bytes_max: 30, ..Options::default() }).await;
    let large = json!({ "action": "updateObject", "body": { "objectID": "b", "text": "x".repeat(30) } });
    let (status, answer) = setup.batch("i", json!([save("a"), large])).await;
    assert_eq!((status, &answer["position"], &answer["objectID"]), (400, &json!(1), &json!("b")));
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with("Record at the position 1 objectID=b is too big size=56/30 bytes"),
        "{message}"
    );

    setup.fake.poison("p", Poison::Column);
    let text = r#"{"requests":[{"action":"updateObject","body":{"objectID":"a"}},{"action":"updateObject","body":{"objectID":"p"}}]}"#;
    let (status, answer) = setup.json("POST", "/1/indexes/i/batch", text.into()).await;
    let column = text.find("}}]}").unwrap() + 1;
    let message = format!("Invalid value for attribute near line:1 column:{column}");
    assert_eq!((status, answer["message"].as_str().unwrap()), (400, message.as_str()));

    let (status, answer) = setup.json("POST", "/1/indexes/i/batch", r#"{"requests":[{]}"#.into()).await;
    assert_eq!((status, answer["message"].as_str().unwrap()), (400, "Invalid JSON near line:1 column:15"));
    assert_eq!(setup.fake.operation_count(), 0);
    assert_eq!(setup.fake.violations(), [""; 0]);
}

/// What a careful client never sends is refused and remembered, in every detail.
#[tokio::test]
async fn violations_are_remembered() {
    for detail in [Detail::Bodies, Detail::Counts] {
        let setup = Setup::new(Options { detail, ..Options::default() }).await;
        let mut expected = 0;
        for (index, request) in [
            ("i", json!({ "action": "addObject", "body": { "objectID": "1" } })),
            ("i", json!({ "action": "delete", "body": {} })),
            ("i", json!({ "action": "clear", "body": {} })),
            ("i", json!({ "action": "updateObject", "body": {} })),
            ("i", json!({ "action": "updateObject", "indexName": "j", "body": { "objectID": "1" } })),
            ("*", save("1")),
        ] {
            let (status, _) = setup.batch(index, json!([save("0"), request])).await;
            expected += 1;
            assert_eq!(status, 400);
            assert_eq!(setup.fake.violations().len(), expected, "{request}");
        }
        assert_eq!(setup.json("POST", "/1/indexes/x/clear", String::new()).await.0, 404);
        assert_eq!(setup.fake.violations().len(), expected + 1);
        assert_eq!(setup.fake.operation_count(), 0);
    }
}

/// Tasks are published in their order, when the test wants.
#[tokio::test]
async fn tasks_are_published_in_order() {
    let setup = Setup::new(Options { publish: Publish::AfterPolls(2), ..Options::default() }).await;
    let first = setup.batch("i", json!([save("1")])).await.1["taskID"].clone();
    let second = setup.batch("i", json!([save("1")])).await.1["taskID"].clone();
    let poll = async |task: &Value| {
        setup.json("GET", &format!("/1/indexes/i/task/{task}"), String::new()).await.1["status"].clone()
    };
    assert_eq!(poll(&second).await, "notPublished");
    assert_eq!(poll(&first).await, "notPublished");
    assert_eq!(poll(&second).await, "published");
    assert_eq!(poll(&first).await, "published");
    setup.fake.set_publish(Publish::Never);
    let third = setup.batch("i", json!([save("1")])).await.1["taskID"].clone();
    for _ in 0..5 {
        assert_eq!(poll(&third).await, "notPublished");
    }
    assert_eq!(setup.json("GET", "/1/indexes/j/task/1", String::new()).await.0, 404);
}

/// A host that is switched off refuses connections, cuts those that are open, and comes back on the same port.
#[tokio::test]
async fn a_host_can_be_switched_off_and_on() {
    let setup = Setup::new(Options { hosts: 2, ..Options::default() }).await;
    setup.fake.fail_next(1, Fault::Hang);
    let hanging = setup.ask("POST", 0, "/1/indexes/i/batch", "{}".into());
    let switched_off = async {
        setup.fake.wait_for_requests(1).await;
        setup.fake.set_host(0, HostState::Refusing).await
    };
    let (hanging, switched_off) = tokio::join!(hanging, switched_off);
    switched_off.unwrap();
    assert!(!hanging.unwrap_err().is_connect(), "the open connection is cut");
    assert!(setup.ask("GET", 0, "/1/indexes", String::new()).await.unwrap_err().is_connect());
    assert_eq!(setup.ask("GET", 1, "/1/indexes", String::new()).await.unwrap().status(), 200);
    setup.fake.set_hosts(HostState::Failing(503)).await.unwrap();
    assert_eq!(setup.ask("GET", 0, "/1/indexes", String::new()).await.unwrap().status(), 503);
    setup.fake.set_hosts(HostState::Serving).await.unwrap();
    assert_eq!(setup.ask("GET", 0, "/1/indexes", String::new()).await.unwrap().status(), 200);
}

/// A request whose client went away is applied when the test says so, after what came later.
#[tokio::test]
async fn a_held_write_is_applied_late() {
    let setup = Setup::new(Options { detail: Detail::Attribute("n".into()), ..Options::default() }).await;
    let save = |n: u32| json!([{ "action": "updateObject", "body": { "objectID": "1", "n": n, "m": 0 } }]);
    setup.fake.fail_next(1, Fault::Hold);
    let body = json!({ "requests": save(1) }).to_string();
    let url = format!("{}/1/indexes/i/batch", setup.fake.url());
    let request = setup.client.post(url).timeout(Duration::from_millis(200)).body(body);
    let request =
        request.header("x-algolia-application-id", "FAKEAPP").header("x-algolia-api-key", "fake-key");
    assert!(request.send().await.unwrap_err().is_timeout());

    assert_eq!(setup.batch("i", save(2)).await.0, 200);
    assert_eq!(setup.fake.apply_held(), 1);
    assert_eq!(setup.fake.apply_held(), 0);
    let journal = setup.fake.journal().into_iter();
    let journal: Vec<_> = journal.map(|applied| (applied.request, applied.body, applied.answered)).collect();
    assert_eq!(journal, [(2, json!(2), true), (1, json!(1), false)]);
    assert_eq!(setup.fake.objects("i")["1"]["n"], 1);
}

/// Counting keeps nothing but numbers, and they agree.
#[tokio::test]
async fn counting_keeps_numbers_only() {
    let setup = Setup::new(Options { detail: Detail::Counts, ..Options::default() }).await;
    let requests: Vec<_> = (0..100).map(|number| save(&number.to_string())).collect();
    let (status, answer) = setup.batch("i", json!(requests)).await;
    assert_eq!((status, answer["objectIDs"].as_array().unwrap().len()), (200, 100));
    setup.fake.wait_for_operations(100).await;
    assert_eq!((setup.fake.operation_count(), setup.fake.operations()["i"]), (100, 100));
    assert!(
        setup.fake.journal().is_empty() && setup.fake.objects("i").is_empty() && setup.fake.seen().is_empty()
    );
    setup.fake.poison("7", Poison::Named);
    assert_eq!(setup.batch("i", json!(requests)).await.1["position"], 7);
}

/// Writes that are under way at once are counted as such.
#[tokio::test]
async fn concurrency_is_observed() {
    let setup = Setup::new(Options::default()).await;
    setup.fake.fail_next(2, Fault::Delay(Duration::from_millis(100)));
    let (first, second) =
        tokio::join!(setup.batch("i", json!([save("1")])), setup.batch("i", json!([save("2")])));
    assert_eq!((first.0, second.0), (200, 200));
    assert_eq!(setup.fake.concurrency_max(), 2);
    let actions: Vec<_> = setup.fake.journal().iter().map(|applied| applied.action).collect();
    assert_eq!(actions, [Action::UpdateObject; 2]);
}

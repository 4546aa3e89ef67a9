//! The fake Elasticsearch answers as real clusters were seen to (OpenSearch 2.19.1, in whole or filtered).

use std::time::Duration;

use fakes::elasticsearch::{Auth, Detail, FakeElasticsearch, Fault, FieldType, IndexState, Options, Poison};
use reqwest::{Client, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

const FILTER: &str =
    "errors,items.*._id,items.*.status,items.*.result,items.*.error.type,items.*.error.reason";

struct Cluster {
    fake: FakeElasticsearch,
    client: Client,
}

impl Cluster {
    async fn start(options: Options) -> Self {
        let fake = FakeElasticsearch::start(options).await.expect("loopback sockets can be opened");
        let client = plugin_http::client::client("test", None).expect("the client needs nothing");
        Self { fake, client }
    }

    async fn post(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.fake.url()));
        let request = request.header(CONTENT_TYPE, "application/x-ndjson").body(body.to_owned());
        let response = request.send().await.expect("the fake answers");
        let status = response.status();
        let body = response.bytes().await.expect("the answer comes whole");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The answer's items, by what is behind their action.
    async fn items(&self, body: &str) -> Vec<Value> {
        let (status, mut answer) = self.post(&format!("/_bulk?timeout=1s&filter_path={FILTER}"), body).await;
        assert_eq!(status, 200, "{answer}");
        let Value::Array(items) = answer["items"].take() else { panic!("{answer}") };
        let said = |item: Value| item.as_object()?.values().next().cloned();
        items.into_iter().map(|item| said(item).expect("an item says something")).collect()
    }

    async fn item(&self, body: &str) -> Value {
        self.items(body).await.remove(0)
    }
}

fn save(id: &str, version: i64) -> String {
    format!(
        "{{\"index\":{{\"_index\":\"p\",\"_id\":\"{id}\",\"version\":{version},\"version_type\":\"external_gte\"}}}}\n{{\"v\":{version}}}\n"
    )
}

fn delete(id: &str, version: i64) -> String {
    format!(
        "{{\"delete\":{{\"_index\":\"p\",\"_id\":\"{id}\",\"version\":{version},\"version_type\":\"external_gte\"}}}}\n"
    )
}

fn update(id: &str, change: &str) -> String {
    format!("{{\"update\":{{\"_index\":\"p\",\"_id\":\"{id}\",\"retry_on_conflict\":3}}}}\n{change}\n")
}

/// The answer as it is without a filter.
#[tokio::test]
async fn a_whole_answer() {
    let cluster = Cluster::start(Options::default()).await;
    let (_, mut answer) = cluster.post("/_bulk?timeout=1s", &save("1", 10)).await;
    assert!(answer["took"].take().is_number());
    let expected = json!({"took": null, "errors": false, "items": [{"index": {
        "_index": "p", "_id": "1", "_version": 10, "result": "created",
        "_shards": {"total": 2, "successful": 1, "failed": 0}, "_seq_no": 0, "_primary_term": 1, "status": 201,
    }}]});
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn versions_and_tombstones() {
    let cluster = Cluster::start(Options::default()).await;
    assert_eq!(cluster.item(&save("1", 10)).await, json!({"_id": "1", "result": "created", "status": 201}));
    assert_eq!(cluster.item(&save("1", 10)).await, json!({"_id": "1", "result": "updated", "status": 200}));
    let conflict = |stored, given| {
        let reason = format!(
            "[1]: version conflict, current version [{stored}] is higher than the one provided [{given}]"
        );
        json!({"_id": "1", "status": 409, "error": {"type": "version_conflict_engine_exception", "reason": reason}})
    };
    assert_eq!(cluster.item(&save("1", 9)).await, conflict(10, 9));
    assert_eq!(cluster.item(&delete("1", 11)).await, json!({"_id": "1", "result": "deleted", "status": 200}));
    let gone = json!({"_id": "1", "result": "not_found", "status": 404});
    assert_eq!(cluster.item(&delete("1", 11)).await, gone);
    assert_eq!(cluster.item(&save("1", 10)).await, conflict(11, 10));
    assert_eq!(cluster.item(&save("1", 11)).await["result"], "created");

    // Order within one request holds for one id.
    let body = [save("2", 1), delete("2", 2), save("2", 3), save("2", 2)].concat();
    let statuses: Vec<_> =
        cluster.items(&body).await.iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 201, 409]);
    cluster.item(&delete("2", 4)).await;
    cluster.fake.forget_tombstones();
    assert_eq!(cluster.item(&save("2", 1)).await["status"], 201, "as after index.gc_deletes");
}

#[tokio::test]
async fn updates() {
    let cluster = Cluster::start(Options::default()).await;
    let doc = |id| update(id, r#"{"doc":{"a":{"y":2}}}"#);
    let missing = json!({"_id": "u", "status": 404, "error": {
        "type": "document_missing_exception", "reason": "[u]: document missing",
    }});
    assert_eq!(cluster.item(&doc("u")).await, missing);
    cluster.fake.put("p", "u", 50, &json!({"a": {"x": 1}}));
    let changed = json!({"_id": "u", "_version": 51, "result": "updated", "status": 200});
    assert_eq!(cluster.item(&doc("u")).await, changed);
    let same = json!({"_id": "u", "_version": 51, "result": "noop", "status": 200});
    assert_eq!(cluster.item(&doc("u")).await, same);
    assert_eq!(cluster.fake.objects("p")["u"], json!({"a": {"x": 1, "y": 2}}));
    let script = |next| {
        let source =
            "if (ctx._version >= params.next) { ctx.op = 'none' } else { ctx._source.putAll(params.d) }";
        let script = json!({"lang": "painless", "source": source, "params": {"next": next, "d": {"a": 3}}});
        update("u", &json!({"script": script}).to_string())
    };
    assert_eq!(cluster.item(&script(51)).await, same);
    assert_eq!(cluster.item(&script(52)).await["_version"], 52);
    assert_eq!(cluster.fake.objects("p")["u"], json!({"a": 3}));
}

/// Each whole request that validation refuses, with its words; nothing of it is written.
#[tokio::test]
async fn whole_requests_are_refused() {
    let cluster = Cluster::start(Options { content_bytes_max: 10_000, ..Options::default() }).await;
    let good = save("good", 1);
    let long = "x".repeat(513);
    let too_large = good.replace("{\"v\":1}", &format!("{{\"v\":\"{}\"}}", "x".repeat(10_000)));
    let versioned = update("1", "{\"doc\":{}}").replace("\"retry_on_conflict\":3", "\"version\":1");
    for (body, status, words) in [
        (String::new(), 400, "request body is required"),
        (good.trim_end().to_owned(), 400, "The bulk request must be terminated by a newline [\\n]"),
        (good.clone() + &save(&long, 1), 400, "is too long, must be no longer than 512 bytes but was: 513;"),
        (good.clone() + &save("1", -1), 400, "illegal version value [-1] for version type [EXTERNAL_GTE];"),
        (good.clone() + &versioned, 400, "Update requests do not support versioning."),
        (good.clone() + &save("1", 1).replace("index\"", "idx\""), 400, "but found [idx]"),
        (good.clone() + &save("1", 1).replace(":1,", ":9223372036854775808,"), 500, "out of range of long"),
        (too_large, 413, ""),
    ] {
        let (found, answer) = cluster.post("/_bulk?timeout=1s", &body).await;
        assert_eq!(found, status, "{answer}");
        assert!(answer["error"]["reason"].as_str().unwrap_or_default().contains(words), "{words}: {answer}");
    }
    let (status, answer) = cluster.post("/_bulk?foo=1", &good).await;
    assert_eq!(
        (status.as_u16(), answer["error"]["type"].as_str()),
        (400, Some("illegal_argument_exception"))
    );
    cluster.fake.limit_pressure(Some(10));
    assert_eq!(cluster.post("/_bulk?timeout=1s", &good).await.0, 429);
    assert!(cluster.fake.objects("p").is_empty());
}

#[tokio::test]
async fn indexes_and_mappings() {
    let cluster = Cluster::start(Options::default()).await;
    cluster.fake.auto_create(false);
    for body in [save("1", 1), delete("1", 1), update("1", "{\"doc\":{}}")] {
        let error = cluster.item(&body).await["error"].take();
        assert_eq!(error, json!({"type": "index_not_found_exception", "reason": "no such index [p]"}));
    }
    cluster.fake.auto_create(true);
    cluster.fake.map_field("p", "v", FieldType::Object);
    assert_eq!(cluster.item(&save("1", 1)).await["error"]["type"], "mapper_parsing_exception");
    for (state, status, kind) in [
        (IndexState::Closed, 400, "index_closed_exception"),
        (IndexState::WriteBlocked, 403, "cluster_block_exception"),
        (IndexState::DiskFull, 429, "cluster_block_exception"),
        (IndexState::Overloaded, 429, "rejected_execution_exception"),
        (IndexState::Unassigned, 503, "unavailable_shards_exception"),
    ] {
        cluster.fake.set_index("p", state);
        let item = cluster.item(&save("1", 1)).await;
        assert_eq!((item["status"].as_u64(), item["error"]["type"].as_str()), (Some(status), Some(kind)));
    }
    assert_eq!(cluster.post("/p/_refresh", "").await.0, 200);
    assert_eq!(cluster.fake.refreshes("p"), 1);
    assert_eq!(cluster.post("/nowhere/_refresh", "").await.0, 404);
}

/// Counting keeps nothing, and answers all the same; credentials are asked for.
#[tokio::test]
async fn counting_and_credentials() {
    let cluster = Cluster::start(Options { detail: Detail::Counts, ..Options::default() }).await;
    let body = [save("1", 1), delete("2", 2), update("3", "{\"doc\":{}}")].concat();
    let ids: Vec<_> = cluster.items(&body).await.iter().map(|item| item["_id"].clone()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!((cluster.fake.operation_count(), cluster.fake.operations()["p"]), (3, 3));
    assert!(cluster.fake.objects("p").is_empty() && cluster.fake.journal().is_empty());
    cluster.fake.set_auth(Auth::Header("ApiKey key".to_owned()));
    let (status, answer) = cluster.post("/_bulk?timeout=1s", &body).await;
    assert_eq!((status.as_u16(), answer["error"]["type"].as_str()), (401, Some("security_exception")));
}

/// A fake that stands before another cluster stores nothing: it hands on what it does not refuse, in order, and its
/// refusals stand where they belong among the other's answers.
#[tokio::test]
async fn a_fake_may_stand_before_a_cluster() {
    let behind = Cluster::start(Options::default()).await;
    let real = behind.fake.url().strip_prefix("http://").and_then(|address| address.parse().ok());
    assert!(real.is_some());
    let before = Cluster::start(Options { real, ..Options::default() }).await;
    let batch = [save("1", 1), save("2", 1), delete("3", 2), save("4", 1)].concat();
    let reason = "the queue is full".to_owned();
    let kind = "rejected_execution_exception".to_owned();
    before.fake.fail_next(1, Fault::SomeItems { status: 429, kind, reason });
    let told = before.items(&batch).await;
    let told: Vec<_> = told.iter().map(|item| (item["_id"].as_str(), item["status"].as_u64())).collect();
    let (one, two, three, four) = (Some("1"), Some("2"), Some("3"), Some("4"));
    assert_eq!(told, [(one, Some(201)), (two, Some(429)), (three, Some(404)), (four, Some(429))]);
    assert_eq!(behind.fake.objects("p").into_keys().collect::<Vec<_>>(), ["1"]);

    before.fake.poison("1", Poison::unparsable());
    assert_eq!(before.item(&save("1", 3)).await["status"], 400);
    before.fake.cure();
    before.items(&batch).await;
    assert_eq!(before.items(&batch).await, behind.items(&batch).await);
    before.fake.fail_next(1, Fault::Hold);
    let held = tokio::time::timeout(Duration::from_millis(100), before.item(&save("1", 5))).await;
    assert!(held.is_err(), "{held:?}");
    assert_eq!((before.fake.apply_held().await, behind.fake.version("p", "1")), (1, Some(5)));
    assert!(before.fake.objects("p").is_empty() && before.fake.journal().is_empty());
}

/// Who is never answered is cut off, if the fake is told to lose its patience.
#[tokio::test]
async fn silence_may_end() {
    let silence_max = Some(Duration::from_millis(50));
    let cluster = Cluster::start(Options { silence_max, ..Options::default() }).await;
    cluster.fake.fail_next(1, Fault::Hang);
    let request = cluster.client.post(format!("{}/_bulk?timeout=1s", cluster.fake.url()));
    let request = request.header(CONTENT_TYPE, "application/x-ndjson").body(save("1", 1));
    assert!(!request.send().await.unwrap_err().is_timeout());
}

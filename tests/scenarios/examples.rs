//! What the example transforms are for, seen at a destination: an agent that passes an index through each.

use std::{fs, process::Command};

use fakes::algolia::{Detail, FakeAlgolia, Options};
use harness::{guests::example, process::Agent};
use serde_json::{Value, json};

use crate::support::{eventually, setup};

/// An index for each example, named as it.
const EXAMPLES: [(&str, &str); 3] = [
    ("publish", "config = {}"),
    ("variants", "config = { variants_max = 3 }"),
    ("redact", "config = { fields = [\"email\"] }"),
];

struct Shop {
    agent: Agent,
    fake: FakeAlgolia,
}

impl Shop {
    async fn open() -> Self {
        let options = Options {
            app_id: "app".to_owned(),
            api_key: "key".to_owned(),
            detail: Detail::Bodies,
            ..Options::default()
        };
        let fake = FakeAlgolia::start(options).await.unwrap();
        let mut setup = setup().algolia("search", &fake.url());
        for (name, config) in EXAMPLES {
            let path = setup.directory().join(format!("{name}.wasm"));
            fs::write(&path, example(name)).unwrap();
            setup = setup.config(&format!(
                "[[indexes]]\nmatch = {name:?}\ndestinations = [\"search\"]\ntransform = {name:?}\n\
                 [transforms.{name}]\npath = {path:?}\n{config}\n"
            ));
        }
        Self { agent: setup.start().await.unwrap(), fake }
    }

    /// Sends one object as a producer would.
    fn send(&self, index: &str, action: &str, object: &Value) {
        let file = self.agent.directory().join("object.ndjson");
        fs::write(&file, object.to_string()).unwrap();
        let mut send = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
        send.args(["send", "--index", index, "--action", action, "--target"]);
        let output = send.arg(self.agent.address().to_string()).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until the destination holds these objects of an index and no others.
    async fn holds(&self, index: &str, objects: Value) {
        let wanted: Vec<&Value> = objects.as_array().unwrap().iter().collect();
        let same = || self.fake.objects(index).values().eq(wanted.iter().copied());
        eventually(&format!("{index} holds {objects}"), || std::future::ready(same())).await;
    }
}

/// Scenario: a record is published, changed in part, unpublished and changed once more.
///
/// Protects G8: what is not published is gone, and no partial update brings it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unpublished_is_gone() {
    let shop = Shop::open().await;
    shop.send("publish", "save", &json!({ "objectID": "news", "title": "News", "published": true }));
    shop.send("publish", "partial", &json!({ "objectID": "news", "title": "Newer" }));
    shop.holds("publish", json!([{ "objectID": "news", "title": "Newer" }])).await;
    shop.send("publish", "save", &json!({ "objectID": "news", "title": "News", "published": false }));
    shop.send("publish", "partial", &json!({ "objectID": "news", "title": "Newest" }));
    shop.send("publish", "save", &json!({ "objectID": "end", "published": true }));
    shop.holds("publish", json!([{ "objectID": "end" }])).await;
}

/// Scenario: a product has three variants, then two, and is deleted.
///
/// Protects G4 and G8: order is kept by produced object, and no object of a variant stays that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variants_come_and_go() {
    let shop = Shop::open().await;
    let shirt = |sizes: &[&str]| {
        let variants: Vec<Value> = sizes.iter().map(|size| json!({ "size": size })).collect();
        json!({ "objectID": "shirt", "variants": variants })
    };
    let held = || {
        let objects = shop.fake.objects("variants").into_values();
        objects.map(|object| object["size"].clone()).collect::<Vec<Value>>()
    };
    for sizes in [&["S", "M", "L"][..], &["S", "M"]] {
        shop.send("variants", "save", &shirt(sizes));
        eventually(&format!("there are {sizes:?}"), || std::future::ready(held() == sizes)).await;
    }
    shop.send("variants", "delete", &json!({ "objectID": "shirt" }));
    shop.holds("variants", json!([])).await;
}

/// Scenario: personal data comes in a save and in partial updates.
///
/// Protects G8: none of it reaches the destination, whatever brings it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_personal_leaks() {
    let shop = Shop::open().await;
    shop.send("redact", "save", &json!({ "objectID": "1", "total": 49.9, "email": "ada@example.org" }));
    shop.send("redact", "partial", &json!({ "objectID": "1", "total": 50, "email": "eve@example.org" }));
    shop.holds("redact", json!([{ "objectID": "1", "total": 50 }])).await;
    let journal = shop.fake.journal();
    assert!(journal.len() >= 2 && journal.iter().all(|applied| !applied.body.to_string().contains('@')));
}

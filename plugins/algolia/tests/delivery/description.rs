//! The requests that are sent, against the official API description.
//!
//! The description is not part of the repository. The test looks where `ALGOLIA_API_DESCRIPTION` says, else beside
//! the repository, and is skipped with a word where there is none.

use std::{env, fs, path::Path};

use plugin_api::{destination::Destination, operation::Action};
use serde_json::Value;

use crate::setup::{batch, operation, save, start};

/// The lines of the description below a line of this text, down to the next one that is indented no deeper.
fn below<'a>(lines: &'a [&'a str], text: &str) -> &'a [&'a str] {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let at = lines.iter().position(|line| line.trim() == text).unwrap_or_else(|| panic!("no {text:?}"));
    let rest = &lines[at + 1..];
    // A list may stand as deep as its key.
    let ends =
        |line: &&str| !line.is_empty() && indent(line) <= indent(lines[at]) && !line.trim().starts_with("- ");
    &rest[..rest.iter().position(ends).unwrap_or(rest.len())]
}

/// The items of the list under a key.
fn list<'a>(lines: &'a [&'a str], key: &str) -> Vec<&'a str> {
    below(lines, key).iter().filter_map(|line| line.trim().strip_prefix("- ")).collect()
}

/// Every route, method, action and attribute that is sent exists in the description, and none that it requires is
/// missing.
#[tokio::test]
async fn requests_have_the_described_shape() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/algolia/search.yml");
    let path = env::var_os("ALGOLIA_API_DESCRIPTION").map_or(beside, Into::into);
    let Ok(text) = fs::read_to_string(&path) else {
        println!("skipped: no API description at {}", path.display());
        return;
    };
    let lines: Vec<&str> = text.lines().collect();

    let (fake, algolia) = start().await;
    let every = |index: &'static str| Action::ALL.map(|action| operation(action, index, "1", r#"{"n":1}"#));
    let mut written = algolia.write(&batch(every("a"))).await.unwrap();
    algolia.write(&every("a").into_iter().chain([save("b", "1", "{}")]).collect()).await.unwrap();
    algolia.confirmed(&written.confirmations.remove(0)).await.unwrap();
    algolia.probe().await.unwrap();

    let routes = [
        ("/1/indexes/{indexName}/batch:", "post:"),
        ("/1/indexes/*/batch:", "post:"),
        ("/1/indexes/{indexName}/task/{taskID}:", "get:"),
        ("/1/indexes/{indexName}/task/{taskID}:", "get:"),
    ];
    let seen = fake.seen();
    assert_eq!(seen.len(), routes.len());
    for (seen, (route, method)) in seen.iter().zip(routes) {
        let described = below(&lines, route);
        assert!(!below(described, method).is_empty());
        assert_eq!(format!("{}:", seen.method.to_lowercase()), method);
        let parts = |path: &str| path.trim_end_matches(':').split('/').map(str::to_owned).collect::<Vec<_>>();
        for (sent, expected) in parts(&seen.path).iter().zip(parts(route)) {
            assert!(expected.starts_with('{') || *sent == expected, "{} is no {route}", seen.path);
        }
        assert_eq!(parts(&seen.path).len(), parts(route).len());
    }

    let schemas = below(&lines, "schemas:");
    let actions = list(below(schemas, "action:"), "enum:");
    assert!(actions.contains(&"updateObject"), "{actions:?}");
    let one = ["action", "body"];
    let several = ["action", "body", "indexName"];
    assert_eq!(list(below(schemas, "batchWriteParams:"), "required:"), one);
    for (request, attributes) in seen[..2].iter().zip([&one[..], &several]) {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["requests"]);
        for item in body["requests"].as_array().unwrap() {
            assert_eq!(item.as_object().unwrap().keys().collect::<Vec<_>>(), attributes);
            assert!(actions.contains(&item["action"].as_str().unwrap()), "{item}");
            assert!(item["body"]["objectID"].is_string(), "{item}");
        }
    }
}

//! The schema accepts what the agent accepts, and refuses what an editor can know to be wrong.

use harness::schema::Schema;

use super::{
    keys::{base, leaves, surroundings},
    *,
};
use crate::config::keys::TYPES;

/// Every value that a key may hold, at both ends of every range; and no value of another form.
#[test]
fn it_accepts_and_refuses_what_the_agent_does() {
    let schema = Schema::new(&schema());
    for of in TYPES {
        assert_eq!(schema.refusal(&base(of)), None);
    }
    for length in ["0", "+1.5s", "1m30s", ".5h", "1.s", "100\u{b5}s", "100\u{3bc}s", "200ms10us1ns"] {
        let text = format!("{FILE}[data]\nretention = {{ age = \"{length}\" }}\n");
        assert_eq!(schema.refusal(&text), None, "{length}");
        assert!(check(None, &text, &surroundings()).is_ok(), "{length}");
    }
    let mut refused = 0;
    for leaf in leaves() {
        for value in leaf.good() {
            let text = leaf.with(value);
            assert_eq!(schema.refusal(&text), None, "{text}");
        }
        for value in leaf.bad() {
            let text = leaf.with(value.clone());
            assert!(schema.refusal(&text).is_some(), "{} = {value}", leaf.path.join("."));
            refused += 1;
        }
    }
    assert!(refused > 500, "only {refused} values were refused");
}

/// What is wrong with a file as a whole is refused by both.
#[test]
fn whole_files_that_are_wrong_are_refused_by_both() {
    let schema = Schema::new(&schema());
    let algolia = "[destinations.d]\ntype = \"algolia\"\napp_id = { env = \"APP\" }\n";
    let elasticsearch = "[destinations.d]\ntype = \"elasticsearch\"\nnodes = [\"https://es\"]\n";
    for text in [
        String::new(),
        "[destinations]".to_owned(),
        "[destinations.d]\ndir = \"out\"".to_owned(),
        "[destinations.d]\ntype = \"solr\"".to_owned(),
        "[destinations.\"a b\"]\ntype = \"file\"\ndir = \"out\"".to_owned(),
        algolia.to_owned(),
        format!("{algolia}api_key = {{ env = \"KEY\", file = \"/run/key\" }}"),
        format!("{algolia}api_key = {{ env = \"KEY\" }}\nnodes = [\"https://es\"]"),
        format!("{elasticsearch}auth = {{ api_key = {{ env = \"KEY\" }}, bearer = {{ env = \"KEY\" }} }}"),
        format!("{elasticsearch}auth = {{ basic = {{ user = \"a\" }} }}"),
        format!("{elasticsearch}batch = {{ lingr = \"1s\" }}"),
        format!("lisen = {{}}\n{FILE}"),
        format!("{FILE}[[indexes]]\nmatch = \"a\""),
        format!("{FILE}[[indexes]]\ndestinations = [\"out\"]"),
        format!("{FILE}[indexes]\nmatch = \"a\"\ndestinations = [\"out\"]"),
        format!("{FILE}[transforms.t]\nsha256 = \"00\""),
        format!("{FILE}attempts_max = 1001"),
        format!("{FILE}attempts_max = 0"),
    ] {
        assert!(schema.refusal(&text).is_some(), "{text}");
        assert!(check(None, &text, &surroundings()).is_err(), "{text}");
    }
}

/// What an editor shows beside a key.
#[test]
fn keys_are_described_with_their_defaults() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let disk = &schema["properties"]["data"]["properties"]["disk_bytes_max"];
    let expected = "What the log may take. At this size ingest answers RESOURCE_EXHAUSTED. (size, 1MiB to 1024TiB; default \
                    20GiB; live)";
    assert_eq!((disk["description"].as_str(), &disk["default"]), (Some(expected), &"20GiB".into()));
    let types = &schema["properties"]["destinations"]["patternProperties"]["^[A-Za-z0-9_-]{1,64}$"]["oneOf"];
    let operations: Vec<_> = types
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["properties"]["batch"]["properties"]["operations_max"]["default"].clone())
        .collect();
    assert_eq!(operations, [1_000, 1_000, 5_000]);
}

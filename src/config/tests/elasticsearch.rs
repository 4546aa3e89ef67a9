//! `type = "elasticsearch"`, and the names by which destinations know indexes.

use std::sync::Arc;

use super::*;

fn environment() -> FixedEnvironment {
    FixedEnvironment::new(
        &[("PASSWORD", "SECRET-PASSWORD"), ("KEY", "SECRET-KEY")],
        &[
            ("/run/token", "SECRET-TOKEN\n"),
            ("/etc/ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
            ("/etc/odd.pem", "no certificate\n"),
        ],
    )
}

fn with_lines(lines: &str) -> String {
    format!("[destinations.mirror]\ntype = \"elasticsearch\"\nnodes = [\"https://es-1:9200\"]\n{lines}")
}

fn settings(lines: &str) -> ElasticsearchSettings {
    let (config, _) = checked(&with_lines(lines), &environment());
    let Kind::Elasticsearch(settings) = config.destinations[0].kind.clone() else { panic!("elasticsearch") };
    settings
}

#[test]
fn nodes_are_enough_and_the_rest_has_defaults() {
    let settings = settings("");
    assert_eq!(settings.nodes, ["https://es-1:9200"]);
    assert!(matches!(settings.auth, ElasticsearchAuth::None) && settings.ca_file.is_none());
    assert!(settings.gzip && !settings.insecure);
    assert_eq!(settings.partial_updates, PartialUpdates::Script);
    let (config, _) = checked(&with_lines(""), &environment());
    assert_eq!(config.destinations[0].batch.operations_max, 1_000);
}

#[test]
fn every_setting_is_read() {
    let settings = settings(
        "auth = { basic = { user = \"agent\", password = { env = \"PASSWORD\" } } }\nca_file = \"/etc/ca.pem\"\n\
         insecure = true\ngzip = false\npartial_updates = \"deep_merge\"\n",
    );
    let ElasticsearchAuth::Basic { user, password } = &settings.auth else { panic!("{:?}", settings.auth) };
    assert_eq!((user.as_str(), password.expose()), ("agent", "SECRET-PASSWORD"));
    let ca_file = settings.ca_file.as_ref().unwrap();
    assert_eq!(ca_file.path, Path::new("/etc/ca.pem"));
    assert!(ca_file.pem.starts_with("-----BEGIN"));
    assert!(settings.insecure && !settings.gzip);
    assert_eq!(settings.partial_updates, PartialUpdates::DeepMerge);

    let auth = |line| self::settings(line).auth;
    let key = auth("auth = { api_key = { env = \"KEY\" } }\n");
    assert!(matches!(&key, ElasticsearchAuth::ApiKey(secret) if secret.expose() == "SECRET-KEY"));
    let token = auth("auth = { bearer = { file = \"/run/token\" } }\n");
    assert!(matches!(&token, ElasticsearchAuth::Bearer(secret) if secret.expose() == "SECRET-TOKEN"));
    // G10: what is shown of them is where they come from.
    let shown = format!("{settings:?} {key:?} {token:?}");
    assert!(!shown.contains("SECRET") && shown.contains("/run/token"), "{shown}");
}

/// Each line alone is told with its place and what is accepted, and no secret with it (G10).
#[test]
fn errors_name_key_and_accepted_values() {
    let kinds = "one of { basic = { user = \"NAME\", password = SECRET } }, { api_key = SECRET } and { bearer = SECRET }, \
                 where SECRET is { env = \"NAME\" } or { file = \"PATH\" }";
    let key = "auth = { api_key = { env = \"KEY\" }, bearer = { file = \"/run/token\" } }";
    let cases = [
        (key, format!("4:8 destinations.mirror.auth: names more than one way to log in ({kinds})")),
        ("auth = {}", format!("4:8 destinations.mirror.auth: names no way to log in ({kinds})")),
        ("auth = \"SECRET\"", format!("4:8 destinations.mirror.auth: is not a table ({kinds})")),
        (
            "auth = { apikey = \"SECRET\" }",
            format!("4:8 destinations.mirror.auth: names no way to log in ({kinds})"),
        ),
        (
            "auth = { api_key = \"SECRET\" }",
            "4:20 destinations.mirror.auth.api_key: must not stand in the config itself, which is copied, logged and \
             kept in repositories ({ env = \"NAME\" } or { file = \"PATH\" })"
                .to_owned(),
        ),
        (
            "auth = { basic = { user = \"a:SECRE\", password = { env = \"PASSWORD\" } } }",
            "4:27 destinations.mirror.auth.basic.user: \"a:SECRE\" is not a user's name (a user's name, without a \
             colon)"
                .to_owned(),
        ),
        (
            "auth = { basic = { password = { env = \"PASSWORD\" } } }",
            "4:10 destinations.mirror.auth.basic.user: missing (a user's name, without a colon)".to_owned(),
        ),
        (
            "ca_file = \"/etc/odd.pem\"",
            "4:11 destinations.mirror.ca_file: \"/etc/odd.pem\" holds no certificate (a PEM file with the certificates \
             of the authorities to trust)"
                .to_owned(),
        ),
        (
            "ca_file = \"/nowhere\"",
            "4:11 destinations.mirror.ca_file: \"/nowhere\" cannot be read: entity not found (a PEM file with the \
             certificates of the authorities to trust)"
                .to_owned(),
        ),
        (
            "partial_updates = \"upsert\"",
            "4:19 destinations.mirror.partial_updates: \"upsert\" is unknown (one of: deep_merge, script)"
                .to_owned(),
        ),
        (
            "hosts = [\"https://es\"]",
            "4:1 destinations.mirror.hosts: unknown key (one of: attempts_max, auth, backlog_bytes_max, backoff, batch, \
             ca_file, dead_letters, from, gzip, index, insecure, nodes, on_backlog_full, partial_updates, rate_limit, \
             requests_max, timeout, type)"
                .to_owned(),
        ),
    ];
    for (line, expected) in cases {
        let text = with_lines(&format!("{line}\n"));
        assert_eq!(told(&text, &environment()), [expected], "{line}");
        assert!(!errors(&text, &environment()).to_string().contains("SECRET\""), "{line}");
    }
    let nodes = |nodes: &str| {
        let text = format!("[destinations.mirror]\ntype = \"elasticsearch\"\nnodes = {nodes}\n");
        told(&text, &environment()).remove(0)
    };
    assert!(nodes("[]").starts_with("3:9 destinations.mirror.nodes: an array without a node ("));
    assert!(nodes("\"https://es\"").contains("is not an array"));
    assert!(nodes("[\"http://es:9200\"]").contains("would send keys and records in the clear"));
    let credentials = nodes("[\"https://me:hunter2@es\"]");
    assert!(
        credentials.contains("which belong into auth") && !credentials.contains("hunter2"),
        "{credentials}"
    );
}

/// Every type of destination may know an index by another name.
#[test]
fn indexes_may_have_other_names() {
    let name = |text: &str| {
        let (config, _) = checked(text, &algolia());
        let names = &config.destinations[0].index_names;
        (names.to_string(), names.of(&Arc::from("products")).to_string())
    };
    let same = ("{index}".to_owned(), "products".to_owned());
    let other = ("{index}_v2".to_owned(), "products_v2".to_owned());
    assert_eq!(name(FILE), same);
    assert_eq!(name(&format!("{FILE}index = \"{{index}}\"\n")), same);
    assert_eq!(name(&format!("{FILE}index = \"{{index}}_v2\"\n")), other);
    assert_eq!(name(&with_lines("index = \"{index}_v2\"\n")), other);
    let algolia =
        "[destinations.d]\ntype = \"algolia\"\napp_id = { env = \"APP\" }\napi_key = { env = \"KEY\" }\n";
    let named = name(&format!("{algolia}index = \"Prod.{{index}}\"\n"));
    assert_eq!(named, ("Prod.{index}".to_owned(), "Prod.products".to_owned()));
    assert_eq!(IndexNames::default().to_string(), "{index}");
}

#[test]
fn names_of_indexes_are_checked() {
    let accepted = "(a name in which {index} stands once for the index's own, such as \"{index}_v2\")";
    for pattern in ["products", "{index}{index}", "{Index}", "\\u0000{index}"] {
        let told = told(&format!("{FILE}index = \"{pattern}\"\n"), &algolia());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("4:9 destinations.out.index: "), "{told:?}");
        assert!(told[0].ends_with(&format!("is not a name for indexes {accepted}")), "{told:?}");
    }
    assert!(told(&format!("{FILE}index = 2\n"), &algolia())[0].contains("2 is not a string"));
    for pattern in ["Prod-{index}", "_{index}", "{index} v2", "a,{index}"] {
        let told = told(&with_lines(&format!("index = \"{pattern}\"\n")), &environment());
        assert!(told[0].contains("makes names that Elasticsearch refuses (lowercase, "), "{told:?}");
    }
}

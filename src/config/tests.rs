//! The whole config, from text to checked values or to the words that an operator reads.

mod elasticsearch;
mod fuzz;
mod keys;
mod permissions;
mod schema;
mod tls;
mod transforms;

use std::{path::Path, time::Duration};

use super::{check::check, *};

fn with(variables: &[(&'static str, &'static str)]) -> FixedEnvironment {
    FixedEnvironment::new(variables, &[("/run/key", "SECRET-IN-FILE\n"), ("/run/empty", "\n")])
}

fn algolia() -> FixedEnvironment {
    with(&[("APP", "SECRET-APP"), ("KEY", "SECRET-KEY")])
}

fn checked(text: &str, environment: &FixedEnvironment) -> (Config, Vec<Override>) {
    check(Some(Path::new("agent.toml")), text, environment).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str, environment: &FixedEnvironment) -> ConfigErrors {
    check(Some(Path::new("agent.toml")), text, environment).expect_err("the config has an error")
}

/// `line:column key: message (accepted)` of every problem.
fn told(text: &str, environment: &FixedEnvironment) -> Vec<String> {
    let tell = |problem: &Problem| {
        let place = match (problem.line, problem.column) {
            (Some(line), Some(column)) => format!("{line}:{column} "),
            _ => String::new(),
        };
        let accepted = problem.accepted.as_deref().unwrap_or("-");
        format!("{place}{}: {} ({accepted})", problem.key, problem.message)
    };
    errors(text, environment).errors.iter().map(tell).collect()
}

const FILE: &str = "[destinations.out]\ntype = \"file\"\ndir = \"./out\"\n";

/// The example of the design, so far as this version goes, and every key that it leaves out at its default. The
/// transform that it has beside it is tested in `transforms`.
#[test]
fn the_example_is_accepted_and_the_rest_has_defaults() {
    let text = r#"
        [listen]
        grpc = "127.0.0.1:50051"
        [data]
        dir = "./sync-agent-data"
        disk_bytes_max = "20GiB"
        retention = { age = "12h" }
        [limits]
        record_bytes_max = "1MiB"
        request_bytes_max = "4MiB"
        request_records_max = 10000
        indexes_max = 1000
        non_idempotent_operations = "refuse"
        [defaults]
        destinations = ["search"]
        [destinations.search]
        type = "algolia"
        app_id = { env = "APP" }
        api_key = { file = "/run/key" }
        [destinations.archive]
        type = "file"
        dir = "./out"
        [[indexes]]
        match = "products*"
        destinations = ["search", "archive"]
    "#;
    let (config, overrides) = checked(text, &algolia());
    assert!(overrides.is_empty());
    assert_eq!(config.listen.grpc.to_string(), "127.0.0.1:50051");
    assert_eq!((config.data.dir.to_str(), config.data.disk_bytes_max), (Some("./sync-agent-data"), 20 << 30));
    let retention = Retention { age: Duration::from_secs(12 * 3_600), bytes_max: 5 << 30 };
    assert_eq!(config.data.retention, retention);
    let limits = &config.limits;
    assert_eq!((limits.record_bytes_max, limits.request_bytes_max), (1 << 20, 4 << 20));
    assert_eq!((limits.request_records_max, limits.indexes_max), (10_000, 1_000));
    assert_eq!(limits.non_idempotent_operations, NonIdempotent::Refuse);
    assert_eq!((limits.connections_max, limits.connection_requests_max), (1_024, 128));
    assert_eq!((limits.decoding_bytes_max, limits.receive_timeout), (64 << 20, Duration::from_secs(10)));

    let names: Vec<&str> = config.destinations.iter().map(|destination| &*destination.name).collect();
    assert_eq!(names, ["archive", "search"]);
    let [archive, search] = &config.destinations[..] else { panic!("two destinations") };
    assert_eq!((archive.batch.operations_max, search.batch.operations_max), (5_000, 1_000));
    for destination in [archive, search] {
        assert_eq!(destination.batch.bytes_max, 8 << 20);
        assert_eq!(destination.batch.linger, Duration::from_millis(200));
        assert_eq!((destination.requests_max, destination.attempts_max), (10, 5));
        assert_eq!(destination.timeout, Duration::from_secs(30));
        let backoff = Backoff { min: Duration::from_millis(200), max: Duration::from_secs(30) };
        assert_eq!(destination.backoff, backoff);
        assert_eq!(destination.backlog_bytes_max, 10 << 30);
        assert_eq!(destination.dead_letters, DeadLetters { bytes_max: 1 << 30, age_max: None });
    }
    assert_eq!(search.on_backlog_full, OnBacklogFull::Refuse);
    assert_eq!(archive.on_backlog_full, OnBacklogFull::Detach, "not among the default destinations");
    let Kind::Algolia(settings) = &search.kind else { panic!("algolia") };
    assert_eq!((settings.app_id.expose(), settings.api_key.expose()), ("SECRET-APP", "SECRET-IN-FILE"));
    assert!(settings.hosts.is_empty() && settings.gzip && !settings.insecure);
    let Kind::File(settings) = &archive.kind else { panic!("file") };
    assert_eq!(settings.dir.to_str(), Some("./out"));

    assert_eq!(config.indexes[0].pattern, "products*");
    assert_eq!(config.indexes[0].destinations, ["search".into(), "archive".into()]);
    assert_eq!(config.default_destinations, ["search".into()]);
}

#[test]
fn every_setting_of_a_destination_is_read() {
    let text = r#"
        [destinations.search]
        type = "algolia"
        app_id = { env = "APP" }
        api_key = { env = "KEY" }
        hosts = ["http://127.0.0.1:9201", "https://proxy:8443/", "http://[::1]:9"]
        gzip = false
        batch = { operations_max = 10, bytes_max = "1MiB", linger = "1.5s" }
        requests_max = 3
        timeout = "5s"
        backoff = { min = "1s", max = "2m" }
        attempts_max = 7
        backlog_bytes_max = "1GiB"
        on_backlog_full = "detach"
        dead_letters = { bytes_max = "64MiB", age_max = "720h" }
        [destinations.out]
        type = "file"
        dir = "out"
        rotate = { bytes = "1GiB", age = "24h" }
    "#;
    let (config, _) = checked(text, &algolia());
    let [out, search] = &config.destinations[..] else { panic!("two destinations") };
    let linger = Duration::from_millis(1_500);
    assert_eq!(search.batch, BatchLimits { operations_max: 10, bytes_max: 1 << 20, linger });
    assert_eq!(search.backoff, Backoff { min: Duration::from_secs(1), max: Duration::from_secs(120) });
    assert_eq!((search.requests_max, search.attempts_max), (3, 7));
    assert_eq!((search.backlog_bytes_max, search.on_backlog_full), (1 << 30, OnBacklogFull::Detach));
    assert_eq!((out.backlog_bytes_max, out.on_backlog_full), (10 << 30, OnBacklogFull::Refuse));
    assert_eq!(search.timeout, Duration::from_secs(5));
    let age_max = Some(Duration::from_secs(30 * 86_400));
    assert_eq!(search.dead_letters, DeadLetters { bytes_max: 64 << 20, age_max });
    let Kind::Algolia(settings) = &search.kind else { panic!("algolia") };
    assert_eq!(settings.hosts, ["http://127.0.0.1:9201", "https://proxy:8443", "http://[::1]:9"]);
    assert!(!settings.gzip);
    let Kind::File(settings) = &out.kind else { panic!("file") };
    assert_eq!((settings.rotate_bytes, settings.rotate_age), (1 << 30, Duration::from_secs(86_400)));
    assert_eq!(config.default_destinations.len(), 2, "without [defaults] every destination");
}

/// One file with an error in every corner: all of them are told, in the order of the file, none twice.
#[test]
fn every_error_is_told_at_once() {
    let text = r#"limit = 1
[listen]
grpc = "localhost"
http = "on"
[data]
dir = ""
disk_bytes_max = "1KiB"
[limits]
record_bytes_max = "8MiB"
request_records_max = "many"
indexes_max = 0
connections_max = true
non_idempotent_operations = "maybe"
receive_timeout = 10
[defaults]
destinations = ["serch", "search", "search"]
[destinations.search]
type = "algolia"
app_id = { env = "NOBODY" }
api_key = { file = "/nowhere" }
hosts = ["http://example.com", "ftp://x", "https://h/path"]
batch = { operations_max = 20000, lingr = "1s" }
backoff = { min = "1m", max = "1s" }
on_backlog_full = "drop"
backlog_bytes_max = "1TiB"
rate_limit = { operations_per_second = 0 }
[destinations."a b"]
type = "file"
dir = "sync-agent-data/logs/default"
[destinations.mirror]
type = "elasticsearch"
[destinations.nothing]
[[indexes]]
match = "products*"
destinations = []
[[indexes]]
match = "products*"
transform = "redcat"
[transforms.redact]
path = "x.wasm"
"#;
    let expected = [
        "1:1 limit: unknown key (did you mean `limits`?)",
        r#"3:8 listen.grpc: "localhost" is not an address with a port (an address and a port, such as "127.0.0.1:50051", "0.0.0.0:50051" or "[::1]:50051")"#,
        r#"4:8 listen.http: "on" is not an address with a port (an address and a port, such as "127.0.0.1:9600" or "0.0.0.0:9600", or "off")"#,
        r#"6:7 data.dir: "" is empty (a path, absolute or relative to the working directory, such as "./out")"#,
        r#"7:18 data.disk_bytes_max: "1KiB" is out of range (a size from 1MiB to 1024TiB, such as "512KiB", "1MiB", "20GiB" or a number of bytes)"#,
        r#"9:20 limits.record_bytes_max: "8MiB" is out of range (a size from 1KiB to 4MiB, such as "512KiB", "1MiB", "20GiB" or a number of bytes)"#,
        r#"10:23 limits.request_records_max: "many" is not an integer (an integer from 1 to 100000)"#,
        "11:15 limits.indexes_max: 0 is out of range (an integer from 1 to 100000)",
        "12:19 limits.connections_max: true is not an integer (an integer from 1 to 65536)",
        r#"13:29 limits.non_idempotent_operations: "maybe" is unknown (one of: allow, refuse)"#,
        r#"14:19 limits.receive_timeout: 10 is not a duration (a duration from 100ms to 10m, such as "200ms", "1.5s", "1m30s" or "24h")"#,
        r#"16:17 defaults.destinations[0]: "serch" is no destination (did you mean "search"?)"#,
        r#"16:36 defaults.destinations[2]: "search" is named twice (each destination once)"#,
        r#"19:18 destinations.search.app_id.env: "NOBODY" is unset, empty or not UTF-8 in the environment (a variable that holds the secret)"#,
        r#"20:20 destinations.search.api_key.file: "/nowhere" cannot be read: entity not found (a file that this user may read)"#,
        r#"21:10 destinations.search.hosts[0]: "http://example.com" would send keys and records in the clear (https; plain http on loopback only, or with `insecure = true`)"#,
        r#"21:32 destinations.search.hosts[1]: "ftp://x" is not the URL of a host (a URL such as "https://host:443", without a path)"#,
        r#"21:43 destinations.search.hosts[2]: "https://h/path" is not the URL of a host (a URL such as "https://host:443", without a path)"#,
        "22:28 destinations.search.batch.operations_max: 20000 is out of range (an integer from 1 to 10000)",
        "22:35 destinations.search.batch.lingr: unknown key (did you mean `linger`?)",
        r#"23:31 destinations.search.backoff.max: "1s" is out of range (a duration from 1m to 1h, such as "200ms", "1.5s", "1m30s" or "24h")"#,
        r#"24:19 destinations.search.on_backlog_full: "drop" is unknown (one of: detach, refuse)"#,
        r#"25:21 destinations.search.backlog_bytes_max: "1TiB" is out of range (a size from 64KiB to 20GiB, such as "512KiB", "1MiB", "20GiB" or a number of bytes)"#,
        "26:40 destinations.search.rate_limit.operations_per_second: 0 is out of range (an integer from 1 to 100000000)",
        "27:15 destinations.a b: not a valid name (1 to 64 of A-Z a-z 0-9 _ -)",
        r#"29:7 destinations.a b.dir: "sync-agent-data/logs/default" lies inside the log's directory (a directory outside /srv/sync-agent-data/logs)"#,
        r#"30:15 destinations.mirror.nodes: missing (an array of URLs, such as ["https://es-1:9200", "https://es-2:9200"])"#,
        "32:15 destinations.nothing.type: missing (one of: algolia, elasticsearch, file)",
        "35:16 indexes[0].destinations: an array without a destination (an array of destinations, one of: a b, mirror, nothing, search)",
        "36:1 indexes[1].destinations: missing (an array of destinations, one of: a b, mirror, nothing, search)",
        r#"37:9 indexes[1].match: "products*" already has a rule, and the first match wins (each pattern once)"#,
        r#"38:13 indexes[1].transform: "redcat" is no transform (did you mean "redact"?)"#,
    ];
    let told = told(text, &algolia());
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

/// Whoever asks a running agent finds it by a config that has errors by now.
#[test]
fn the_data_directory_of_a_broken_config_is_known() {
    use super::check::named_data_dir;
    let of = |text: &str| named_data_dir(None, text).unwrap().display().to_string();
    assert_eq!(of(""), "./sync-agent-data");
    assert_eq!(of("[data]\ndir = \"/srv\"\n[destinations.x]\ntype = 1\n[data2]\n"), "/srv");
    assert_eq!(of("[data]\ndir = \"/srv\"\n[destinations\ntype == 1"), "/srv");
    assert_eq!(of("data = 1"), "./sync-agent-data");
    assert_eq!(of("[data]\ndir = 1"), "./sync-agent-data");
    let broken = named_data_dir(None, "[data\ndir = \"/srv\"").unwrap_err();
    assert_eq!(broken.errors[0].line, Some(1), "a guess could be another agent's directory");
}

/// Metrics and health are on a port of their own unless they are switched off.
#[test]
fn the_metrics_port_is_its_own() {
    let http = |listen: &str| checked(&format!("{FILE}[listen]\n{listen}"), &algolia()).0.listen.http;
    assert_eq!(http(""), Some("127.0.0.1:9600".parse().unwrap()));
    assert_eq!(http("http = \"0.0.0.0:1\""), Some("0.0.0.0:1".parse().unwrap()));
    assert_eq!(http("http = \"off\""), None);
    let expected = [
        r#"5:8 listen.http: "[::1]:1" is the address of listen.grpc (an address and a port of its own)"#,
        r#"7:9 listen.admin: "[::1]:1" is the address of listen.grpc (an address and a port of its own)"#,
    ];
    let text = "http = \"[::1]:1\"\ngrpc = \"[::1]:1\"\nadmin = \"[::1]:1\"";
    assert_eq!(told(&format!("{FILE}[listen]\n{text}"), &algolia()), expected);
}

/// A collector is told by its address alone: what could be a secret is not shown.
#[test]
fn a_collector_is_an_address() {
    let text = |otlp: &str| format!("{FILE}[telemetry]\notlp = \"{otlp}\"\n");
    let otlp = |address: &str| checked(&text(address), &algolia()).0.telemetry.otlp;
    assert_eq!(checked(FILE, &algolia()).0.telemetry.otlp, None);
    assert_eq!(otlp("http://collector:4317").as_deref(), Some("http://collector:4317"));
    assert_eq!(otlp("http://[::1]:4317/").as_deref(), Some("http://[::1]:4317/"));
    for wrong in [
        "collector:4317",
        "https://collector:4317",
        "http://collector",
        "http://c:4317/v1/traces",
        "http://:1",
    ] {
        let expected = format!(
            "5:8 telemetry.otlp: {wrong:?} is not the address of a collector (where a collector takes OTLP over gRPC, \
             such as \"http://127.0.0.1:4317\")"
        );
        assert_eq!(told(&text(wrong), &algolia()), [expected]);
    }
    let [secret] = &told(&text("http://user:SECRET@c:4317"), &algolia())[..] else { panic!("one error") };
    assert!(secret.contains("holds credentials") && !secret.contains("SECRET"), "{secret}");
}

/// The admin API has no port unless it is told one, and never the producers'.
#[test]
fn the_admin_port_is_its_own() {
    let admin = |listen: &str| checked(&format!("{FILE}[listen]\n{listen}"), &algolia()).0.listen.admin;
    assert_eq!(admin(""), None);
    assert_eq!(admin("admin = \"127.0.0.1:9601\""), Some("127.0.0.1:9601".parse().unwrap()));
    assert_eq!(admin("grpc = \"[::1]:0\"\nadmin = \"[::1]:0\""), Some("[::1]:0".parse().unwrap()));
    let expected = [
        r#"5:9 listen.admin: "127.0.0.1:50051" is the address of listen.grpc (an address and a port of its own)"#,
    ];
    assert_eq!(told(&format!("{FILE}[listen]\nadmin = \"127.0.0.1:50051\""), &algolia()), expected);
}

#[test]
fn bounds_of_dead_letters_are_checked() {
    let text =
        format!("{FILE}dead_letters = {{ bytes_max = \"1KiB\", age_max = \"30d\", age_mx = \"1h\" }}\n");
    let expected = [
        r#"4:30 destinations.out.dead_letters.bytes_max: "1KiB" is out of range (a size from 1MiB to 1TiB, such as "512KiB", "1MiB", "20GiB" or a number of bytes)"#,
        r#"4:48 destinations.out.dead_letters.age_max: "30d" is not a duration (a duration from 1s to 87600h, such as "200ms", "1.5s", "1m30s" or "24h")"#,
        "4:55 destinations.out.dead_letters.age_mx: unknown key (did you mean `age_max`?)",
    ];
    assert_eq!(told(&text, &algolia()), expected);
}

#[test]
fn every_syntax_error_is_told_and_nothing_else() {
    let errors = errors("a = \nb = 1\nc == 2\nunknown = 1\nd = [1,,2]\n", &algolia());
    assert!(errors.errors.iter().all(|problem| problem.key == "not TOML"), "{errors}");
    let lines: Vec<_> = errors.errors.iter().filter_map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 3, 5], "one a line: {errors}");
    assert!(told("a = 1\na = 2", &algolia())[0].contains("duplicate key"));
}

/// What an operator sees: file, line, column, the line itself and what is accepted.
#[test]
fn errors_are_shown_with_their_lines() {
    let text = format!("{FILE}attempts_max = 0\nrequest_max = 2\n");
    let expected = "\
error: destinations.out.attempts_max: 0 is out of range
 --> agent.toml:4:16
  |
4 | attempts_max = 0
  |                ^
  |
  = help: an integer from 1 to 1000

error: destinations.out.request_max: unknown key
 --> agent.toml:5:1
  |
5 | request_max = 2
  | ^^^^^^^^^^^
  |
  = help: did you mean `requests_max`?

2 errors
";
    let errors = errors(&text, &algolia());
    assert_eq!(errors.render(false), expected);
    assert!(errors.render(true).contains("\u{1b}["));
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(json["file"], "agent.toml");
    let expected = serde_json::json!({
        "line": 4, "column": 16, "key": "destinations.out.attempts_max", "value": "0",
        "message": "0 is out of range", "accepted": "an integer from 1 to 1000",
    });
    assert_eq!(json["errors"][0], expected);
}

/// G10: whatever stands where a secret belongs, or was not understood, is never shown: not in the words, not in the
/// quoted line, not as data, not by Debug. Each text has `SECRET` in it.
#[test]
fn secrets_are_never_shown() {
    let destination = "[destinations.d]\ntype = \"algolia\"\napp_id = { env = \"APP\" }\n";
    for line in [
        "api_key = \"SECRET\"",
        "api_key = { value = \"SECRET\" }",
        "api_key = { env = \"KEY\", file = \"SECRET\" }",
        "api_key = { env = \"7SECRET\" }",
        "api_key = [\"SECRET\"]",
        "api_key = 5ECRET",
        "api_key = 5_137",
        "apikey = \"SECRET\"",
        "unheard_of = { a = [{ b = \"SECRET\" }] }",
        "api_key = { file = \"/run/key\" }\nauth = { api_key = \"SECRET\" }",
        "hosts = [\"https://user:SECRET@host\"]",
        "api_key = \"SECRET",
        "api_key = \"SECRET\" junk",
        "api_key = 'SECRET' = 3",
        "api_key = { env = \"SPACED\" }",
    ] {
        let environment = with(&[("APP", "SECRET-APP"), ("KEY", "SECRET-KEY"), ("SPACED", "SECRET KEY")]);
        let errors = errors(&format!("{destination}{line}\n"), &environment);
        let json = serde_json::to_string(&errors).unwrap();
        for shown in [errors.render(false), errors.render(true), json, format!("{errors:?}")] {
            let shows = ["SECRET", "5ECRET", "5_137", "5137"].iter().any(|secret| shown.contains(secret));
            assert!(!shows, "{line}: {shown}");
        }
    }
    let inline = "destinations = { d = { type = \"alg\", api_key = \"SECRET\" } }";
    assert!(!errors(inline, &algolia()).to_string().contains("SECRET"));

    let (config, _) = checked(&format!("{destination}api_key = {{ file = \"/run/key\" }}\n"), &algolia());
    assert!(!format!("{config:?}").contains("SECRET"));
    assert!(format!("{config:?}").contains("/run/key"), "the source is shown");
}

#[test]
fn a_literal_secret_is_refused_with_the_reason() {
    let text =
        "[destinations.d]\ntype = \"algolia\"\napp_id = \"ABC\"\napi_key = { file = \"/run/empty\" }\n";
    let expected = [
        "3:10 destinations.d.app_id: must not stand in the config itself, which is copied, logged and kept in \
         repositories ({ env = \"NAME\" } or { file = \"PATH\" })",
        "4:20 destinations.d.api_key.file: \"/run/empty\" holds nothing (a secret)",
    ];
    assert_eq!(told(text, &algolia()), expected);
}

#[test]
fn two_file_destinations_do_not_share_a_directory() {
    let text = format!("{FILE}[destinations.zwei]\ntype = \"file\"\ndir = \"/srv/x/../out\"\n");
    let expected = "6:7 destinations.zwei.dir: \"/srv/x/../out\" is the directory of destinations.out.dir \
                    (a directory for each file destination)";
    assert_eq!(told(&text, &algolia()), [expected]);
}

#[test]
fn a_config_without_a_destination_is_refused() {
    let expected = "1:1 destinations: missing (at least one [destinations.NAME])";
    assert_eq!(told("[listen]\n", &algolia()), [expected]);
}

#[test]
fn without_a_file_two_variables_choose_algolia() {
    let loaded = load(None, &with(&[("ALGOLIA_APP_ID", "A"), ("ALGOLIA_API_KEY", "K")])).unwrap();
    assert_eq!(loaded.source, Source::BuiltInAlgolia);
    let [algolia] = &loaded.config.destinations[..] else { panic!("one destination") };
    assert!(matches!(&algolia.kind, Kind::Algolia(settings) if settings.api_key.expose() == "K"));
    assert_eq!((&*algolia.name, loaded.config.default_destinations.len()), ("algolia", 1));

    let loaded = load(None, &with(&[("ALGOLIA_APP_ID", "")])).unwrap();
    assert_eq!(loaded.source, Source::BuiltInFiles);
    let [files] = &loaded.config.destinations[..] else { panic!("one destination") };
    assert!(
        matches!(&files.kind, Kind::File(settings) if settings.dir == Path::new("./sync-agent-data/out"))
    );

    let errors = load(None, &with(&[("ALGOLIA_APP_ID", "A")])).unwrap_err();
    assert_eq!(errors.errors.len(), 1);
    assert!(errors.to_string().contains("\"ALGOLIA_API_KEY\" is unset"), "{errors}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let errors = load(Some(Path::new("/nowhere/agent.toml")), &algolia()).unwrap_err();
    assert!(errors.to_string().contains("/nowhere/agent.toml: cannot be read"), "{errors}");
}

/// The variables of the replaced system win over the file, for every destination.
#[test]
fn variables_override_the_file_and_tell_what_they_became() {
    let environment = with(&[
        ("GRPC_PORT", ":6000"),
        ("SYNCER_WORKER_COUNT", "20"),
        ("SYNCER_BATCH_SIZE", "500"),
        ("SYNCER_BATCH_TIMEOUT", "1.5s"),
        ("SYNCER_QUEUE_SIZE", "10000"),
        ("SYNCER_MAX_RETRY", "3"),
        ("SYNCER_INITIAL_BACKOFF", "1m"),
    ]);
    let (config, overrides) =
        checked(&format!("{FILE}requests_max = 1\n[listen]\ngrpc = \"127.0.0.1:1\"\n"), &environment);
    let destination = &config.destinations[0];
    assert_eq!(config.listen.grpc.to_string(), "[::]:6000");
    assert_eq!((destination.requests_max, destination.batch.operations_max), (20, 500));
    assert_eq!((destination.batch.linger, destination.attempts_max), (Duration::from_millis(1_500), 3));
    let minute = Duration::from_secs(60);
    assert_eq!(destination.backoff, Backoff { min: minute, max: minute });
    let told: Vec<String> =
        overrides.iter().map(|o| format!("{}={}: {}", o.variable, o.value, o.became)).collect();
    let expected = [
        "GRPC_PORT=:6000: listen.grpc = [::]:6000: every address, IPv4 and IPv6",
        "SYNCER_WORKER_COUNT=20: requests_max = 20 of every destination (checked and shown; one batch is in flight \
         for now)",
        "SYNCER_BATCH_SIZE=500: batch.operations_max = 500 of every destination",
        "SYNCER_BATCH_TIMEOUT=1.5s: batch.linger = 1s500ms of every destination",
        "SYNCER_QUEUE_SIZE=10000: nothing: the queue is on disk, and data.disk_bytes_max = 20GiB bounds it",
        "SYNCER_MAX_RETRY=3: attempts_max = 3 of every destination",
        "SYNCER_INITIAL_BACKOFF=1m: backoff.min = 1m of every destination",
    ];
    assert_eq!(told, expected);
}

#[test]
fn invalid_variables_are_errors_beside_those_of_the_file() {
    let environment = with(&[
        ("GRPC_PORT", ":http"),
        ("SYNCER_WORKER_COUNT", "0"),
        ("SYNCER_BATCH_SIZE", "1e3"),
        ("SYNCER_BATCH_TIMEOUT", "2"),
        ("SYNCER_QUEUE_SIZE", "-1"),
        ("SYNCER_MAX_RETRY", "+5"),
        ("SYNCER_INITIAL_BACKOFF", "-1s"),
    ]);
    let told = told(&format!("{FILE}attempts_max = 0\n"), &environment);
    let keys: Vec<&str> = told.iter().filter_map(|told| told.split(": ").next()).collect();
    let expected = [
        "4:16 destinations.out.attempts_max",
        "GRPC_PORT",
        "SYNCER_WORKER_COUNT",
        "SYNCER_BATCH_SIZE",
        "SYNCER_BATCH_TIMEOUT",
        "SYNCER_QUEUE_SIZE",
        "SYNCER_MAX_RETRY",
        "SYNCER_INITIAL_BACKOFF",
    ];
    assert_eq!(keys, expected);
    assert_eq!(told[1], "GRPC_PORT: \":http\" is not a port (\":50051\" or \"50051\", from 1 to 65535)");
    assert_eq!(told[2], "SYNCER_WORKER_COUNT: \"0\" is out of range (an integer from 1 to 1000)");
}

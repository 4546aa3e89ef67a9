//! What the agent would do with a config, in the config's own words: as text for people, as JSON for programs.
//!
//! Secrets appear by their source only.

use std::{fmt::Write, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

use super::output::{HEADING, NAME, WARNING, styled};
use crate::config::{
    AlgoliaSettings, Config, Destination, ElasticsearchAuth, ElasticsearchSettings, Kind, Loaded,
    NonIdempotent, OnBacklogFull, Override, PartialUpdates, Secret, SecretSource, Transform, show_duration,
    show_size,
};
use crate::transform::Digest;

/// The plan; as JSON its keys are those of the config file.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    source: String,
    warnings: Vec<String>,
    listen: Rows,
    data: Rows,
    limits: Rows,
    #[serde(serialize_with = "by_name")]
    destinations: Vec<(Arc<str>, Rows)>,
    #[serde(serialize_with = "by_name")]
    transforms: Vec<(Arc<str>, Rows)>,
    indexes: Vec<Rule>,
    defaults: Rows,
    environment: Vec<Override>,
}

#[derive(Debug, Serialize)]
struct Rule {
    r#match: String,
    destinations: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transform: Option<String>,
}

/// Keys with their values, in an order for people.
#[derive(Debug)]
struct Rows(Vec<(&'static str, Setting)>);

/// A value: sizes are bytes in JSON, durations are in the config's notation in both.
#[derive(Debug)]
enum Setting {
    Size(u64),
    Count(u64),
    Flag(bool),
    Text(String),
    Names(Vec<String>),
}

impl Plan {
    /// The plan of a checked config.
    pub(super) fn new(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        let admin = config.listen.admin.map_or("none".to_owned(), |address| address.to_string());
        let listen = Rows(vec![("grpc", Setting::text(config.listen.grpc)), ("admin", Setting::Text(admin))]);
        let data = Rows(vec![
            ("dir", Setting::text(config.data.dir.display())),
            ("disk_bytes_max", Setting::Size(config.data.disk_bytes_max)),
            ("segment_bytes", Setting::Size(config.data.segment_bytes)),
            ("retention.age", Setting::duration(config.data.retention.age)),
            ("retention.bytes_max", Setting::Size(config.data.retention.bytes_max)),
        ]);
        let rule = |rule: &crate::config::IndexRule| Rule {
            r#match: rule.pattern.clone(),
            destinations: owned(&rule.destinations),
            transform: rule.transform.as_ref().map(ToString::to_string),
        };
        Self {
            source: loaded.source.to_string(),
            warnings: warnings(config),
            listen,
            data,
            limits: limits(config),
            destinations: config.destinations.iter().map(|d| (d.name.clone(), destination(d))).collect(),
            transforms: config.transforms.iter().map(|t| (t.name.clone(), transform(t))).collect(),
            indexes: config.indexes.iter().map(rule).collect(),
            defaults: Rows(vec![("destinations", Setting::names(&config.default_destinations))]),
            environment: loaded.overrides.clone(),
        }
    }

    /// The plan for people, styled.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{} {}\n", styled(HEADING, "config"), self.source);
        for warning in &self.warnings {
            let _ = writeln!(text, "{} {warning}", styled(WARNING, "warning:"));
        }
        section(&mut text, "listen", self.listen.shown());
        section(&mut text, "data", self.data.shown());
        section(&mut text, "limits", self.limits.shown());
        for (name, rows) in &self.destinations {
            section(&mut text, &format!("destinations.{name}"), rows.shown());
        }
        for (name, rows) in &self.transforms {
            section(&mut text, &format!("transforms.{name}"), rows.shown());
        }
        let rule = |rule: &Rule| {
            let destinations = rule.destinations.join(", ");
            let through = rule.transform.as_ref().map(|transform| format!("{transform} -> {destinations}"));
            (rule.r#match.clone(), through.unwrap_or(destinations))
        };
        let every_other = if self.indexes.is_empty() { "every index" } else { "every other index" };
        let default = self.defaults.shown().map(|(_, names)| (every_other.to_owned(), names));
        section(&mut text, "indexes, the first match wins", self.indexes.iter().map(rule).chain(default));
        if !self.environment.is_empty() {
            let became = |o: &Override| (format!("{}={}", o.variable, o.value), o.became.clone());
            section(&mut text, "environment, wins over the file", self.environment.iter().map(became));
        }
        text
    }
}

impl Rows {
    fn shown(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|(key, setting)| ((*key).to_owned(), setting.shown()))
    }
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, setting)| (key, setting)))
    }
}

impl Setting {
    fn text(value: impl ToString) -> Self {
        Self::Text(value.to_string())
    }

    fn names(names: &[Arc<str>]) -> Self {
        Self::Names(owned(names))
    }

    fn size(bytes: usize) -> Self {
        Self::Size(bytes as u64)
    }

    fn count(count: usize) -> Self {
        Self::Count(count as u64)
    }

    fn duration(duration: Duration) -> Self {
        Self::Text(show_duration(duration))
    }

    fn secret(secret: &Secret) -> Self {
        match &secret.source {
            SecretSource::Env(name) => Self::Text(format!("from the environment variable {name}")),
            SecretSource::File(path) => Self::Text(format!("from the file {}", path.display())),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Size(bytes) => show_size(*bytes),
            Self::Count(count) => count.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Text(text) => text.clone(),
            Self::Names(names) => names.join(", "),
        }
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Size(number) | Self::Count(number) => serializer.serialize_u64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

fn owned(names: &[Arc<str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if !config.listen.grpc.ip().is_loopback() {
        let address = config.listen.grpc;
        warnings
            .push(format!("{address} is open to everyone who can reach it: the port asks for no password"));
    }
    if let Some(address) = config.listen.admin.filter(|address| !address.ip().is_loopback()) {
        warnings.push(format!(
            "{address} takes the admin token in the clear: reach it by a tunnel, or put TLS before it"
        ));
    }
    for destination in &config.destinations {
        match &destination.kind {
            Kind::Algolia(AlgoliaSettings { insecure: true, .. })
            | Kind::Elasticsearch(ElasticsearchSettings { insecure: true, .. }) => {
                let name = &destination.name;
                warnings.push(format!("destinations.{name} may send keys and records in the clear"));
            }
            Kind::Algolia(_) | Kind::Elasticsearch(_) | Kind::File(_) => {}
        }
    }
    for Transform { name, .. } in &config.transforms {
        if !config.indexes.iter().any(|rule| rule.transform.as_ref() == Some(name)) {
            warnings.push(format!("transforms.{name} runs on nothing: no index rule names it"));
        }
    }
    warnings
}

fn elasticsearch(settings: &ElasticsearchSettings) -> Vec<(&'static str, Setting)> {
    let mut rows =
        vec![("type", Setting::text("elasticsearch")), ("nodes", Setting::Names(settings.nodes.clone()))];
    rows.extend(match &settings.auth {
        ElasticsearchAuth::None => vec![("auth", Setting::text("none"))],
        ElasticsearchAuth::Basic { user, password } => {
            vec![("auth.basic.user", Setting::text(user)), ("auth.basic.password", Setting::secret(password))]
        }
        ElasticsearchAuth::ApiKey(key) => vec![("auth.api_key", Setting::secret(key))],
        ElasticsearchAuth::Bearer(token) => vec![("auth.bearer", Setting::secret(token))],
    });
    let mozilla = || Setting::text("Mozilla's list");
    let ca_file = settings.ca_file.as_ref().map_or_else(mozilla, |file| Setting::text(file.path.display()));
    let partial_updates = match settings.partial_updates {
        PartialUpdates::Script => "script",
        PartialUpdates::DeepMerge => "deep_merge",
    };
    rows.extend([
        ("ca_file", ca_file),
        ("insecure", Setting::Flag(settings.insecure)),
        ("gzip", Setting::Flag(settings.gzip)),
        ("partial_updates", Setting::text(partial_updates)),
    ]);
    rows
}

fn limits(config: &Config) -> Rows {
    let limits = &config.limits;
    let non_idempotent = match limits.non_idempotent_operations {
        NonIdempotent::Refuse => "refuse",
        NonIdempotent::Allow => "allow",
    };
    Rows(vec![
        ("record_bytes_max", Setting::size(limits.record_bytes_max)),
        ("request_bytes_max", Setting::size(limits.request_bytes_max)),
        ("request_records_max", Setting::count(limits.request_records_max)),
        ("indexes_max", Setting::count(limits.indexes_max)),
        ("non_idempotent_operations", Setting::text(non_idempotent)),
        ("connections_max", Setting::count(limits.connections_max)),
        ("connection_requests_max", Setting::Count(limits.connection_requests_max.into())),
        ("decoding_bytes_max", Setting::size(limits.decoding_bytes_max)),
        ("receive_timeout", Setting::duration(limits.receive_timeout)),
        ("transforms_bytes_max", Setting::size(limits.transforms_bytes_max)),
    ])
}

fn destination(destination: &Destination) -> Rows {
    let mut rows = match &destination.kind {
        Kind::Algolia(settings) => vec![
            ("type", Setting::text("algolia")),
            ("app_id", Setting::secret(&settings.app_id)),
            ("api_key", Setting::secret(&settings.api_key)),
            (
                "hosts",
                match settings.hosts.as_slice() {
                    [] => Setting::text("Algolia's own"),
                    hosts => Setting::Names(hosts.to_vec()),
                },
            ),
            ("insecure", Setting::Flag(settings.insecure)),
            ("gzip", Setting::Flag(settings.gzip)),
        ],
        Kind::Elasticsearch(settings) => elasticsearch(settings),
        Kind::File(settings) => vec![
            ("type", Setting::text("file")),
            ("dir", Setting::text(settings.dir.display())),
            ("rotate.bytes", Setting::Size(settings.rotate_bytes)),
            ("rotate.age", Setting::duration(settings.rotate_age)),
        ],
    };
    let rate_limit = destination.rate_limit;
    rows.extend([
        ("index", Setting::text(&destination.index_names)),
        ("batch.operations_max", Setting::count(destination.batch.operations_max)),
        ("batch.bytes_max", Setting::size(destination.batch.bytes_max)),
        ("batch.linger", Setting::duration(destination.batch.linger)),
        ("requests_max", Setting::count(destination.requests_max)),
        (
            "rate_limit.operations_per_second",
            rate_limit.operations_per_second.map_or(Setting::text("none"), |max| Setting::Count(max.into())),
        ),
        (
            "rate_limit.bytes_per_second",
            rate_limit.bytes_per_second.map_or(Setting::text("none"), Setting::Size),
        ),
        ("timeout", Setting::duration(destination.timeout)),
        ("backoff.min", Setting::duration(destination.backoff.min)),
        ("backoff.max", Setting::duration(destination.backoff.max)),
        ("attempts_max", Setting::Count(destination.attempts_max.into())),
        ("backlog_bytes_max", Setting::Size(destination.backlog_bytes_max)),
        (
            "on_backlog_full",
            Setting::text(match destination.on_backlog_full {
                OnBacklogFull::Refuse => "refuse",
                OnBacklogFull::Detach => "detach",
            }),
        ),
        ("dead_letters.bytes_max", Setting::Size(destination.dead_letters.bytes_max)),
        (
            "dead_letters.age_max",
            destination.dead_letters.age_max.map_or(Setting::text("none"), Setting::duration),
        ),
    ]);
    Rows(rows)
}

fn transform(transform: &Transform) -> Rows {
    let any = || Setting::text("any");
    let hex = |digest: [u8; 32]| Setting::text(Digest(digest));
    Rows(vec![
        ("path", Setting::text(transform.path.display())),
        ("sha256", transform.sha256.map_or_else(any, hex)),
        ("config", Setting::text(&transform.config)),
        ("cpu_ms_max", Setting::Count(u64::try_from(transform.cpu_max.as_millis()).unwrap_or(u64::MAX))),
        ("memory_bytes_max", Setting::size(transform.memory_bytes_max)),
    ])
}

/// A heading and its rows, with the values in one column.
fn section(text: &mut String, heading: &str, rows: impl Iterator<Item = (String, String)>) {
    let _ = writeln!(text, "\n{}", styled(HEADING, heading));
    for (key, value) in rows {
        let gap = " ".repeat(34_usize.saturating_sub(key.chars().count()).max(1));
        let _ = writeln!(text, "  {}{gap}{value}", styled(NAME, key));
    }
}

fn by_name<S: Serializer>(destinations: &[(Arc<str>, Rows)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(destinations.iter().map(|(name, rows)| (&**name, rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FixedEnvironment, load};

    fn plan(text: &str, variables: &[(&'static str, &'static str)]) -> Plan {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, text).unwrap();
        let mut loaded = load(Some(&file), &FixedEnvironment::new(variables, &[])).unwrap();
        loaded.source = crate::config::Source::File("agent.toml".into());
        Plan::new(&loaded)
    }

    const CONFIG: &str = r#"
        [destinations.search]
        type = "algolia"
        app_id = { env = "APP" }
        api_key = { env = "KEY" }
        hosts = ["http://fake:9201"]
        insecure = true
        [destinations.archive]
        type = "file"
        dir = "./out"
        [defaults]
        destinations = ["search"]
        [[indexes]]
        match = "products*"
        destinations = ["search", "archive"]
        transform = "redact"
        [transforms.redact]
        path = "transforms/redact.wasm"
        config = { fields = ["email"] }
        [transforms.spare]
        path = "spare.wasm"
        sha256 = "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
    "#;
    const VARIABLES: [(&str, &str); 3] = [("APP", "SECRET"), ("KEY", "SECRET"), ("GRPC_PORT", ":50051")];

    /// The whole plan, word by word; the secrets' values are not in it (G10).
    #[test]
    fn the_plan_is_shown_in_the_words_of_the_config() {
        let expected = "\
config agent.toml
warning: [::]:50051 is open to everyone who can reach it: the port asks for no password
warning: destinations.search may send keys and records in the clear
warning: transforms.spare runs on nothing: no index rule names it

listen
  grpc                              [::]:50051
  admin                             none

data
  dir                               ./sync-agent-data
  disk_bytes_max                    20GiB
  segment_bytes                     128MiB
  retention.age                     24h
  retention.bytes_max               5GiB

limits
  record_bytes_max                  1MiB
  request_bytes_max                 4MiB
  request_records_max               10000
  indexes_max                       1000
  non_idempotent_operations         refuse
  connections_max                   1024
  connection_requests_max           128
  decoding_bytes_max                64MiB
  receive_timeout                   10s
  transforms_bytes_max              512MiB

destinations.archive
  type                              file
  dir                               ./out
  rotate.bytes                      128MiB
  rotate.age                        1h
  index                             {index}
  batch.operations_max              5000
  batch.bytes_max                   8MiB
  batch.linger                      200ms
  requests_max                      10
  rate_limit.operations_per_second  none
  rate_limit.bytes_per_second       none
  timeout                           30s
  backoff.min                       200ms
  backoff.max                       30s
  attempts_max                      5
  backlog_bytes_max                 10GiB
  on_backlog_full                   detach
  dead_letters.bytes_max            1GiB
  dead_letters.age_max              none

destinations.search
  type                              algolia
  app_id                            from the environment variable APP
  api_key                           from the environment variable KEY
  hosts                             http://fake:9201
  insecure                          true
  gzip                              true
  index                             {index}
  batch.operations_max              1000
  batch.bytes_max                   8MiB
  batch.linger                      200ms
  requests_max                      10
  rate_limit.operations_per_second  none
  rate_limit.bytes_per_second       none
  timeout                           30s
  backoff.min                       200ms
  backoff.max                       30s
  attempts_max                      5
  backlog_bytes_max                 10GiB
  on_backlog_full                   refuse
  dead_letters.bytes_max            1GiB
  dead_letters.age_max              none

transforms.redact
  path                              transforms/redact.wasm
  sha256                            any
  config                            {\"fields\":[\"email\"]}
  cpu_ms_max                        250
  memory_bytes_max                  64MiB

transforms.spare
  path                              spare.wasm
  sha256                            0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  config                            {}
  cpu_ms_max                        250
  memory_bytes_max                  64MiB

indexes, the first match wins
  products*                         redact -> search, archive
  every other index                 search

environment, wins over the file
  GRPC_PORT=:50051                  listen.grpc = [::]:50051: every address, IPv4 and IPv6
";
        let text = plan(CONFIG, &VARIABLES).to_text();
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }

    #[test]
    fn the_plan_as_json_has_the_keys_of_the_config() {
        let json = serde_json::to_value(plan(CONFIG, &VARIABLES)).unwrap();
        assert_eq!(json["source"], "agent.toml");
        assert_eq!(json["data"]["disk_bytes_max"], 20_u64 << 30);
        assert_eq!(json["destinations"]["search"]["api_key"], "from the environment variable KEY");
        assert_eq!(json["destinations"]["archive"]["batch.linger"], "200ms");
        let rule = serde_json::json!({ "match": "products*", "destinations": ["search", "archive"], "transform": "redact" });
        assert_eq!(json["indexes"][0], rule);
        assert_eq!(json["defaults"]["destinations"], serde_json::json!(["search"]));
        assert_eq!(json["environment"][0]["key"], "listen.grpc");
        assert_eq!(json["transforms"]["redact"]["path"], "transforms/redact.wasm");
        assert_eq!(json["transforms"]["redact"]["memory_bytes_max"], 64 << 20);
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(3));
        assert!(!json.to_string().contains("SECRET"));
    }
}

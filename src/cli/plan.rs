//! What the agent would do with a config, in the config's own words: as text for people, as JSON for programs.
//!
//! Secrets appear by their source only.

use std::{fmt::Write, sync::Arc};

use serde::{Serialize, Serializer};

use super::output::{HEADING, NAME, WARNING, styled};
use crate::config::{
    self, Loaded, Override, Permission,
    listing::{self, Rows},
};

/// The plan; as JSON its keys are those of the config file.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    source: String,
    warnings: Vec<String>,
    listen: Rows,
    data: Rows,
    limits: Rows,
    telemetry: Rows,
    permissions: Vec<Permitted>,
    #[serde(serialize_with = "by_name")]
    destinations: Vec<(Arc<str>, Rows)>,
    #[serde(serialize_with = "by_name")]
    transforms: Vec<(Arc<str>, Rows)>,
    indexes: Vec<Rule>,
    defaults: Rows,
    environment: Vec<Override>,
}

#[derive(Debug, Serialize)]
struct Permitted {
    caller: String,
    indexes: Vec<String>,
    actions: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Rule {
    r#match: String,
    destinations: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transform: Option<String>,
}

impl Plan {
    /// The plan of a checked config.
    pub(super) fn new(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        let rule = |rule: &crate::config::IndexRule| Rule {
            r#match: rule.pattern.clone(),
            destinations: rule.destinations.iter().map(ToString::to_string).collect(),
            transform: rule.transform.as_ref().map(ToString::to_string),
        };
        let permitted = |permission: &Permission| Permitted {
            caller: permission.caller.to_string(),
            indexes: permission.indexes.iter().map(ToString::to_string).collect(),
            actions: permission.actions.iter().map(|action| action.as_str()).collect(),
        };
        Self {
            source: loaded.source.to_string(),
            warnings: config::warnings(config),
            listen: listing::listen(config),
            data: listing::data(config),
            limits: listing::limits(config),
            telemetry: listing::telemetry(config),
            permissions: config.permissions.iter().map(permitted).collect(),
            destinations: config
                .destinations
                .iter()
                .map(|d| (d.name.clone(), listing::destination(d)))
                .collect(),
            transforms: config.transforms.iter().map(|t| (t.name.clone(), listing::transform(t))).collect(),
            indexes: config.indexes.iter().map(rule).collect(),
            defaults: listing::defaults(config),
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
        section(&mut text, "telemetry", self.telemetry.shown());
        if !self.permissions.is_empty() {
            let permitted = |permitted: &Permitted| {
                let may = format!("{} in {}", permitted.actions.join(", "), permitted.indexes.join(", "));
                (permitted.caller.clone(), may)
            };
            section(
                &mut text,
                "permissions, nothing else is allowed",
                self.permissions.iter().map(permitted),
            );
        }
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

/// A heading and its rows, with the values in one column.
fn section(text: &mut String, heading: &str, rows: impl Iterator<Item = (String, String)>) {
    let _ = writeln!(text, "\n{}", styled(HEADING, heading));
    for (key, value) in rows {
        let gap = " ".repeat(39_usize.saturating_sub(key.chars().count()).max(1));
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
warning: whoever reaches [::]:50051 may do everything to every index: no [[permissions]] say who may do what
warning: destinations.search may send keys and records in the clear
warning: transforms.spare runs on nothing: no index rule names it

listen
  grpc                                   [::]:50051
  http                                   127.0.0.1:9600
  admin                                  none
  trust_xfcc                             false

data
  dir                                    ./sync-agent-data
  disk_bytes_max                         20GiB
  segment_bytes                          128MiB
  retention.age                          24h
  retention.bytes_max                    5GiB

limits
  record_bytes_max                       1MiB
  request_bytes_max                      4MiB
  request_records_max                    10000
  indexes_max                            1000
  non_idempotent_operations              refuse
  connections_max                        1024
  connection_requests_max                128
  decoding_bytes_max                     64MiB
  receive_timeout                        10s
  transforms_bytes_max                   512MiB
  caller_rate_limit.requests_per_second  none
  caller_rate_limit.bytes_per_second     none

telemetry
  otlp                                   none

destinations.archive
  type                                   file
  dir                                    ./out
  rotate.bytes                           128MiB
  rotate.age                             1h
  from                                   now
  index                                  {index}
  batch.operations_max                   5000
  batch.bytes_max                        8MiB
  batch.linger                           200ms
  requests_max                           10
  rate_limit.operations_per_second       none
  rate_limit.bytes_per_second            none
  timeout                                30s
  backoff.min                            200ms
  backoff.max                            30s
  attempts_max                           5
  backlog_bytes_max                      10GiB
  on_backlog_full                        detach
  dead_letters.bytes_max                 1GiB
  dead_letters.age_max                   none

destinations.search
  type                                   algolia
  app_id                                 from the environment variable APP
  api_key                                from the environment variable KEY
  hosts                                  http://fake:9201
  insecure                               true
  gzip                                   true
  from                                   now
  index                                  {index}
  batch.operations_max                   1000
  batch.bytes_max                        8MiB
  batch.linger                           200ms
  requests_max                           10
  rate_limit.operations_per_second       none
  rate_limit.bytes_per_second            none
  timeout                                30s
  backoff.min                            200ms
  backoff.max                            30s
  attempts_max                           5
  backlog_bytes_max                      10GiB
  on_backlog_full                        refuse
  dead_letters.bytes_max                 1GiB
  dead_letters.age_max                   none

transforms.redact
  path                                   transforms/redact.wasm
  sha256                                 any
  config                                 {\"fields\":[\"email\"]}
  cpu_ms_max                             250
  memory_bytes_max                       64MiB

transforms.spare
  path                                   spare.wasm
  sha256                                 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  config                                 {}
  cpu_ms_max                             250
  memory_bytes_max                       64MiB

indexes, the first match wins
  products*                              redact -> search, archive
  every other index                      search

environment, wins over the file
  GRPC_PORT=:50051                       listen.grpc = [::]:50051: every address, IPv4 and IPv6
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

    /// Where callers' names come from is said where it lets anybody be somebody, or where nobody ever is.
    #[test]
    fn names_that_mean_nothing_are_warned_of() {
        let rules = "[[permissions]]\ncaller = \"spiffe://shop\"\nindexes = [\"*\"]\n";
        let warned = |keys: &str| {
            let warnings = plan(&format!("{keys}{rules}{CONFIG}"), &VARIABLES).warnings;
            warnings.into_iter().filter(|warning| warning.contains("name")).collect::<Vec<_>>()
        };
        assert!(warned("")[0].contains("nobody has a name"));
        assert!(warned("[listen]\ntrust_xfcc = true\n")[0].contains("past the sidecar can name anybody"));
    }
}

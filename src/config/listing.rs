//! The values of a checked config by their keys, in the config's own words: what is shown of it, and what is compared.
//!
//! Secrets appear by their source only.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

use super::{
    checked::{
        ClientAuth, Config, Destination, ElasticsearchAuth, ElasticsearchSettings, IndexRule, Kind,
        NonIdempotent, OnBacklogFull, PartialUpdates, Permission, Secret, SecretSource, StartFrom, Transform,
    },
    units::{show_duration, show_size},
};

/// Keys with their values, in an order for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows(Vec<(&'static str, Setting)>);

/// A value: sizes are bytes in JSON, durations are in the config's notation in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Bytes.
    Size(u64),
    /// A number.
    Count(u64),
    /// Yes or no.
    Flag(bool),
    /// Words.
    Text(String),
    /// Names, in their order.
    Names(Vec<String>),
}

/// `[listen]`
#[must_use]
pub fn listen(config: &Config) -> Rows {
    let or = |address: Option<SocketAddr>, none: &str| match address {
        Some(address) => Setting::text(address),
        None => Setting::Text(none.to_owned()),
    };
    let mut rows = vec![
        ("grpc", Setting::text(config.listen.grpc)),
        ("http", or(config.listen.http, "off")),
        ("admin", or(config.listen.admin, "none")),
        ("trust_xfcc", Setting::Flag(config.listen.trust_xfcc)),
    ];
    if let Some(tls) = &config.listen.tls {
        rows.extend([
            ("tls.cert", Setting::text(tls.cert.display())),
            ("tls.key", Setting::text(tls.key.display())),
        ]);
        if let Some(clients) = &tls.clients {
            let auth = match clients.auth {
                ClientAuth::Required => "required",
                ClientAuth::Optional => "optional",
            };
            rows.extend([
                ("tls.client_ca", Setting::text(clients.ca.display())),
                ("tls.client_auth", Setting::text(auth)),
            ]);
        }
    }
    Rows(rows)
}

/// `[data]`
#[must_use]
pub fn data(config: &Config) -> Rows {
    Rows(vec![
        ("dir", Setting::text(config.data.dir.display())),
        ("disk_bytes_max", Setting::Size(config.data.disk_bytes_max)),
        ("segment_bytes", Setting::Size(config.data.segment_bytes)),
        ("retention.age", Setting::duration(config.data.retention.age)),
        ("retention.bytes_max", Setting::Size(config.data.retention.bytes_max)),
    ])
}

/// `[telemetry]`
#[must_use]
pub fn telemetry(config: &Config) -> Rows {
    Rows(vec![("otlp", Setting::text(config.telemetry.otlp.as_deref().unwrap_or("none")))])
}

/// `[defaults]`
#[must_use]
pub fn defaults(config: &Config) -> Rows {
    Rows(vec![("destinations", Setting::names(&config.default_destinations))])
}

/// `[[indexes]]`: what an index's records pass, and where they go.
#[must_use]
pub fn rule(rule: &IndexRule) -> String {
    let destinations = owned(&rule.destinations).join(", ");
    match &rule.transform {
        Some(transform) => format!("{transform} -> {destinations}"),
        None => destinations,
    }
}

/// `[[permissions]]`: what its callers may do to which indexes.
#[must_use]
pub fn permission(permission: &Permission) -> String {
    let actions: Vec<&str> = permission.actions.iter().map(|action| action.as_str()).collect();
    format!("{} in {}", actions.join(", "), owned(&permission.indexes).join(", "))
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

/// `[limits]`
#[must_use]
pub fn limits(config: &Config) -> Rows {
    let limits = &config.limits;
    let rate = limits.caller_rate_limit;
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
        (
            "caller_rate_limit.requests_per_second",
            Setting::or_none(rate.requests_per_second, |max| Setting::Count(max.into())),
        ),
        ("caller_rate_limit.bytes_per_second", Setting::or_none(rate.bytes_per_second, Setting::Size)),
    ])
}

/// `[destinations.NAME]`
#[must_use]
pub fn destination(destination: &Destination) -> Rows {
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
        (
            "from",
            Setting::text(match &destination.from {
                StartFrom::Now => "now".to_owned(),
                StartFrom::Oldest => "oldest".to_owned(),
                StartFrom::Time(time) => time.to_string(),
            }),
        ),
        ("index", Setting::text(&destination.index_names)),
        ("batch.operations_max", Setting::count(destination.batch.operations_max)),
        ("batch.bytes_max", Setting::size(destination.batch.bytes_max)),
        ("batch.linger", Setting::duration(destination.batch.linger)),
        ("requests_max", Setting::count(destination.requests_max)),
        (
            "rate_limit.operations_per_second",
            Setting::or_none(rate_limit.operations_per_second, |max| Setting::Count(max.into())),
        ),
        ("rate_limit.bytes_per_second", Setting::or_none(rate_limit.bytes_per_second, Setting::Size)),
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
        ("dead_letters.age_max", Setting::or_none(destination.dead_letters.age_max, Setting::duration)),
    ]);
    Rows(rows)
}

/// `[transforms.NAME]`
#[must_use]
pub fn transform(transform: &Transform) -> Rows {
    let any = || Setting::text("any");
    let hex = |digest: [u8; 32]| Setting::Text(digest.iter().map(|byte| format!("{byte:02x}")).collect());
    Rows(vec![
        ("path", Setting::text(transform.path.display())),
        ("sha256", transform.sha256.map_or_else(any, hex)),
        ("config", Setting::text(&transform.config)),
        ("cpu_ms_max", Setting::Count(u64::try_from(transform.cpu_max.as_millis()).unwrap_or(u64::MAX))),
        ("memory_bytes_max", Setting::size(transform.memory_bytes_max)),
    ])
}

impl Rows {
    /// Each key with its value, for people.
    pub fn shown(&self) -> impl Iterator<Item = (String, String)> {
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

    fn or_none<T>(value: Option<T>, setting: impl FnOnce(T) -> Self) -> Self {
        value.map_or_else(|| Self::text("none"), setting)
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

    /// For people.
    #[must_use]
    pub fn shown(&self) -> String {
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

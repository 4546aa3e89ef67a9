//! The checked config: what the rest of the agent sees. Every value is within its limits and every name it refers to
//! exists. Defaults, ranges and what takes a restart are declared in [`super::keys`].

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use plugin_api::operation::Action;

pub use super::tls::{ClientAuth, Clients, Tls};

/// A config that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the agent listens.
    pub listen: Listen,
    /// Where it keeps its data and how much.
    pub data: Data,
    /// What one request, and all of them, may take.
    pub limits: Limits,
    /// Whom it tells what it does.
    pub telemetry: Telemetry,
    /// Who may do what to which indexes; empty: everybody everything.
    pub permissions: Vec<Permission>,
    /// Every destination, by name ascending.
    pub destinations: Vec<Destination>,
    /// Every transform, by name ascending; also those that no rule names.
    pub transforms: Vec<Transform>,
    /// The rules in the order of the file; the first that matches decides.
    pub indexes: Vec<IndexRule>,
    /// Names of the destinations of an index that no rule matches; never empty.
    pub default_destinations: Vec<Arc<str>>,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The gRPC port. Port 0 lets the system choose.
    pub grpc: SocketAddr,
    /// The port of `/metrics`, `/healthz` and `/readyz`, which anybody who reaches it may read; none: they are off. Port 0
    /// lets the system choose.
    pub http: Option<SocketAddr>,
    /// The port of the admin API, beside its socket in `data.dir`; by token; none: only the socket. Port 0 lets the system choose.
    pub admin: Option<SocketAddr>,
    /// Whether the rightmost element of `x-forwarded-client-cert` names the caller; never beside `tls`.
    pub trust_xfcc: bool,
    /// TLS of the gRPC port; none: it is plain.
    pub tls: Option<Tls>,
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Holds logs, cursors and dead letters.
    pub dir: PathBuf,
    /// Bytes that the log may use.
    pub disk_bytes_max: u64,
    /// Size of a segment of the log, the unit in which disk is given back; a request must fit into one.
    pub segment_bytes: u64,
    /// `retention`
    pub retention: Retention,
}

/// `retention`: how long what every destination has received is kept, so that a new one can be filled from it. It is
/// given up first when the disk budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// From the last record of a segment on; zero keeps nothing.
    pub age: Duration,
    /// Bytes that are kept.
    pub bytes_max: u64,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one record's JSON.
    pub record_bytes_max: usize,
    /// Bytes of one request on the wire.
    pub request_bytes_max: usize,
    /// Records in one request.
    pub request_records_max: usize,
    /// Distinct index names since the agent started.
    pub indexes_max: usize,
    /// What becomes of Algolia's Increment, Decrement and Add.
    pub non_idempotent_operations: NonIdempotent,
    /// Open connections.
    pub connections_max: usize,
    /// Requests at once on one connection.
    pub connection_requests_max: u32,
    /// Bytes of requests that are being received, decoded and appended, all together.
    pub decoding_bytes_max: usize,
    /// How long a request's headers and body may take to arrive.
    pub receive_timeout: Duration,
    /// Bytes of the live instances of all transforms together; the least recently used ones go above it.
    pub transforms_bytes_max: usize,
    /// `caller_rate_limit`
    pub caller_rate_limit: CallerRateLimit,
}

/// `caller_rate_limit`: what each caller may send, and all those without a name together. Up to a second's share may come
/// at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallerRateLimit {
    /// Requests; none: any number.
    pub requests_per_second: Option<u32>,
    /// Bytes of their messages, uncompressed; none: any number.
    pub bytes_per_second: Option<u64>,
}

/// `[[permissions]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// A caller's name, or a pattern for several.
    pub caller: Arc<str>,
    /// Indexes' names, or patterns for them; at least one.
    pub indexes: Vec<Arc<str>>,
    /// What they may do; at least one.
    pub actions: Vec<Action>,
}

/// `[telemetry]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Where a collector takes OTLP over gRPC, without TLS: it gets the metrics, and the spans of requests that come with a
    /// sampled traceparent.
    pub otlp: Option<String>,
}

/// What becomes of operations that count twice when they are sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonIdempotent {
    /// INVALID_ARGUMENT.
    Refuse,
    /// Accepted; a resend after a lost answer counts twice.
    Allow,
}

/// `[destinations.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The table's name: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub name: Arc<str>,
    /// Its type with the settings of that type.
    pub kind: Kind,
    /// Where it begins if this log has never served it.
    pub from: StartFrom,
    /// `index`: by which name it knows an index.
    pub index_names: IndexNames,
    /// `batch`
    pub batch: BatchLimits,
    /// Batches in flight at most, fewer while the destination struggles.
    pub requests_max: usize,
    /// `rate_limit`
    pub rate_limit: RateLimit,
    /// How long one request may take, before what its size adds.
    pub timeout: Duration,
    /// `backoff`
    pub backoff: Backoff,
    /// Attempts of a single record that alone fails, before it is dead-lettered.
    pub attempts_max: u32,
    /// Bytes of the log that it may be behind, as far as its cursor tells, which is up to a second old.
    pub backlog_bytes_max: u64,
    /// What happens when it is.
    pub on_backlog_full: OnBacklogFull,
    /// `dead_letters`
    pub dead_letters: DeadLetters,
}

impl Destination {
    /// Everything secret that its settings name.
    #[must_use]
    pub fn secrets(&self) -> Vec<&Secret> {
        match &self.kind {
            Kind::Algolia(AlgoliaSettings { app_id, api_key, .. }) => vec![app_id, api_key],
            Kind::Elasticsearch(ElasticsearchSettings { auth, .. }) => match auth {
                ElasticsearchAuth::None => Vec::new(),
                ElasticsearchAuth::Basic { password, .. } => vec![password],
                ElasticsearchAuth::ApiKey(secret) | ElasticsearchAuth::Bearer(secret) => vec![secret],
            },
            Kind::File(_) => Vec::new(),
        }
    }

    /// The certificates that its settings name.
    #[must_use]
    pub fn ca_file(&self) -> Option<&CaFile> {
        match &self.kind {
            Kind::Elasticsearch(elasticsearch) => elasticsearch.ca_file.as_ref(),
            Kind::Algolia(_) | Kind::File(_) => None,
        }
    }
}

/// `from`: where a destination begins that the log has never served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// `now`: with what is accepted from then on.
    #[default]
    Now,
    /// `oldest`: with the oldest record that the log still has.
    Oldest,
    /// With what was accepted at this time or later, such as `2026-01-31T12:00:00Z`.
    Time(jiff::Timestamp),
}

/// The type of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `type = "algolia"`
    Algolia(AlgoliaSettings),
    /// `type = "elasticsearch"`
    Elasticsearch(ElasticsearchSettings),
    /// `type = "file"`
    File(FileSettings),
}

/// `type = "algolia"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgoliaSettings {
    /// The application.
    pub app_id: Secret,
    /// A key that may write to the indexes.
    pub api_key: Secret,
    /// URLs without path, such as `https://host:443`, instead of Algolia's own hosts; empty for these.
    pub hosts: Vec<String>,
    /// Allows plain HTTP to hosts that are not on loopback.
    pub insecure: bool,
    /// Compresses request bodies.
    pub gzip: bool,
}

/// `type = "elasticsearch"`: Elasticsearch or OpenSearch
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticsearchSettings {
    /// URLs without path, such as `https://es-1:9200`: they take turns. At least one.
    pub nodes: Vec<String>,
    /// `auth`.
    pub auth: ElasticsearchAuth,
    /// A PEM file with the authorities that are trusted; none: Mozilla's list, built in.
    pub ca_file: Option<CaFile>,
    /// Allows plain HTTP to nodes that are not on loopback.
    pub insecure: bool,
    /// Compresses request bodies.
    pub gzip: bool,
    /// How partial updates are written.
    pub partial_updates: PartialUpdates,
}

/// `auth`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElasticsearchAuth {
    /// Without credentials.
    None,
    /// `{ basic = { user, password } }`
    Basic {
        /// The user's name, without a colon.
        user: String,
        /// The password.
        password: Secret,
    },
    /// `{ api_key }`: the key as it is given out, base64 of id, colon and key.
    ApiKey(Secret),
    /// `{ bearer }`
    Bearer(Secret),
}

/// `ca_file`, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its text.
    pub pem: Arc<str>,
}

/// `partial_updates`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartialUpdates {
    /// By script: first-level attributes are replaced; what comes late or twice touches nothing newer.
    Script,
    /// As `doc`, for clusters without scripts: objects are merged deeply, and what comes late is applied all the same.
    DeepMerge,
}

/// `type = "file"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Where the files go: outside the log's directory, shared with no other destination.
    pub dir: PathBuf,
    /// A file of this many bytes is rotated.
    pub rotate_bytes: u64,
    /// A file of this age is rotated.
    pub rotate_age: Duration,
}

/// `index`: the names by which a destination knows indexes, such as `{index}_v2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexNames {
    before: Arc<str>,
    after: Arc<str>,
}

impl IndexNames {
    const INDEX: &str = "{index}";

    /// Reads a pattern; `None` unless `{index}` is in it exactly once, or if it could make no name.
    #[must_use]
    pub fn parse(pattern: &str) -> Option<Self> {
        let (before, after) = pattern.split_once(Self::INDEX)?;
        let fits = pattern.len() <= 256 && !pattern.chars().any(char::is_control);
        let names = Self { before: before.into(), after: after.into() };
        (fits && !after.contains(Self::INDEX)).then_some(names)
    }

    /// The destination's name of an index.
    #[must_use]
    pub fn of(&self, index: &Arc<str>) -> Arc<str> {
        if self.before.is_empty() && self.after.is_empty() {
            return index.clone();
        }
        [&*self.before, &**index, &*self.after].concat().into()
    }

    /// What stands before the index's own name, and behind it.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        (&self.before, &self.after)
    }
}

impl fmt::Display for IndexNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.before, Self::INDEX, self.after)
    }
}

/// `batch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Operations.
    pub operations_max: usize,
    /// Bytes; a single operation may be larger and is then sent alone.
    pub bytes_max: usize,
    /// How long a batch that is not full waits for more while another is in flight.
    pub linger: Duration,
}

/// `rate_limit`: what the destination is sent each second, at most. A batch counts whole when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Operations; none: no limit.
    pub operations_per_second: Option<u32>,
    /// Bytes of bodies and names; none: no limit.
    pub bytes_per_second: Option<u64>,
}

/// `backoff`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first delay's upper bound.
    pub min: Duration,
    /// The upper bound of every delay.
    pub max: Duration,
}

/// `dead_letters`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// Bytes that they may take: their records and words, plus about 256 bytes each. At half of it for a single index
    /// `on_backlog_full` decides what becomes of that index; at all of it the destination pauses.
    pub bytes_max: u64,
    /// A letter that is older is deleted; none: none ever is.
    pub age_max: Option<Duration>,
}

/// `on_backlog_full`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBacklogFull {
    /// Ingest is refused until it has caught up.
    Refuse,
    /// The destination is left behind: what it misses becomes a recorded gap, and an operator lets it go on.
    Detach,
}

/// `[transforms.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// The table's name: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub name: Arc<str>,
    /// The module, a WebAssembly component. It is watched: what replaces it serves within seconds.
    pub path: PathBuf,
    /// The SHA-256 that it must have, so that no other is ever run; none: any.
    pub sha256: Option<[u8; 32]>,
    /// `config` as JSON text, an object, handed to the module's `init`; no place for secrets.
    pub config: Arc<str>,
    /// `cpu_ms_max`: CPU time of one call.
    pub cpu_max: Duration,
    /// Memory of one instance.
    pub memory_bytes_max: usize,
}

/// `[[indexes]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRule {
    /// An index name, or a glob: `*` stands for any characters, `?` for one. 1 to 256 bytes, each pattern once.
    pub pattern: String,
    /// Names of destinations; at least one, none twice.
    pub destinations: Vec<Arc<str>>,
    /// The transform that its records pass; none: they are delivered as they came.
    pub transform: Option<Arc<str>>,
}

/// A value that is never shown, with where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: Arc<str>,
    /// Where it came from; this much may be shown.
    pub source: SecretSource,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `{ env = "NAME" }`
    Env(String),
    /// `{ file = "PATH" }`
    File(PathBuf),
}

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<Arc<str>>, source: SecretSource) -> Self {
        Self { value: value.into(), source }
    }

    /// The value itself, for the one who sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.source)
    }
}

//! The checked config: what the rest of the agent sees. Every value is within its limits and every name it refers to
//! exists.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// A config that passed every check.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the agent listens.
    pub listen: Listen,
    /// Where it keeps its data and how much.
    pub data: Data,
    /// What one request, and all of them, may take.
    pub limits: Limits,
    /// Every destination, by name ascending.
    pub destinations: Vec<Destination>,
    /// The rules in the order of the file; the first that matches decides.
    pub indexes: Vec<IndexRule>,
    /// Names of the destinations of an index that no rule matches.
    pub default_destinations: Vec<Arc<str>>,
}

/// `[listen]`
#[derive(Clone, Debug)]
pub struct Listen {
    /// The gRPC port.
    pub grpc: SocketAddr,
}

/// `[data]`
#[derive(Clone, Debug)]
pub struct Data {
    /// Holds logs, cursors and dead letters.
    pub dir: PathBuf,
    /// Bytes that the log may use.
    pub disk_bytes_max: u64,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one record's JSON, inclusive.
    pub record_bytes_max: usize,
    /// Bytes of one request on the wire, inclusive.
    pub request_bytes_max: usize,
    /// Records in one request, inclusive.
    pub request_records_max: usize,
    /// Distinct index names since the data directory was made, inclusive.
    pub indexes_max: usize,
    /// What becomes of Algolia's Increment, Decrement and Add.
    pub non_idempotent_operations: NonIdempotent,
    /// Open connections, inclusive.
    pub connections_max: usize,
    /// Requests at once on one connection, inclusive.
    pub connection_requests_max: u32,
    /// Bytes of requests that are being received, decoded and appended, all together; inclusive.
    pub decoding_bytes_max: usize,
    /// How long a request's headers and body may take to arrive.
    pub receive_timeout: Duration,
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
#[derive(Clone, Debug)]
pub struct Destination {
    /// The table's name.
    pub name: Arc<str>,
    /// Its type with the settings of that type.
    pub kind: Kind,
    /// `batch`
    pub batch: BatchLimits,
    /// Batches in flight at most.
    pub requests_max: usize,
    /// How long one request may take, before what its size adds.
    pub timeout: Duration,
    /// `backoff`
    pub backoff: Backoff,
    /// Attempts of a single record that alone fails, before it is dead-lettered.
    pub attempts_max: u32,
    /// What happens when it holds back too much of the log.
    pub on_backlog_full: OnBacklogFull,
}

/// The type of a destination.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `type = "algolia"`
    Algolia(AlgoliaSettings),
    /// `type = "file"`
    File(FileSettings),
}

/// `type = "algolia"`
#[derive(Clone, Debug)]
pub struct AlgoliaSettings {
    /// The application.
    pub app_id: Secret,
    /// A key that may write to the indexes.
    pub api_key: Secret,
    /// URLs instead of Algolia's own hosts.
    pub hosts: Vec<String>,
    /// Allows plain HTTP to hosts that are not on loopback.
    pub insecure: bool,
    /// Compresses request bodies.
    pub gzip: bool,
}

/// `type = "file"`
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Where the files go.
    pub dir: PathBuf,
    /// A file of this many bytes is rotated.
    pub rotate_bytes: u64,
    /// A file of this age is rotated.
    pub rotate_age: Duration,
}

/// `batch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Operations, inclusive.
    pub operations_max: usize,
    /// Bytes, inclusive; a single operation may be larger and is then sent alone.
    pub bytes_max: usize,
    /// How long a batch that is not full waits for more while another is in flight.
    pub linger: Duration,
}

/// `backoff`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first delay's upper bound.
    pub min: Duration,
    /// The upper bound of every delay.
    pub max: Duration,
}

/// `on_backlog_full`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBacklogFull {
    /// Ingest is refused.
    Refuse,
    /// The destination is left behind.
    Detach,
}

/// `[[indexes]]`
#[derive(Clone, Debug)]
pub struct IndexRule {
    /// An index name, or a glob with `*` and `?`.
    pub pattern: String,
    /// Names of destinations.
    pub destinations: Vec<Arc<str>>,
}

/// A value that is never shown, with where it came from.
#[derive(Clone)]
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

//! Every key of the config file, declared once: the reader, the JSON Schema, the reference and `config init` go by it.
//!
//! The keys that only one type of destination has are declared by its plugin.

mod destination;

use std::ops::RangeInclusive;

use plugin_api::settings::{Amount, Bounds, Form, GIB, HOUR, KIB, Key, MIB, MILLISECOND, SECOND, TIB, Text};

use super::units::Quantity;
pub use destination::TYPES;

/// The default of `data.dir`.
pub(super) const DATA_DIR: &str = "./sync-agent-data";

/// The whole file.
pub const ROOT: &[Key] = &[
    Key::new("listen", Form::Table(LISTEN), "Where the agent listens."),
    Key::new("data", Form::Table(DATA), "Where it keeps its data, and how much."),
    Key::new("limits", Form::Table(LIMITS), "What one request, and all of them, may take."),
    Key::new("telemetry", Form::Table(TELEMETRY), "Whom it tells what it does."),
    Key::new(
        "permissions",
        Form::List(PERMISSION),
        "Who may do what to which indexes: what no rule allows is refused with PERMISSION_DENIED. Without a rule everybody may \
         do everything.",
    )
    .or("none"),
    Key::new("defaults", Form::Table(DEFAULTS), "What holds for an index that no rule matches."),
    Key::new(
        "destinations",
        Form::Destinations { keys: destination::KEYS, types: TYPES },
        "Where records go: a table for each destination, at least one. Its name is 1 to 64 of A-Z a-z 0-9 _ -.",
    )
    .required(),
    Key::new(
        "transforms",
        Form::Named(TRANSFORM),
        "WebAssembly modules that change records before any destination sees them: a table for each. Its name is 1 to 64 \
         of A-Z a-z 0-9 _ -.",
    )
    .or("none"),
    Key::new(
        "indexes",
        Form::List(INDEX),
        "Rules for indexes, in the order of the file: the first whose `match` fits decides.",
    )
    .or("none"),
];

const ADDRESS: Text = Text::new("address and port").matching("^.+:[0-9]+$");

const LISTEN: &[Key] = &[
    Key::new(
        "grpc",
        Form::Text(ADDRESS.or("127.0.0.1:50051")),
        "The port of producers. The environment variable GRPC_PORT wins over it and opens every address. Port 0 lets the \
         system choose.",
    )
    .restart(),
    Key::new(
        "http",
        Form::Text(
            Text::new("address and port, or \"off\"").matching("^(.+:[0-9]+|off)$").or("127.0.0.1:9600"),
        ),
        "The port of `/metrics`, `/healthz` and `/readyz`, which anybody who reaches it may read; `off` has none. Port 0 lets \
         the system choose.",
    )
    .restart(),
    Key::new(
        "admin",
        Form::Text(ADDRESS),
        "The port of the operators' API, by token, beside its socket in `data.dir`. Port 0 lets the system choose.",
    )
    .or("none")
    .restart(),
    Key::new(
        "trust_xfcc",
        Form::Flag(false),
        "Whether the rightmost element of `x-forwarded-client-cert` names the caller. Only for a port that nobody but the \
         sidecar reaches which sets it; not beside `tls`.",
    ),
    Key::new("tls", Form::Table(TLS), "TLS for producers that have no mesh. Its files are followed."),
];

const TLS: &[Key] = &[
    Key::new(
        "cert",
        Form::Text(Text::PATH),
        "A PEM file with the agent's certificate, and then those that lead to its authority. Connections \
         that are open keep the one that they began with.",
    )
    .required(),
    Key::new("key", Form::Text(Text::PATH), "A PEM file with the certificate's private key, unencrypted.").required(),
    Key::new(
        "client_ca",
        Form::Text(Text::PATH),
        "A PEM file with the authorities whose certificates clients show. A caller's name is its certificate's first URI of \
         `spiffe://`, else its first URI, else its first DNS name.",
    )
    .or("none: no client is asked for a certificate"),
    Key::new(
        "client_auth",
        Form::Word { words: &["required", "optional"], default: Some("required") },
        "Whether a client without a certificate is refused, or has no name. Needs `client_ca`.",
    ),
];

const TELEMETRY: &[Key] = &[Key::new(
    "otlp",
    Form::Text(Text::new("address of a collector").matching("^http://[^/@?#]+:[0-9]+/?$")),
    "An OpenTelemetry collector that takes OTLP over gRPC, without TLS, such as `http://127.0.0.1:4317`. It gets the metrics, \
     and the spans of requests that come with a sampled traceparent.",
)
.or("none")];

/// A log gives whole segments back, so it needs a few of them within its budget.
const SEGMENTS_MIN: u64 = 4;

const DATA: &[Key] = &[
    Key::new("dir", Form::Text(Text::PATH.or(DATA_DIR)), "Holds the log, cursors and dead letters.")
        .restart(),
    Key::new(
        "disk_bytes_max",
        Form::Size(Bounds::fixed(20 * GIB, MIB, 1024 * TIB)),
        "What the log may take. At this size ingest answers RESOURCE_EXHAUSTED.",
    ),
    Key::new(
        "segment_bytes",
        Form::Size(Bounds {
            default: Some(Amount::Lesser(128 * MIB, "data.disk_bytes_max", SEGMENTS_MIN)),
            from: Amount::Is(64 * KIB),
            to: Amount::Lesser(GIB, "data.disk_bytes_max", SEGMENTS_MIN),
        }),
        "A segment of the log, the unit in which disk is given back. A request must fit into one.",
    )
    .restart(),
    Key::new(
        "retention",
        Form::Table(RETENTION),
        "What is kept that every destination has received, so that a new one can be filled from it.",
    ),
];

const RETENTION: &[Key] = &[
    Key::new(
        "age",
        // Ten years at most.
        Form::Duration(Bounds::fixed(24 * HOUR, 0, 87_600 * HOUR)),
        "How long what every destination has received is kept, so that a new one can be filled from it; from the last record \
         of a segment on. It is given up first when space is needed. 0s keeps nothing.",
    ),
    Key::new(
        "bytes_max",
        Form::Size(Bounds {
            default: Some(Amount::Share("data.disk_bytes_max", 4)),
            from: Amount::Is(0),
            to: Amount::Share("data.disk_bytes_max", 1),
        }),
        "How much of that is kept.",
    ),
];

const LIMITS: &[Key] = &[
    Key::new(
        "record_bytes_max",
        Form::Size(Bounds {
            default: Some(Amount::Lesser(MIB, "limits.request_bytes_max", 1)),
            from: Amount::Is(KIB),
            to: Amount::Share("limits.request_bytes_max", 1),
        }),
        "The JSON of one record.",
    ),
    Key::new(
        "request_bytes_max",
        // A request must fit into one segment, and its JSON may be larger than what came over the wire.
        Form::Size(Bounds {
            default: Some(Amount::Lesser(4 * MIB, "data.segment_bytes", 2)),
            from: Amount::Is(KIB),
            to: Amount::Lesser(64 * MIB, "data.segment_bytes", 2),
        }),
        "One request, as it comes over the wire.",
    ),
    Key::new("request_records_max", Form::Count(Bounds::fixed(10_000, 1, 100_000)), "Records in one request."),
    Key::new(
        "indexes_max",
        Form::Count(Bounds::fixed(1_000, 1, 100_000)),
        "Distinct names of indexes since the agent started. A request with one more is refused.",
    ),
    Key::new(
        "non_idempotent_operations",
        Form::Word { words: &["refuse", "allow"], default: Some("refuse") },
        "What becomes of Algolia's Increment, Decrement and Add. Where they are allowed, one that is sent again after a \
         lost answer counts twice.",
    ),
    Key::new("connections_max", Form::Count(Bounds::fixed(1_024, 1, 65_536)), "Open connections of producers.").restart(),
    Key::new(
        "connection_requests_max",
        Form::Count(Bounds::fixed(128, 1, 65_536)),
        "Requests at once on one connection.",
    )
    .restart(),
    Key::new(
        "decoding_bytes_max",
        Form::Size(Bounds {
            default: Some(Amount::Is(64 * MIB)),
            from: Amount::Share("limits.request_bytes_max", 1),
            to: Amount::Is(64 * GIB),
        }),
        "Requests that are being received, decoded and appended, all together. Above it ingest answers RESOURCE_EXHAUSTED.",
    )
    .restart(),
    Key::new(
        "receive_timeout",
        Form::Duration(Bounds::fixed(10 * SECOND, 100 * MILLISECOND, 600 * SECOND)),
        "How long a request's headers and body may take to arrive.",
    )
    .restart(),
    Key::new(
        "transforms_bytes_max",
        Form::Size(Bounds::fixed(512 * MIB, 16 * MIB, TIB)),
        "The live instances of all transforms together. Above it the least recently used ones go.",
    ),
    Key::new(
        "caller_rate_limit",
        Form::Table(CALLER_RATE_LIMIT),
        "What each caller may send, and all those without a name together. Up to a second's share may come at once; more is \
         refused with RESOURCE_EXHAUSTED, and when to try again.",
    ),
];

const CALLER_RATE_LIMIT: &[Key] = &[
    Key::new("requests_per_second", Form::Count(Bounds::optional(1, 1_000_000)), "Requests of each caller.")
        .or("none"),
    Key::new(
        "bytes_per_second",
        Form::Size(Bounds::optional(KIB, TIB)),
        "Bytes of each caller's messages, uncompressed. One message may have more, and takes its time then.",
    )
    .or("none"),
];

const PERMISSION: &[Key] = &[
    Key::new(
        "caller",
        Form::Text(Text::new("caller's name of 1 to 512 bytes, in which * stands for any characters and ? for one")),
        "Whom the rule is about: the SPIFFE ID or another name of the caller's certificate. Only `*` is also about those \
         without a name.",
    )
    .required(),
    Key::new(
        "indexes",
        Form::Texts(Text::new("name of 1 to 256 bytes, in which * stands for any characters and ? for one")),
        "The indexes that they may change.",
    )
    .required(),
    Key::new(
        "actions",
        Form::Texts(Text::new("action").matching("^(save|partial_update|partial_update_no_create|delete)$")),
        "What they may do: save, partial_update, partial_update_no_create, delete.",
    )
    .or("all"),
];

const DESTINATION: Text = Text::new("destination's name").matching(NAME_PATTERN);

const DEFAULTS: &[Key] = &[Key::new(
    "destinations",
    Form::Texts(DESTINATION),
    "The destinations of an index that no rule matches.",
)
.or("all")];

const INDEX: &[Key] = &[
    Key::new(
        "match",
        Form::Text(Text::new("name of 1 to 256 bytes, in which * stands for any characters and ? for one")),
        "The index, or a pattern for several; each once.",
    )
    .required(),
    Key::new("destinations", Form::Texts(DESTINATION), "Where its records go; each once.").required(),
    Key::new(
        "transform",
        Form::Text(Text::new("transform's name").matching(NAME_PATTERN)),
        "The transform that its records pass.",
    )
    .or("none: they are delivered as they came"),
];

const TRANSFORM: &[Key] = &[
    Key::new(
        "path",
        Form::Text(Text::PATH),
        "The module, a WebAssembly component. It is watched: what replaces it serves within seconds.",
    )
    .required(),
    Key::new(
        "sha256",
        Form::Text(Text::new("64 hexadecimal digits").matching("^[0-9A-Fa-f]{64}$")),
        "The digest that the module must have, so that no other is ever run.",
    )
    .or("any"),
    Key::new("config", Form::Free, "Handed to the module's `init` as JSON; no place for secrets.").or("{}"),
    Key::new(
        "cpu_ms_max",
        // A batch that takes longer holds its index for too long.
        Form::Count(Bounds::fixed(250, 10, 10_000)),
        "CPU time of one call, in milliseconds.",
    ),
    Key::new(
        "memory_bytes_max",
        // From the smallest memory in which the languages' runtimes start; what could not be kept is of no use.
        Form::Size(Bounds {
            default: Some(Amount::Lesser(64 * MIB, "limits.transforms_bytes_max", 1)),
            from: Amount::Is(16 * MIB),
            to: Amount::Lesser(4 * GIB, "limits.transforms_bytes_max", 1),
        }),
        "Memory of one instance.",
    ),
];

/// What may name a destination or a transform, in words: it becomes a directory's name and a metric's label, and stands
/// in dead letters.
pub(super) const NAME: &str = "1 to 64 of A-Z a-z 0-9 _ -";
/// The same as a regular expression.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";

/// Whether this is one.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// The declaration behind a path such as `data.retention.age` or `destinations.search.batch.linger`, where a list needs
/// no number and a destination may be of any type.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    let mut parts = path.split('.');
    let mut key = among(ROOT, parts.next()?)?;
    while let Some(part) = parts.next() {
        key = match key.form {
            Form::Named(keys) => among(keys, parts.next()?)?,
            Form::Destinations { keys, types } => {
                let name = parts.next()?;
                let of_type = || types.iter().find_map(|kind| among(kind.keys, name));
                among(keys, name).or_else(of_type)?
            }
            form => among(form.keys(), part)?,
        };
    }
    Some(key)
}

/// The limits of a quantity that depends on no other one; none if it is declared as something else.
pub(super) fn range<Q: Quantity>(path: &str) -> Option<RangeInclusive<Q>> {
    let bounds = Q::bounds(&find(path)?.form)?;
    Some(Q::from_amount(bounds.from.of(0))..=Q::from_amount(bounds.to.of(0)))
}

/// The default of a quantity where every other one has its default, in the unit of its form.
pub(super) fn default(bounds: &Bounds, of_type: u64) -> Option<u64> {
    bounds.default.map(|amount| resolved(amount, bounds, of_type))
}

/// An amount where every other quantity has its default.
pub(super) fn resolved(amount: Amount, bounds: &Bounds, of_type: u64) -> u64 {
    let other = bounds.other().and_then(find).and_then(|key| match &key.form {
        Form::Size(bounds) | Form::Count(bounds) | Form::Duration(bounds) => default(bounds, of_type),
        _ => None,
    });
    amount.of(other.unwrap_or(of_type))
}

/// The most that an amount can be, whatever another key says; none if only that tells.
pub(super) const fn most(amount: Amount) -> Option<u64> {
    match amount {
        Amount::Is(amount) | Amount::Lesser(amount, ..) => Some(amount),
        Amount::Share(..) | Amount::Greater(..) | Amount::OfType => None,
    }
}

fn among(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}

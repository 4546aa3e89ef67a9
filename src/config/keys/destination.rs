//! `[destinations.NAME]`: the types, and what every destination has whatever its type.

use plugin_api::settings::{
    Amount, Bounds, Form, GIB, HOUR, KIB, Key, MIB, MILLISECOND, SECOND, TIB, Text, Type,
};

/// The types of destinations.
pub const TYPES: &[Type] = &[plugin_algolia::TYPE, plugin_elasticsearch::TYPE, plugin_file::TYPE];

const NAMES: [&str; 3] = [plugin_algolia::TYPE.name, plugin_elasticsearch::TYPE.name, plugin_file::TYPE.name];

pub(super) const KEYS: &[Key] = &[
    Key::new("type", Form::Word { words: &NAMES, default: None }, "What it is; its other keys follow from that.").required(),
    Key::new(
        "from",
        Form::Text(
            Text::new("\"now\", \"oldest\" or a time such as \"2026-01-31T12:00:00Z\"")
                .matching("^(now|oldest|[-+]?[0-9].+)$")
                .or("now"),
        ),
        "Where it begins if this log has never served it: with what is accepted from now on, with the oldest record that the \
         log still has, or with what was accepted at a time or later.",
    ),
    Key::new(
        "index",
        Form::Text(Text::new("name with {index} in it").matching(r"\{index\}").or("{index}")),
        "By which name it knows an index; {index} stands once for the index's own name.",
    ),
    Key::new("batch", Form::Table(BATCH), "What one request to it carries."),
    Key::new(
        "requests_max",
        Form::Count(Bounds::fixed(10, 1, 1_000)),
        "Batches in flight; fewer while it struggles.",
    ),
    Key::new("rate_limit", Form::Table(RATE_LIMIT), "What it is sent each second, at most."),
    Key::new(
        "timeout",
        Form::Duration(Bounds::fixed(30 * SECOND, 100 * MILLISECOND, 600 * SECOND)),
        "How long one request may take, before what its size adds.",
    ),
    Key::new("backoff", Form::Table(BACKOFF), "How long it is left alone after a failure."),
    Key::new(
        "attempts_max",
        Form::Count(Bounds::fixed(5, 1, 1_000)),
        "Attempts of a single record that alone fails, before it is dead-lettered.",
    ),
    Key::new(
        "backlog_bytes_max",
        Form::Size(Bounds {
            default: Some(Amount::Share("data.disk_bytes_max", 2)),
            from: Amount::Is(64 * KIB),
            to: Amount::Share("data.disk_bytes_max", 1),
        }),
        "How much of the log it may be behind.",
    ),
    Key::new(
        "on_backlog_full",
        Form::Word { words: &["refuse", "detach"], default: None },
        "What happens when it is further behind. With `refuse` ingest is refused until it has caught up. With `detach` it is \
         left behind: what it misses becomes a recorded gap, and an operator lets it go on.",
    )
    .or("refuse for those in defaults.destinations, detach for others"),
    Key::new("dead_letters", Form::Table(DEAD_LETTERS), "What is kept of the records that it would not take."),
];

const BATCH: &[Key] = &[
    Key::new(
        "operations_max",
        // More is of no use to any destination.
        Form::Count(Bounds { default: Some(Amount::OfType), from: Amount::Is(1), to: Amount::Is(10_000) }),
        "Operations in one request.",
    ),
    Key::new(
        "bytes_max",
        Form::Size(Bounds::fixed(8 * MIB, KIB, 64 * MIB)),
        "Bytes of the operations in one request. A single operation may be larger and is then sent alone.",
    ),
    Key::new(
        "linger",
        Form::Duration(Bounds::fixed(200 * MILLISECOND, 0, 60 * SECOND)),
        "How long a batch that is not full waits for more while another one is in flight.",
    ),
];

const RATE_LIMIT: &[Key] = &[
    Key::new(
        "operations_per_second",
        Form::Count(Bounds::optional(1, 100_000_000)),
        "Operations that it is sent each second. A batch counts whole when it leaves.",
    )
    .or("none"),
    Key::new(
        "bytes_per_second",
        Form::Size(Bounds::optional(KIB, TIB)),
        "Bytes of bodies and names that it is sent each second.",
    )
    .or("none"),
];

const BACKOFF: &[Key] = &[
    Key::new(
        "min",
        Form::Duration(Bounds::fixed(200 * MILLISECOND, MILLISECOND, 600 * SECOND)),
        "The first delay after a failure is random, up to this; each further one up to twice as much.",
    ),
    Key::new(
        "max",
        // A larger first delay lifts the default. An hour of silence after an outage would look like a defect.
        Form::Duration(Bounds {
            default: Some(Amount::Greater(30 * SECOND, "destinations.NAME.backoff.min")),
            from: Amount::Share("destinations.NAME.backoff.min", 1),
            to: Amount::Is(HOUR),
        }),
        "No delay after a failure is longer, unless the destination asks for it.",
    ),
];

const DEAD_LETTERS: &[Key] = &[
    Key::new(
        "bytes_max",
        Form::Size(Bounds::fixed(GIB, MIB, TIB)),
        "What its dead letters may take: their records and words, and about 256 bytes each. At half of it for a single index `on_backlog_full` decides \
         what becomes of that index; at all of it the destination pauses.",
    ),
    Key::new(
        "age_max",
        // Ten years at most.
        Form::Duration(Bounds::optional(SECOND, 87_600 * HOUR)),
        "A dead letter that is older is deleted.",
    )
    .or("none"),
];

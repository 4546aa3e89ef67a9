//! What an index is told to be: which state it is in, which documents it takes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    answer::{self, Refusal},
    bulk::Action,
};

/// Bytes of a keyword, inclusive: Lucene's limit on a term.
const TERM_BYTES_MAX: usize = 32_766;

/// What an index answers to writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexState {
    /// It takes them.
    #[default]
    Open,
    /// It is closed.
    Closed,
    /// The operator blocked writes (`index.blocks.write`).
    WriteBlocked,
    /// A disk is full (flood stage).
    DiskFull,
    /// Its primary shard is nowhere.
    Unassigned,
    /// Its shard's queue is full.
    Overloaded,
    /// It is a data stream, which is only appended to.
    DataStream,
    /// It is an alias of several indices without one to write to.
    AliasWithoutWriteIndex,
    /// Its default pipeline does not exist.
    PipelineMissing,
    /// Its mapping wants a routing.
    RoutingRequired,
    /// The credentials may not write it.
    Forbidden,
}

/// The type of a mapped first-level field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Numbers, and strings that are numbers.
    Integer,
    /// Strings up to 32,766 bytes.
    Keyword,
    /// Objects.
    Object,
}

/// Which documents an index takes; by default all.
#[derive(Clone, Debug, Default)]
pub(super) struct Mapping {
    pub(super) fields: BTreeMap<String, FieldType>,
    /// Only mapped fields.
    pub(super) strict: bool,
    /// As many different first-level fields, inclusive.
    pub(super) fields_max: Option<usize>,
}

impl IndexState {
    /// Why it refuses an item, if it does.
    pub(super) fn refusal(self, index: &str, id: &str, action: Action) -> Option<Refusal> {
        let blocked = |status, words: &str| {
            let reason = format!("index [{index}] blocked by: [{words}];");
            Refusal::new(status, "cluster_block_exception", reason)
        };
        Some(match self {
            Self::Open => return None,
            Self::Closed => Refusal::new(400, "index_closed_exception", "closed"),
            Self::WriteBlocked => blocked(403, "FORBIDDEN/8/index write (api)"),
            Self::DiskFull => blocked(
                429,
                "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block",
            ),
            Self::Unassigned => {
                let reason = format!("[{index}][0] primary shard is not active Timeout: [1s]");
                Refusal::new(503, "unavailable_shards_exception", reason)
            }
            Self::Overloaded => answer::queue_full(),
            Self::DataStream if action == Action::Create => return None,
            Self::DataStream => {
                answer::argument("only write ops with an op_type of create are allowed in data streams")
            }
            Self::AliasWithoutWriteIndex => answer::argument(format!(
                "no write index is defined for alias [{index}]. The write index may be explicitly disabled using \
                 is_write_index=false or the alias points to multiple indices without one being designated as a write index"
            )),
            Self::PipelineMissing => answer::argument("pipeline with id [nope] does not exist"),
            Self::RoutingRequired => {
                let reason = format!("routing is required for [{index}]/[{id}]");
                Refusal::new(400, "routing_missing_exception", reason)
            }
            Self::Forbidden => answer::index_forbidden(index),
        })
    }
}

impl Mapping {
    /// Why a document does not fit, if it does not.
    pub(super) fn refusal(&self, id: &str, document: &Map<String, Value>) -> Option<Refusal> {
        let unknown = |name: &&String| !self.fields.contains_key(*name);
        if self.strict
            && let Some(name) = document.keys().find(unknown)
        {
            let reason = format!(
                "mapping set to strict, dynamic introduction of [{name}] within [_doc] is not allowed"
            );
            return Some(Refusal::new(400, "strict_dynamic_mapping_exception", reason));
        }
        if let Some(fields_max) = self.fields_max.filter(|fields_max| document.len() > *fields_max) {
            let reason = format!("Limit of total fields [{fields_max}] has been exceeded");
            return Some(answer::argument(reason));
        }
        document.iter().find_map(|(name, value)| self.fields.get(name)?.refusal(name, id, value))
    }
}

impl FieldType {
    fn refusal(self, name: &str, id: &str, value: &Value) -> Option<Refusal> {
        let unparsable = |kind: &str| {
            let shown = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            answer::unparsable(format!(
                "failed to parse field [{name}] of type [{kind}] in document with id '{id}'. Preview of field's value: \
                 '{shown}'"
            ))
        };
        match (self, value) {
            (_, Value::Null | Value::Array(_)) => None,
            (Self::Integer, Value::Number(_)) => None,
            (Self::Integer, Value::String(text)) if text.parse::<f64>().is_ok() => None,
            (Self::Integer, _) => Some(unparsable("integer")),
            (Self::Keyword, Value::Object(_)) => Some(unparsable("keyword")),
            (Self::Keyword, Value::String(text)) if text.len() > TERM_BYTES_MAX => {
                Some(answer::argument(format!(
                    "Document contains at least one immense term in field=\"{name}\" (whose UTF8 encoding is longer than \
                     the max length {TERM_BYTES_MAX}), all of which were skipped."
                )))
            }
            (Self::Keyword, _) | (Self::Object, Value::Object(_)) => None,
            (Self::Object, _) => Some(answer::unparsable(format!(
                "object mapping for [{name}] tried to parse field [{name}] as object, but found a concrete value"
            ))),
        }
    }
}

//! The documents of every index, and what each item does to them: versions, tombstones, partial updates.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    answer::{self, Refusal},
    bulk::{Action, Item},
    index::{IndexState, Mapping},
};

type Object = Map<String, Value>;

/// The one script that a fake cluster can run: it replaces first-level attributes unless what is stored is newer.
const SCRIPT: &str =
    "if (ctx._version >= params.next) { ctx.op = 'none' } else { ctx._source.putAll(params.d) }";

#[derive(Default)]
pub(super) struct Store {
    indexes: BTreeMap<String, Index>,
}

/// One index.
#[derive(Default)]
pub(super) struct Index {
    /// Whether it is there, and not only told what to be once it is.
    pub(super) exists: bool,
    pub(super) state: IndexState,
    pub(super) mapping: Mapping,
    pub(super) refreshes: u64,
    documents: BTreeMap<String, Document>,
}

struct Document {
    version: i64,
    /// None of a deleted one whose version is still known.
    source: Option<Object>,
}

/// What an item came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) status: u16,
    pub(super) result: &'static str,
    pub(super) version: i64,
}

/// What can stand on an update's second line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    script: Option<ScriptUpdate>,
    doc: Option<Object>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptUpdate {
    lang: String,
    source: String,
    params: Params,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    next: i64,
    d: Object,
}

impl Store {
    pub(super) fn index(&mut self, name: &str) -> &mut Index {
        self.indexes.entry(name.to_owned()).or_default()
    }

    /// An index that is there.
    pub(super) fn existing(&mut self, name: &str) -> Option<&mut Index> {
        self.indexes.get_mut(name).filter(|index| index.exists)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Index> {
        self.indexes.get(name)
    }

    /// Every index takes writes again.
    pub(super) fn open_all(&mut self) {
        self.indexes.values_mut().for_each(|index| index.state = IndexState::Open);
    }

    /// Forgets the versions of deleted documents, as a real cluster does after `index.gc_deletes`.
    pub(super) fn forget_tombstones(&mut self) {
        let live = |_: &String, document: &mut Document| document.source.is_some();
        self.indexes.values_mut().for_each(|index| index.documents.retain(live));
    }
}

impl Index {
    /// The documents by id.
    pub(super) fn objects(&self) -> BTreeMap<String, Value> {
        let live = |(id, document): (&String, &Document)| {
            Some((id.clone(), Value::Object(document.source.clone()?)))
        };
        self.documents.iter().filter_map(live).collect()
    }

    /// The version of a document, deleted ones included.
    pub(super) fn version(&self, id: &str) -> Option<i64> {
        self.documents.get(id).map(|document| document.version)
    }

    /// Puts a document there as another writer would.
    pub(super) fn put(&mut self, id: &str, version: i64, source: Object) {
        self.exists = true;
        self.documents.insert(id.to_owned(), Document { version, source: Some(source) });
    }

    /// Applies an item, and says what it came to and what is stored then.
    pub(super) fn apply(&mut self, item: &Item<'_>) -> Result<Done, Refusal> {
        if let Some(refusal) = self.state.refusal(&item.index, &item.id, item.action) {
            return Err(refusal);
        }
        if item.id.is_empty() {
            return Err(answer::argument("if _id is specified it must not be empty"));
        }
        match item.action {
            Action::Index => self.save(item),
            Action::Create => match self.documents.get(&*item.id) {
                Some(Document { version, source: Some(_) }) => {
                    Err(answer::document_exists(&item.id, *version))
                }
                Some(Document { source: None, .. }) | None => self.save(item),
            },
            Action::Delete => self.delete(item),
            Action::Update => self.update(item),
        }
    }

    fn save(&mut self, item: &Item<'_>) -> Result<Done, Refusal> {
        let source = object(item.source)?;
        if let Some(refusal) = self.mapping.refusal(&item.id, &source) {
            return Err(refusal);
        }
        let version = self.next_version(item)?;
        let before = self.documents.insert(item.id.to_string(), Document { version, source: Some(source) });
        let (status, result) = match before {
            Some(Document { source: Some(_), .. }) => (200, "updated"),
            Some(Document { source: None, .. }) | None => (201, "created"),
        };
        Ok(Done { status, result, version })
    }

    fn delete(&mut self, item: &Item<'_>) -> Result<Done, Refusal> {
        let version = self.next_version(item)?;
        let before = self.documents.insert(item.id.to_string(), Document { version, source: None });
        let (status, result) = match before {
            Some(Document { source: Some(_), .. }) => (200, "deleted"),
            Some(Document { source: None, .. }) | None => (404, "not_found"),
        };
        Ok(Done { status, result, version })
    }

    fn update(&mut self, item: &Item<'_>) -> Result<Done, Refusal> {
        let update: Update = serde_json::from_slice(item.source)
            .map_err(|error| answer::argument(format!("failed to parse update: {error}")))?;
        let Some(Document { version, source: Some(source) }) = self.documents.get_mut(&*item.id) else {
            return Err(answer::document_missing(&item.id));
        };
        let mut changed = source.clone();
        match update {
            Update { script: Some(script), doc: None } => {
                if script.lang != "painless" || script.source != SCRIPT {
                    return Err(answer::argument("the fake runs one script only"));
                }
                if *version >= script.params.next {
                    return Ok(Done { status: 200, result: "noop", version: *version });
                }
                changed.extend(script.params.d);
            }
            Update { script: None, doc: Some(doc) } => {
                merge(&mut changed, doc);
                if changed == *source {
                    return Ok(Done { status: 200, result: "noop", version: *version });
                }
            }
            _ => return Err(answer::argument("the fake takes one script or one doc")),
        }
        if let Some(refusal) = self.mapping.refusal(&item.id, &changed) {
            return Err(refusal);
        }
        *version += 1;
        *source = changed;
        Ok(Done { status: 200, result: "updated", version: *version })
    }

    /// The version that an item gives, unless what is stored is newer.
    fn next_version(&self, item: &Item<'_>) -> Result<i64, Refusal> {
        let stored = self.version(&item.id);
        match (item.version, stored) {
            (Some(given), Some(stored)) if stored > given => {
                Err(answer::version_conflict(&item.id, stored, given))
            }
            (Some(given), _) => Ok(given),
            (None, stored) => Ok(stored.unwrap_or_default() + 1),
        }
    }
}

/// A document. (Real clusters refuse one with a name that comes twice; here the last one counts.)
fn object(source: &[u8]) -> Result<Object, Refusal> {
    serde_json::from_slice(source).map_err(|_| answer::unparsable("failed to parse"))
}

/// Merges objects deeply, as a `doc` does.
fn merge(into: &mut Object, changes: Object) {
    for (name, change) in changes {
        match (into.get_mut(&name), change) {
            (Some(Value::Object(stored)), Value::Object(change)) => merge(stored, change),
            (_, change) => {
                into.insert(name, change);
            }
        }
    }
}

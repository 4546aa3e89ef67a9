//! What a test has the agent accept, and what a destination must hold in the end.
//!
//! Each change carries its number, in order of acceptance from 0, as the attribute `sequence`. A change that creates an
//! object by a partial update and one that only updates never concern the same object: sent twice, such a pair may
//! end otherwise than sent once, at every destination without versions.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::operation::{Action, Key};

/// One change of one object, as it is accepted.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its number, from 0.
    pub number: u64,
    /// What to do.
    pub action: Action,
    /// To which object.
    pub key: Key,
    /// One JSON object as UTF-8 text; empty for a delete.
    pub body: Bytes,
}

/// Every change of a test, in order.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: Vec<Change>,
    random: u64,
}

/// The indexes of [`History::mixed`].
pub(super) const INDEXES: [&str; 2] = ["articles", "products"];

/// Few, so that most batches hold several operations of one object.
const KEYS: usize = 9;

impl History {
    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// A change with further attributes.
    pub(super) fn change(&mut self, action: Action, index: &str, object_id: &str, more: Value) -> Change {
        let number = self.changes.len() as u64;
        let mut body = more;
        body["sequence"] = number.into();
        let body = if action == Action::Delete { Bytes::new() } else { body.to_string().into() };
        let key = Key { index: index.into(), object_id: object_id.into() };
        let change = Change { number, action, key, body };
        self.changes.push(change.clone());
        change
    }

    pub(super) fn save(&mut self, index: &str, object_id: &str) -> Change {
        self.change(Action::Save, index, object_id, json!({}))
    }

    pub(super) fn delete(&mut self, index: &str, object_id: &str) -> Change {
        self.change(Action::Delete, index, object_id, json!({}))
    }

    /// Saves of so many objects of one index.
    pub(super) fn saves(&mut self, index: &str, count: usize) -> Vec<Change> {
        (0..count).map(|number| self.save(index, &format!("saved-{number}"))).collect()
    }

    /// So many changes of every kind, of few objects in two indexes. Every fourth is the only one of its object: nothing
    /// later hides it if it is lost.
    pub(super) fn mixed(&mut self, count: usize) -> Vec<Change> {
        let mut one = || {
            let number = self.changes.len();
            if number.is_multiple_of(4) {
                return self.save(INDEXES[number / 4 % 2], &format!("once-{}", number / 4));
            }
            let (index, key) = (INDEXES[self.below(INDEXES.len())], self.below(KEYS));
            let action = match self.below(10) {
                0..4 => Action::Save,
                4..6 => Action::Delete,
                _ if key.is_multiple_of(2) => Action::PartialUpdate,
                _ => Action::PartialUpdateNoCreate,
            };
            let mut more = json!({});
            more[format!("attribute-{}", self.below(3))] = self.changes.len().into();
            self.change(action, index, &format!("object-{key}"), more)
        };
        (0..count).map(|_| one()).collect()
    }

    /// The objects that are there once every change has been applied but those that `is_rejected`.
    pub(super) fn objects(&self, is_rejected: impl Fn(&Change) -> bool) -> BTreeMap<Key, Value> {
        let mut objects: BTreeMap<Key, Map<String, Value>> = BTreeMap::new();
        for change in self.changes.iter().filter(|change| !is_rejected(change)) {
            let body: Map<String, Value> = serde_json::from_slice(&change.body).unwrap_or_default();
            let key = change.key.clone();
            match change.action {
                Action::Save => _ = objects.insert(key, body),
                Action::Delete => _ = objects.remove(&key),
                Action::PartialUpdate => objects.entry(key).or_default().extend(body),
                Action::PartialUpdateNoCreate => {
                    objects.entry(key).and_modify(|object| object.extend(body));
                }
            }
        }
        objects.into_iter().map(|(key, object)| (key, Value::Object(object))).collect()
    }

    /// A number that is the same in every run (xorshift).
    fn below(&mut self, bound: usize) -> usize {
        if self.random == 0 {
            self.random = 0x9e37_79b9_7f4a_7c15;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % bound
    }
}

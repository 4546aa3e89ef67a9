//! `[[permissions]]`: which callers may do what to which indexes.

use std::sync::Arc;

use plugin_api::operation::Action;

use super::{
    checked::Permission,
    reader::{Table, Value, closest, one_of},
};
use crate::record::INDEX_BYTES_MAX;

const CALLER: &str = "a caller's name of 1 to 512 bytes, in which * stands for any characters and ? for one, such as \
                      \"spiffe://cluster.local/ns/shop/sa/*\"";
const INDEXES: &str =
    "an array of indexes' names, in which * stands for any characters and ? for one, such as [\"products*\"]";
/// Bytes of a caller's name at most.
pub const CALLER_BYTES_MAX: usize = 512;

/// The rules in the order of the file.
pub(super) fn read(root: &mut Table<'_>) -> Vec<Permission> {
    let Some(value) = root.take("permissions") else { return Vec::new() };
    let mut permissions = Vec::new();
    for item in value.items("an array of tables: [[permissions]]") {
        let Some(mut table) = item.table() else { continue };
        let caller = match table.take("caller") {
            Some(value) => value.pattern(CALLER, CALLER_BYTES_MAX).map(Arc::from),
            None => {
                table.missing("caller", CALLER);
                None
            }
        };
        let indexes = match table.take("indexes") {
            Some(value) => {
                texts(&value, INDEXES, |item| item.pattern(INDEXES, INDEX_BYTES_MAX).map(Arc::from))
            }
            None => {
                table.missing("indexes", INDEXES);
                Vec::new()
            }
        };
        let actions = match table.take("actions") {
            Some(value) => texts(&value, &format!("an array of actions, {}", actions()), action),
            None => Action::ALL.to_vec(),
        };
        table.finish();
        permissions.push(Permission { caller: caller.unwrap_or_else(|| "".into()), indexes, actions });
    }
    permissions
}

/// An array of strings, none of them twice; at least one.
fn texts<T: PartialEq>(value: &Value<'_>, accepted: &str, read: impl Fn(&Value<'_>) -> Option<T>) -> Vec<T> {
    let items = value.items(accepted);
    if items.is_empty() && value.is_array() {
        value.wrong("without an item", accepted);
    }
    let mut found = Vec::new();
    for item in &items {
        match read(item) {
            Some(one) if found.contains(&one) => item.wrong("is named twice", "each once"),
            Some(one) => found.push(one),
            None => {}
        }
    }
    found
}

fn action(value: &Value<'_>) -> Option<Action> {
    let name = value.string(&actions())?;
    let found = Action::ALL.into_iter().find(|action| action.as_str() == name);
    if found.is_none() {
        let meant = closest(name, &Action::ALL.map(Action::as_str));
        value.wrong(
            "is no action",
            meant.map_or_else(actions, |meant| format!("did you mean \"{meant}\"? {}", actions())),
        );
    }
    found
}

fn actions() -> String {
    one_of(Action::ALL.iter().map(|action| action.as_str()))
}

//! What a fake Elasticsearch applied, for the history checker.

use fakes::elasticsearch::Applied as Applying;
use serde_json::Value;

use crate::{
    history::{Applied, Destination},
    journal::{Journaled, Marks, events},
};

/// The history of a fake that keeps bodies, or the attribute `seq` of them.
///
/// What was superseded is not in it: the fake refused it, since it had something newer.
#[must_use]
pub fn destination(journal: &[Applying], marks: &Marks) -> Destination {
    let events = events(journal.iter().map(journaled), marks);
    Destination { coalesces: true, events, dead_letters: Vec::new() }
}

fn journaled(applying: &Applying) -> Journaled {
    let sequence = match &applying.body {
        Value::Object(record) => record.get("seq").and_then(Value::as_u64),
        attribute => attribute.as_u64(),
    };
    let applied = Applied {
        index: applying.index.as_str().into(),
        object_id: applying.object_id.clone(),
        sequence,
        request_id: None,
        identity: None,
        version: None,
    };
    Journaled { applied, request: applying.request, answered: applying.answered }
}

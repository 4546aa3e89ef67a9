//! What a fake Algolia applied, for the history checker.

use fakes::algolia::Applied as Journaled;
use serde_json::Value;

use crate::{
    history::{Applied, Destination},
    journal::{Journaled as Entry, events},
};

pub use crate::journal::Marks;

/// The history of a fake that keeps bodies, or the attribute `seq` of them.
#[must_use]
pub fn destination(journal: &[Journaled], marks: &Marks) -> Destination {
    let events = events(journal.iter().map(entry), marks);
    Destination { coalesces: true, events, dead_letters: Vec::new() }
}

fn entry(journaled: &Journaled) -> Entry {
    let sequence = match &journaled.body {
        Value::Object(record) => record.get("seq").and_then(Value::as_u64),
        attribute => attribute.as_u64(),
    };
    let applied = Applied {
        index: journaled.index.as_str().into(),
        object_id: journaled.object_id.clone(),
        sequence,
        request_id: None,
        identity: None,
        version: None,
    };
    Entry { applied, request: journaled.request, answered: journaled.answered }
}

#[cfg(test)]
mod tests {
    use fakes::algolia::Action;
    use serde_json::json;

    use super::*;
    use crate::history::Event;

    /// Requests are batches, restarts fall between them, and both kinds of kept bodies show the sequence. A request has
    /// no answer where the fake kept it or where the connections were cut right after it.
    #[test]
    fn groups_by_request_and_marks_restarts() {
        let journaled = |body, request| Journaled {
            index: "i".to_owned(),
            object_id: "k".to_owned(),
            action: Action::UpdateObject,
            body,
            request,
            answered: request != 5,
        };
        let journal = [
            journaled(json!(1), 4),
            journaled(json!({"seq": 2}), 4),
            journaled(Value::Null, 5),
            journaled(json!(3), 5),
            journaled(json!(4), 6),
        ];
        let marks = Marks { restarts: vec![2], cuts: vec![0, 5] };
        let events = destination(&journal, &marks).events;
        let sequences: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::Batch { operations, .. } => {
                    operations.iter().map(|applied| applied.sequence).collect()
                }
                Event::Restart => Vec::new(),
            })
            .collect();
        assert_eq!(sequences, [vec![Some(1), Some(2)], vec![], vec![None, Some(3)], vec![Some(4)]]);
        let answered = events.iter().filter_map(|event| match event {
            Event::Batch { answered, .. } => Some(*answered),
            Event::Restart => None,
        });
        assert!(answered.eq([true, false, false]));
    }
}

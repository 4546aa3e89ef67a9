//! What a fake Algolia applied, for the history checker.

use fakes::algolia::Applied as Journaled;
use serde_json::Value;

use crate::history::{Applied, Destination, Event};

/// The history of a fake that keeps bodies, or the attribute `seq` of them. `restarts` are lengths that its journal had
/// while the agent did not run, ascending; `answered` says whether the agent got every answer.
#[must_use]
pub fn destination(journal: &[Journaled], restarts: &[usize], answered: bool) -> Destination {
    let mut events = Vec::new();
    let mut restarts = restarts.iter().peekable();
    let mut request = None;
    for (number, journaled) in journal.iter().enumerate() {
        while restarts.next_if(|at| **at <= number).is_some() {
            events.push(Event::Restart);
        }
        match events.last_mut() {
            Some(Event::Batch { operations, .. }) if request == Some(journaled.request) => {
                operations.push(applied(journaled));
            }
            _ => events.push(Event::Batch { operations: vec![applied(journaled)], answered }),
        }
        request = Some(journaled.request);
    }
    Destination { coalesces: true, events, dead_letters: Vec::new() }
}

fn applied(journaled: &Journaled) -> Applied {
    let sequence = match &journaled.body {
        Value::Object(record) => record.get("seq").and_then(Value::as_u64),
        attribute => attribute.as_u64(),
    };
    Applied {
        index: journaled.index.as_str().into(),
        object_id: journaled.object_id.clone(),
        sequence,
        request_id: None,
        identity: None,
    }
}

#[cfg(test)]
mod tests {
    use fakes::algolia::Action;
    use serde_json::json;

    use super::*;

    /// Requests are batches, restarts fall between them, and both kinds of kept bodies show the sequence.
    #[test]
    fn groups_by_request_and_marks_restarts() {
        let journaled = |body, request| Journaled {
            index: "i".to_owned(),
            object_id: "k".to_owned(),
            action: Action::UpdateObject,
            body,
            request,
        };
        let journal = [
            journaled(json!(1), 4),
            journaled(json!({"seq": 2}), 4),
            journaled(Value::Null, 5),
            journaled(json!(3), 5),
            journaled(json!(4), 6),
        ];
        let events = destination(&journal, &[2], true).events;
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
    }
}

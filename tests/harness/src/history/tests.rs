//! Every class of finding, each with a history that shows it and its neighbour that does not.
//!
//! The notation: requests of one key `k` unless said otherwise, `acked(1..=3)` for saves with these sequence numbers in
//! a request each, and events in the order in which a destination saw them.

use std::ops::RangeInclusive;

use super::{Applied, Destination, Event, Findings, Identity, Outcome, Request, Sent, check};
use crate::contract::Action;

fn request(outcome: Outcome, action: Action, operations: &[(&str, u64)]) -> Request {
    let sent = |(object_id, sequence): &(&str, u64)| Sent {
        object_id: (*object_id).to_owned(),
        sequence: *sequence,
    };
    Request { index: "i".into(), action, operations: operations.iter().map(sent).collect(), outcome }
}

fn acknowledged(sequence: u64) -> Outcome {
    Outcome::Acknowledged { request_id: format!("r{sequence}") }
}

fn unknown() -> Outcome {
    Outcome::Unknown { reason: "cut".to_owned() }
}

fn acked(sequences: RangeInclusive<u64>) -> Vec<Request> {
    sequences.map(|sequence| request(acknowledged(sequence), Action::Save, &[("k", sequence)])).collect()
}

fn delete(sequence: u64) -> Request {
    request(acknowledged(sequence), Action::Delete, &[("k", sequence)])
}

fn applied(object_id: &str, sequence: Option<u64>) -> Applied {
    let object_id = object_id.to_owned();
    Applied { index: "i".into(), object_id, sequence, request_id: None, identity: None, version: None }
}

fn batch(sequences: &[u64], answered: bool) -> Event {
    let operations = sequences.iter().map(|sequence| applied("k", Some(*sequence))).collect();
    Event::Batch { operations, answered }
}

fn sent(sequences: &[u64]) -> Event {
    batch(sequences, true)
}

fn deleted() -> Event {
    Event::Batch { operations: vec![applied("k", None)], answered: true }
}

fn judge(requests: &[Request], events: Vec<Event>) -> Findings {
    check(requests, &Destination { events, ..Destination::default() })
}

fn coalescing(requests: &[Request], events: Vec<Event>) -> Findings {
    check(requests, &Destination { coalesces: true, events, ..Destination::default() })
}

/// The sequence numbers of a list of findings.
macro_rules! sequences {
    ($findings:expr) => {
        $findings.iter().map(|finding| finding.sequence.unwrap()).collect::<Vec<_>>()
    };
}

#[test]
fn a_faithful_destination_passes() {
    let findings = judge(&acked(1..=3), vec![sent(&[1]), sent(&[2, 3])]);
    findings.assert_hold();
    assert_eq!(findings, Findings { applied: 3, ..Findings::default() });
}

#[test]
fn lost_is_acknowledged_and_never_there() {
    let findings = judge(&acked(1..=3), vec![sent(&[1, 3])]);
    assert_eq!(sequences!(findings.lost), [2]);
    assert!(!findings.hold());
    // A key that never appears at all.
    assert_eq!(sequences!(judge(&acked(1..=2), vec![]).lost), [1, 2]);
}

#[test]
fn what_was_refused_or_is_unknown_is_not_lost() {
    let refused = Outcome::Refused { status: "disk budget".to_owned() };
    let requests =
        [request(refused, Action::Save, &[("k", 1)]), request(unknown(), Action::Save, &[("k", 2)])];
    judge(&requests, vec![]).assert_hold();
    judge(&requests, vec![sent(&[2])]).assert_hold();
}

#[test]
fn a_dead_letter_is_not_lost_nor_its_key_stale() {
    let dead_letters = vec![applied("k", Some(3))];
    let destination = Destination { dead_letters, events: vec![sent(&[1, 2])], ..Destination::default() };
    let findings = check(&acked(1..=3), &destination);
    findings.assert_hold();
    assert_eq!(findings.dead_lettered, 1);
}

#[test]
fn coalescing_supersedes_what_a_later_save_or_delete_replaced() {
    let findings = coalescing(&acked(1..=3), vec![sent(&[3])]);
    findings.assert_hold();
    assert_eq!(findings.superseded, 2);
    assert_eq!(sequences!(judge(&acked(1..=3), vec![sent(&[3])]).lost), [1, 2]);
    // The last one is replaced by nothing.
    assert_eq!(sequences!(coalescing(&acked(1..=3), vec![sent(&[1])]).lost), [2, 3]);
    // A partial update replaces nothing.
    let mut requests = acked(1..=2);
    requests[1].action = Action::PartialUpdate;
    assert_eq!(sequences!(coalescing(&requests, vec![sent(&[2])]).lost), [1]);
}

#[test]
fn disordered_is_older_after_newer_and_stale_if_it_stays_so() {
    let findings = judge(&acked(1..=3), vec![sent(&[1]), sent(&[3]), sent(&[2])]);
    assert_eq!(sequences!(findings.disordered), [2]);
    assert_eq!(sequences!(findings.stale), [3]);
    // The newest comes again: out of order all the same, but not stale.
    let findings = judge(&acked(1..=3), vec![sent(&[1, 3, 2, 3])]);
    assert_eq!(sequences!(findings.disordered), [2]);
    assert!(findings.stale.is_empty());
}

#[test]
fn an_immediate_repeat_is_a_duplicate_and_no_disorder() {
    let findings = judge(&acked(1..=2), vec![sent(&[1]), sent(&[1]), sent(&[2, 2])]);
    findings.assert_hold();
    assert_eq!((findings.applied, findings.duplicated), (4, 2));
}

#[test]
fn a_restart_may_rewind_but_must_catch_up_in_order() {
    let rewind = |events| judge(&acked(1..=4), vec![sent(&[1, 2, 3]), Event::Restart, events]);
    let findings = rewind(sent(&[2, 3, 4]));
    findings.assert_hold();
    assert_eq!((findings.rewound, findings.duplicated), (1, 2));
    // Within the run after the restart the order counts again.
    assert_eq!(sequences!(rewind(sent(&[3, 2, 4])).disordered), [2]);
    // It never catches up.
    assert_eq!(
        sequences!(judge(&acked(1..=3), vec![sent(&[1, 2, 3]), Event::Restart, sent(&[2])]).stale),
        [3]
    );
}

#[test]
fn a_batch_without_an_answer_may_come_again() {
    let resend = |answered, again: &[u64]| {
        judge(&acked(1..=4), vec![sent(&[1]), batch(&[2, 3], answered), sent(again), sent(&[4])])
    };
    let findings = resend(false, &[2, 3]);
    findings.assert_hold();
    assert_eq!((findings.resent, findings.duplicated, findings.rewound), (1, 2, 0));
    assert_eq!(sequences!(resend(true, &[2, 3]).disordered), [2]);
    // It may bring back only what it carried.
    assert_eq!(sequences!(resend(false, &[1, 2, 3]).disordered), [1]);
    // Within one batch nothing is a resend.
    let findings = judge(&acked(1..=3), vec![batch(&[1, 3, 2, 3], false)]);
    assert_eq!(sequences!(findings.disordered), [2]);
}

#[test]
fn torn_is_half_of_a_request_whose_outcome_is_unknown() {
    let requests = [request(unknown(), Action::Save, &[("k", 1), ("other", 2)])];
    assert_eq!(sequences!(judge(&requests, vec![sent(&[1])]).torn), [2]);
    let whole = vec![applied("k", Some(1)), applied("other", Some(2))];
    judge(&requests, vec![Event::Batch { operations: whole, answered: true }]).assert_hold();
    judge(&requests, vec![]).assert_hold();
}

#[test]
fn unsent_is_what_nobody_sent_or_was_refused() {
    assert_eq!(sequences!(judge(&acked(1..=1), vec![sent(&[1, 7])]).unsent), [7]);
    assert_eq!(judge(&acked(1..=1), vec![sent(&[1]), deleted()]).unsent.len(), 1);
    let refused = [request(Outcome::Refused { status: "no".to_owned() }, Action::Save, &[("k", 1)])];
    assert_eq!(sequences!(judge(&refused, vec![sent(&[1])]).unsent), [1]);
    let dead_letters = vec![applied("stranger", Some(1))];
    assert_eq!(check(&[], &Destination { dead_letters, ..Destination::default() }).unsent.len(), 1);
}

#[test]
fn repeats_are_told_by_identity_and_identities_belong_to_one_operation() {
    let at = |sequence, position| {
        let identity = Identity { log_id: "l".to_owned(), partition: 0, position, number: 0 };
        Applied { identity: Some(identity), ..applied("k", Some(sequence)) }
    };
    let file = |operations| vec![Event::Batch { operations, answered: true }];
    let findings = judge(&acked(1..=2), file(vec![at(1, 10), at(1, 10), at(2, 11)]));
    findings.assert_hold();
    assert_eq!(findings.duplicated, 1);
    // The same operation twice in the log is no repeat to a reader.
    assert_eq!(judge(&acked(1..=2), file(vec![at(1, 10), at(1, 11), at(2, 12)])).duplicated, 0);
    assert_eq!(sequences!(judge(&acked(1..=2), file(vec![at(1, 10), at(2, 10)])).misidentified), [2]);
}

#[test]
fn versions_rise_with_positions() {
    let at = |sequence, position, version| {
        let identity = Identity { log_id: "l".to_owned(), partition: 0, position, number: 0 };
        Applied { identity: Some(identity), version: Some(version), ..applied("k", Some(sequence)) }
    };
    let file = |operations| judge(&acked(1..=3), vec![Event::Batch { operations, answered: true }]);
    file(vec![at(1, 10, 70), at(2, 11, 71), at(2, 11, 71), at(3, 20, 90)]).assert_hold();
    assert_eq!(sequences!(file(vec![at(1, 10, 70), at(2, 11, 70), at(3, 20, 90)]).misversioned), [2]);
    // Also across keys and whatever the order of arrival: the positions count.
    let mut other = at(3, 12, 60);
    other.object_id = "other".to_owned();
    let mut requests = acked(1..=2);
    requests.push(request(acknowledged(3), Action::Save, &[("other", 3)]));
    let events = vec![Event::Batch { operations: vec![other, at(1, 10, 70), at(2, 11, 71)], answered: true }];
    assert_eq!(sequences!(judge(&requests, events).misversioned), [3]);
    // A repeat with another version is another operation.
    let again = file(vec![at(1, 10, 70), at(1, 10, 71), at(2, 11, 72), at(3, 12, 73)]);
    assert_eq!(sequences!(again.misidentified), [1]);
}

#[test]
fn a_request_id_leads_to_its_own_request() {
    let as_request = |sequence, id: &str| {
        let operation = Applied { request_id: Some(id.to_owned()), ..applied("k", Some(sequence)) };
        Event::Batch { operations: vec![operation], answered: true }
    };
    judge(&acked(1..=2), vec![as_request(1, "r1"), as_request(2, "r2")]).assert_hold();
    let swapped = judge(&acked(1..=2), vec![as_request(1, "r2"), as_request(2, "r2")]);
    assert_eq!(sequences!(swapped.misidentified), [1]);
    // Nobody was told the id of a request without an answer.
    let requests = [request(unknown(), Action::Save, &[("k", 1)]), acked(2..=2).remove(0)];
    judge(&requests, vec![as_request(1, "r9"), as_request(2, "r2")]).assert_hold();
    assert_eq!(
        sequences!(judge(&requests, vec![as_request(1, "r2"), as_request(2, "r2")]).misidentified),
        [1]
    );
    // Two producers were told the same id.
    let mut requests = acked(1..=2);
    requests[1].outcome = acknowledged(1);
    assert_eq!(sequences!(judge(&requests, vec![sent(&[1, 2])]).misidentified), [2]);
}

/// Saves 1, 3, 5, 6 and deletes 2, 4.
fn with_deletes() -> Vec<Request> {
    let mut requests = acked(1..=6);
    requests[1] = delete(2);
    requests[3] = delete(4);
    requests
}

#[test]
fn a_delete_is_told_by_its_neighbours() {
    let all = || vec![sent(&[1]), deleted(), sent(&[3]), deleted(), sent(&[5, 6])];
    let findings = judge(&with_deletes(), all());
    findings.assert_hold();
    assert_eq!(findings.duplicated, 0);
    // The second delete is missing.
    assert_eq!(sequences!(judge(&with_deletes(), vec![sent(&[1]), deleted(), sent(&[3, 5, 6])]).lost), [4]);
    // It comes too late.
    let late = judge(&with_deletes(), vec![sent(&[1]), deleted(), sent(&[3, 5, 6]), deleted()]);
    assert_eq!((sequences!(late.disordered), sequences!(late.stale)), (vec![4], vec![6]));
    // A restart that goes back to a delete, although a later one is to come.
    let mut requests = with_deletes();
    requests.push(delete(7));
    let mut rewound = all();
    rewound.extend([Event::Restart, deleted(), sent(&[5, 6]), deleted()]);
    let findings = judge(&requests, rewound);
    findings.assert_hold();
    assert_eq!((findings.rewound, findings.duplicated), (1, 3));
    // What came before the restart goes back to before the delete.
    let back = vec![
        sent(&[1]),
        deleted(),
        Event::Restart,
        sent(&[1]),
        deleted(),
        sent(&[3]),
        deleted(),
        sent(&[5, 6]),
    ];
    judge(&with_deletes(), back).assert_hold();
    // A delete without an answer comes again, and then the agent goes back: the one that was replaced is older than both.
    let without_answer = Event::Batch { operations: vec![applied("k", None)], answered: false };
    let events = vec![sent(&[3]), without_answer, deleted(), Event::Restart, sent(&[3]), deleted()];
    let findings = coalescing(&with_deletes()[..4], events);
    findings.assert_hold();
    assert_eq!((findings.superseded, findings.duplicated), (2, 3));
    // All but the last delete was replaced.
    let findings = coalescing(&with_deletes()[..4], vec![deleted()]);
    findings.assert_hold();
    assert_eq!(findings.superseded, 3);
}

#[test]
fn a_request_id_tells_a_delete_for_sure() {
    let with_id = |id: &str| {
        let operation = Applied { request_id: Some(id.to_owned()), ..applied("k", None) };
        Event::Batch { operations: vec![operation], answered: true }
    };
    // The neighbours alone would take the first one for 4.
    let events = vec![sent(&[1]), sent(&[3]), with_id("r2"), with_id("r4"), sent(&[5, 6])];
    assert_eq!(sequences!(judge(&with_deletes(), events).disordered), [2]);
    // An id that nobody was told can only be that of an unknown request.
    let requests = [request(unknown(), Action::Delete, &[("k", 1)]), delete(2)];
    judge(&requests, vec![with_id("r9"), with_id("r2")]).assert_hold();
    assert_eq!(sequences!(judge(&requests, vec![with_id("r9")]).lost), [2]);
}

#[test]
fn findings_name_the_operation() {
    let findings = judge(&acked(1..=2), vec![sent(&[1])]);
    assert!(findings.to_string().contains("lost: 1\n  i k 2: acknowledged as r2"), "{findings}");
}

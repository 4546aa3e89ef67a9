//! A bad record costs itself alone, and a bad module its own index.

use std::time::Instant;

use super::*;

/// Scenario: one record among 256 loops, crashes, takes all memory or breaks the count. It alone fails, with the reason;
/// the others come out as they should, in order.
#[test]
fn the_poison_alone_fails() {
    for (how, code) in [
        ("loop", ReasonCode::TransformTimedOut),
        ("panic", ReasonCode::TransformTrapped),
        ("recurse", ReasonCode::TransformTrapped),
        ("memory", ReasonCode::TransformTrapped),
        ("huge_return", ReasonCode::TransformTrapped),
        ("exit", ReasonCode::TransformTrapped),
        ("wrong_count", ReasonCode::TransformInvalid),
        ("bad_json", ReasonCode::TransformInvalid),
        ("fail", ReasonCode::TransformFailed),
    ] {
        let transforms =
            Transforms::start(vec![slot("poisoned", &behave_on(how, "200"))], &settings()).unwrap();
        let outcomes = run(&transforms, "poisoned", records(256));
        assert_eq!(outcomes.len(), 256);
        for (id, outcome) in outcomes.iter().enumerate() {
            if id == 200 {
                assert_eq!(failure(outcome).0, code, "{how}");
            } else {
                assert_eq!(*outcome, Outcome::Unchanged, "{how}: {id}");
            }
        }
        let status = &transforms.status()[0];
        assert_eq!((status.records, status.failures, status.suspended), (256, 1, false), "{how}");
    }
}

/// Scenario: more records than a call takes, large ones among them, on several threads: the outcomes are whole and in
/// the order of the records.
#[test]
fn outcomes_keep_their_order() {
    let transforms = Transforms::start(vec![slot("same", &behave("identity"))], &settings()).unwrap();
    let body = |id: usize| format!(r#"{{"n":{id},"text":"{}"}}"#, "x".repeat(id % 7 * 5_000));
    let record = |id: usize| record_of(Action::Save, &id.to_string(), &body(id));
    let waiting: Vec<_> = (0..4)
        .map(|block| {
            submit(&transforms, "same", "products", (block * 1000..block * 1000 + 700).map(record).collect())
        })
        .collect();
    for (block, transformed) in waiting.into_iter().enumerate() {
        let transformed = transformed.recv_timeout(LONG).unwrap();
        assert_eq!(transformed.module, Some(misbehaves().digest()));
        let expected: Vec<_> =
            (block * 1000..block * 1000 + 700).map(|id| Outcome::Replace(body(id).into())).collect();
        assert_eq!(transformed.outcomes, expected);
    }
    assert_eq!(run(&transforms, "same", Vec::new()), []);
}

/// Scenario: two indexes have a module that never ends, and there are two threads. A third index is served between
/// their calls, long before they are through or suspended.
#[test]
fn others_do_not_wait() {
    let slots = vec![slot("endless", &behave("loop")), slot("fine", &behave("identity"))];
    let transforms = Transforms::start(slots, &settings()).unwrap();
    let endless =
        [0, 1].map(|number| submit(&transforms, "endless", &format!("endless-{number}"), records(256)));
    let started = Instant::now();
    for _ in 0..20 {
        assert!(matches!(run(&transforms, "fine", records(10))[9], Outcome::Replace(_)));
    }
    let fine = started.elapsed();
    for waiting in endless {
        let outcomes = waiting.recv_timeout(LONG).unwrap().outcomes;
        let timed_out = outcomes.iter().filter(|outcome| failure(outcome).0 == ReasonCode::TransformTimedOut);
        assert!(timed_out.count() > 0);
        assert_eq!(
            failure(&outcomes[255]).0,
            ReasonCode::TransformSuspended,
            "the rest of it, once it burned five seconds"
        );
    }
    assert!(fine < started.elapsed() / 2, "{fine:?} of {:?}", started.elapsed());
    assert!(transforms.status().iter().all(|status| status.suspended == (&*status.transform == "endless")));
}

/// Scenario: no module serves, no such transform is known, or its `init` refuses this index. Nothing passes.
#[test]
fn nothing_passes_untransformed() {
    let empty = Slot::new("empty", "{}", Limits::default());
    let slots =
        vec![empty, slot("refuses", &behave("init_error")), slot("starts_never", &behave("init_loop"))];
    let transforms = Transforms::start(slots, &settings()).unwrap();
    for (name, code, words) in [
        ("empty", ReasonCode::TransformFailed, "no module serves as transform \"empty\""),
        ("unknown", ReasonCode::TransformFailed, "no module serves as transform \"unknown\""),
        ("refuses", ReasonCode::TransformFailed, "init refused to start: the table has no `currency`"),
        ("starts_never", ReasonCode::TransformTimedOut, "could not be started for this index"),
    ] {
        for outcome in run(&transforms, name, records(3)) {
            let (found, message) = failure(&outcome);
            assert!(found == code && message.contains(words), "{name}: {message}");
        }
    }
}

/// Scenario: whoever waits panics when it is told. The threads go on.
#[test]
fn threads_survive_who_waits() {
    let transforms = Transforms::start(vec![slot("same", "{}")], &settings()).unwrap();
    for _ in 0..4 {
        transforms.submit(&"same".into(), &"products".into(), records(1), |_| panic!("on purpose"));
    }
    assert_eq!(run(&transforms, "same", records(1)), [Outcome::Unchanged]);
}

/// Scenario: the last handle goes while jobs wait: they are run all the same.
#[test]
fn what_waits_is_run_to_its_end() {
    let transforms = Transforms::start(vec![slot("same", &behave("identity"))], &settings()).unwrap();
    let waiting: Vec<_> = (0..20).map(|_| submit(&transforms, "same", "products", records(500))).collect();
    drop(transforms);
    for transformed in waiting {
        let outcomes = transformed.recv_timeout(LONG).unwrap().outcomes;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Replace(_))));
    }
}

/// Scenario: an instance gathers memory with every record. It is replaced before it breaks, and no record notices.
#[test]
fn growing_instances_are_replaced() {
    let transforms = Transforms::start(vec![slot("grows", &behave("grow"))], &settings()).unwrap();
    for _ in 0..20 {
        assert!(run(&transforms, "grows", records(10)).iter().all(|outcome| *outcome == Outcome::Unchanged));
    }
}

/// Scenario: more indexes than there is memory for instances. The oldest go, and come again.
#[test]
fn instances_are_dropped_for_others() {
    let settings = Settings { transforms_bytes_max: 4 << 20, ..settings() };
    let transforms = Transforms::start(vec![slot("same", &behave("index"))], &settings).unwrap();
    for round in 0..3 {
        for number in 0..20 {
            let index = format!("index-{number}");
            let transformed = submit(&transforms, "same", &index, records(1)).recv_timeout(LONG).unwrap();
            let expected = format!(r#"{{"index":"{index}"}}"#);
            assert_eq!(transformed.outcomes, [Outcome::Replace(expected.into())], "round {round}");
        }
    }
}

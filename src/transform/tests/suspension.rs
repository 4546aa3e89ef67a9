//! A module that burns time is kept from running, tried now and then, and let go again.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::*;

/// A clock that stands until it is set on.
#[derive(Clone)]
struct Clock(Arc<Mutex<Instant>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    fn transforms(&self, slots: Vec<Arc<Slot>>) -> Arc<Transforms> {
        let clock = self.0.clone();
        Transforms::start_at(slots, &settings(), Arc::new(move || *clock.lock().unwrap())).unwrap()
    }
}

/// A record of a suspended transform fails at once.
fn is_suspended(transforms: &Transforms) -> bool {
    transforms.status().iter().any(|status| status.suspended)
}

/// Burns until it is suspended. Poison is the record "p" alone, the others are sound.
fn burn(transforms: &Transforms) {
    let deadline = Instant::now() + LONG;
    while !is_suspended(transforms) {
        assert!(Instant::now() < deadline);
        run(transforms, "burns", (0..64).map(|_| record("p")).collect());
    }
}

/// Scenario: five seconds are burned. From then on records fail at once and cost nothing, but one a second is tried; ten
/// of those that end lift it, one that does not starts the count anew.
#[test]
fn it_is_suspended_and_lifted_by_trials() {
    let clock = Clock::new();
    let transforms = clock.transforms(vec![slot("burns", &behave_on("loop", "p"))]);
    burn(&transforms);
    let burned = transforms.status()[0].cpu;
    assert!(burned >= Duration::from_secs(5) && burned < Duration::from_secs(7), "{burned:?}");

    for outcome in run(&transforms, "burns", records(300)) {
        let (code, message) = failure(&outcome);
        assert_eq!(code, ReasonCode::TransformSuspended);
        assert!(message.contains("replace the module, or resume"), "{message}");
    }
    assert!(transforms.status()[0].cpu - burned < Duration::from_millis(50));

    for trial in 0..15 {
        clock.advance(Duration::from_secs(1));
        if trial == 4 {
            let outcomes = run(&transforms, "burns", vec![record("p"), record("1")]);
            assert_eq!(failure(&outcomes[0]).0, ReasonCode::TransformTimedOut, "the one that is tried");
            assert_eq!(failure(&outcomes[1]).0, ReasonCode::TransformSuspended);
            continue;
        }
        assert!(is_suspended(&transforms), "trial {trial}");
        let outcomes = run(&transforms, "burns", records(2));
        assert_eq!(outcomes[0], Outcome::Unchanged, "the one that is tried");
        if trial < 14 {
            assert_eq!(failure(&outcomes[1]).0, ReasonCode::TransformSuspended);
        }
    }
    assert!(!is_suspended(&transforms));
    assert!(run(&transforms, "burns", records(300)).iter().all(|outcome| *outcome == Outcome::Unchanged));
}

/// Scenario: a new module, or an operator, lifts at once.
#[test]
fn a_new_module_and_an_operator_lift() {
    let slot = slot("burns", &behave_on("loop", "p"));
    let transforms = Clock::new().transforms(vec![slot.clone()]);
    burn(&transforms);
    transforms.resume("another");
    assert!(is_suspended(&transforms));
    transforms.resume("burns");
    assert!(!is_suspended(&transforms));
    assert_eq!(run(&transforms, "burns", records(1)), [Outcome::Unchanged]);

    burn(&transforms);
    slot.swap(misbehaves().clone());
    assert!(run(&transforms, "burns", records(300)).iter().all(|outcome| *outcome == Outcome::Unchanged));
    assert!(!is_suspended(&transforms));
}

/// Scenario: crashes and failures without end. They cost no time, and nothing is suspended.
#[test]
fn crashes_do_not_suspend() {
    for how in ["panic", "fail", "wrong_count"] {
        let transforms = Clock::new().transforms(vec![slot("crashes", &behave(how))]);
        for _ in 0..5 {
            assert!(
                run(&transforms, "crashes", records(256))
                    .iter()
                    .all(|outcome| failure(outcome).0 != ReasonCode::TransformSuspended)
            );
        }
        assert!(!is_suspended(&transforms));
    }
}

//! Guests that take what is not theirs: each is stopped, and the words say what to do.

use std::time::Instant;

use super::*;
use crate::transform::CallError;

fn call(how: &str) -> CallError {
    start(&behave(how)).unwrap().call(&[record("7")], Duration::from_millis(250)).unwrap_err()
}

#[track_caller]
fn says(error: &CallError, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "\"{word}\" is missing in: {message}");
    }
}

/// Scenario: an endless loop. It ends with its CPU time, to the tick.
#[test]
fn endless_loop() {
    let mut instance = start(&behave("loop")).unwrap();
    let (started, wall) = (crate::transform::limits::thread_cpu(), Instant::now());
    let error = instance.call(&[record("7")], Duration::from_millis(100)).unwrap_err();
    let cpu = crate::transform::limits::thread_cpu() - started;
    assert_eq!(error, CallError::TimedOut { limit: Duration::from_millis(100) });
    says(&error, &["100 ms of CPU time", "endless loop", "cpu_ms_max"]);
    assert!(cpu >= Duration::from_millis(100) && cpu < Duration::from_millis(150), "{cpu:?}");
    assert!(wall.elapsed() < LONG);
}

/// Scenario: it takes memory without end.
#[test]
fn memory_bomb() {
    let error = call("memory");
    assert!(
        matches!(error, CallError::OutOfMemory { limit: 67_108_864, wanted } if wanted > 67_108_864),
        "{error:?}"
    );
    says(&error, &["raise memory_bytes_max", "hold less"]);
}

/// Scenario: calls within calls without end. The host's stack is not touched.
#[test]
fn deep_recursion() {
    says(&call("recurse"), &["nested too deep", "recursion"]);
}

/// Scenario: it panics, traps, or ends the program. The panic's place and words come along, on one line.
#[test]
fn crashes() {
    says(
        &call("panic"),
        &["panicked at", "src/lib.rs", "no price in 7\\nand a second line", "return `fail`"],
    );
    says(&call("trap"), &["crashed", "unreachable"]);
    says(&call("exit"), &["exit", "return `fail`"]);
}

/// Scenario: a gigabyte comes back. The host takes 16 MiB at most.
#[test]
fn huge_return() {
    let started = Instant::now();
    let error = call("huge_return");
    assert_eq!(error, CallError::TooMuchReturned { limit: 16 << 20 });
    says(&error, &["more than 16777216 bytes at once", "return less"]);
    assert!(started.elapsed() < LONG);
}

/// Scenario: fewer outcomes than records.
#[test]
fn wrong_count() {
    let error = call("wrong_count");
    assert_eq!(error, CallError::WrongCount { found: 0, expected: 1 });
    says(&error, &["exactly one for each"]);
}

/// Chance is the same for every instance, so that a record that is run again gives the same.
#[test]
fn chance_is_repeatable() {
    let drawn = || start(&behave("random")).unwrap().call(&[record("7")], LONG).unwrap();
    assert!(matches!(drawn()[0], Outcome::Replace(_)));
    assert_eq!(drawn(), drawn());
}

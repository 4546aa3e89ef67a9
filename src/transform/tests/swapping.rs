//! Modules change while records pass.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;

/// Scenario: modules are swapped again and again while batches run. Every job is run by one module, whole: nothing is
/// lost, twice, or in between, and what is submitted after a swap is run by the new one.
#[test]
fn swaps_between_batches() {
    let first = misbehaves().clone();
    // The same code under another digest: a custom section more.
    let mut bytes = guest("misbehaves");
    bytes.extend_from_slice(&[0, 3, 1, b'x', b'y']);
    let second = Module::compile(engine(), &bytes).unwrap();
    assert_ne!(first.digest(), second.digest());

    let slot = slot("swapped", &behave("identity"));
    let transforms = Transforms::start(vec![slot.clone()], &settings()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapping = thread::spawn({
        let (slot, stop, modules) = (slot.clone(), stop.clone(), [first.clone(), second.clone()]);
        move || {
            let mut swaps = 0;
            while !stop.load(Ordering::Relaxed) {
                slot.swap(modules[swaps % 2].clone());
                swaps += 1;
                thread::yield_now();
            }
        }
    });
    let waiting: Vec<_> =
        (0..100).map(|_| submit(&transforms, "swapped", "products", records(300))).collect();
    for transformed in waiting {
        let transformed = transformed.recv_timeout(LONG).unwrap();
        assert!([first.digest(), second.digest()].contains(&transformed.module.unwrap()));
        assert_eq!(transformed.outcomes.len(), 300);
        assert!(
            transformed.outcomes.iter().all(|outcome| *outcome == Outcome::Replace(r#"{"price":1}"#.into()))
        );
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().unwrap();

    for module in [&second, &first, &second] {
        let generation = slot.swap(module.clone());
        assert_eq!(slot.current().unwrap().generation, generation);
        let transformed = submit(&transforms, "swapped", "products", records(1)).recv_timeout(LONG).unwrap();
        assert_eq!(transformed.module, Some(module.digest()));
    }
}

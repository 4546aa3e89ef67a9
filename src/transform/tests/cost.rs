//! What a record costs, for whoever changes the path that it takes.

use std::time::Instant;

use super::*;
use crate::transform::limits::thread_cpu;

/// Prints the CPU time of a record in batches of 256, for `unchanged` and for a body that is copied and checked:
/// `cargo test --release -p sync-agent --lib transform::tests::cost -- --ignored --nocapture`.
#[test]
#[ignore = "it measures, and asserts nothing: run it alone and optimised"]
fn of_a_record() {
    let body = format!(r#"{{"price":12.5,"name":"A lamp","text":"{}"}}"#, "lorem ipsum ".repeat(48));
    let records: Vec<_> =
        (0..256).map(|id| record_of(Action::Save, &format!("object-{id}"), &body)).collect();
    for how in ["", "identity"] {
        let mut instance = start(&behave(how)).unwrap();
        let mut best = Duration::MAX;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            let started = thread_cpu();
            instance.call(&records, LONG).unwrap();
            best = best.min(thread_cpu() - started);
        }
        let name = if how.is_empty() { "unchanged" } else { how };
        println!("{name}: {} ns a record of {} bytes", best.as_nanos() / 256, body.len());
    }
}

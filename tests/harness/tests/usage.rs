//! What a process costs. Alone in its binary, since other tests would take and release memory meanwhile.

use std::time::{Duration, Instant};

use harness::usage::Usage;

/// Scenario: this process burns CPU and holds memory. Protects the figures of every benchmark.
#[test]
fn sees_what_this_process_costs() {
    const BURNT: Duration = Duration::from_millis(50);
    let usage = || Usage::of(std::process::id()).unwrap();
    let (start, before) = (Instant::now(), usage());
    let held = vec![1u8; 64 << 20];
    let mut sum = 0u64;
    loop {
        assert!(start.elapsed() < Duration::from_secs(60), "no CPU time was seen");
        sum += held.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        if usage().cpu >= before.cpu + BURNT {
            break;
        }
    }
    let after = usage();
    assert!(sum > 0);
    assert!(after.resident_bytes >= before.resident_bytes + (60 << 20), "{before:?} {after:?}");
    assert!(after.resident_bytes_max >= after.resident_bytes);
    drop(held);
    let freed = usage();
    assert!(freed.resident_bytes + (60 << 20) <= after.resident_bytes, "{after:?} {freed:?}");
    // The kernel sums pages up for each CPU and records the maximum from sums that are a little old.
    assert!(freed.resident_bytes_max + (2 << 20) >= after.resident_bytes, "{after:?} {freed:?}");
}

//! What parts of the agent count and measure on their way, without a lock and without knowing who looks at it.
//!
//! Everything else that is told of the agent is what its parts know anyway, and is asked of them when somebody wants to
//! see it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts upwards.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts so many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts values by how large they are.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above the last.
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// Each bound, ascending, with how many values were not above it.
    pub at_most: Vec<(f64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// All of them together.
    pub sum: f64,
}

impl Histogram {
    /// Nothing so far. The bounds are ascending and inclusive.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted(), "{bounds:?}");
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0_f64.to_bits()) }
    }

    /// Takes a value in.
    pub fn observe(&self, value: f64) {
        self.observe_many(value, 1);
    }

    /// Takes the same value in, so many times.
    pub fn observe_many(&self, value: f64, count: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(count, Ordering::Relaxed);
        let more = value * count as f64;
        let add = |sum| Some((f64::from_bits(sum) + more).to_bits());
        // Always some, so it cannot fail.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// What there was so far.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        let mut count = 0;
        let mut below = self.counts.iter().map(|of| {
            count += of.load(Ordering::Relaxed);
            count
        });
        let at_most = self.bounds.iter().copied().zip(below.by_ref()).collect();
        below.for_each(drop);
        Buckets { at_most, count, sum: f64::from_bits(self.sum.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds are inclusive, what is above the last counts in the whole only, and the sum is the values'.
    #[test]
    fn values_fall_into_their_buckets() {
        let histogram = Histogram::new(&[1.0, 2.5]);
        [0.0, 1.0, 1.5, 2.5, 9.0].iter().for_each(|value| histogram.observe(*value));
        histogram.observe_many(2.0, 3);
        let buckets = Buckets { at_most: vec![(1.0, 2), (2.5, 7)], count: 8, sum: 20.0 };
        assert_eq!(histogram.buckets(), buckets);
    }
}

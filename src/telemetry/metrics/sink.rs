//! Where samples go.

use super::table::Metric;
use crate::runtime::Buckets;

/// Takes the samples of one moment, in any order.
pub trait Sink: Send {
    /// Takes a counter or gauge, with a value for each of its labels.
    fn add(&mut self, metric: Metric, labels: &[&str], value: f64);

    /// Takes a histogram.
    fn add_histogram(&mut self, metric: Metric, labels: &[&str], buckets: &Buckets);
}

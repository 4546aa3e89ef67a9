//! The agent's metrics as OpenTelemetry has them: the same table, with units of its own and buckets that do not overlap.

use plugin_api::identity::Timestamp;

use super::messages::{
    Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric as Message, Point, Sum, text,
};
use crate::{
    runtime::Buckets,
    telemetry::metrics::{FAMILIES, Family, Kind, Metric, Sink},
};

/// Counted since the start.
const CUMULATIVE: i32 = 2;

/// Samples on their way to a collector.
#[derive(Debug)]
pub(super) struct Collected {
    /// Nanoseconds.
    start: u64,
    now: u64,
    points: Vec<Vec<Point>>,
    histograms: Vec<Vec<HistogramPoint>>,
}

impl Collected {
    pub(super) fn new(start: Timestamp, now: Timestamp) -> Self {
        Self {
            start: start.0.saturating_mul(1_000),
            now: now.0.saturating_mul(1_000),
            points: FAMILIES.iter().map(|_| Vec::new()).collect(),
            histograms: FAMILIES.iter().map(|_| Vec::new()).collect(),
        }
    }

    /// The families that have a sample.
    pub(super) fn finish(self) -> Vec<Message> {
        let all = FAMILIES.iter().zip(self.points).zip(self.histograms);
        let there = all.filter(|((_, points), histograms)| !points.is_empty() || !histograms.is_empty());
        there.map(|((family, points), histograms)| message(family, points, histograms)).collect()
    }
}

impl Sink for Collected {
    fn add(&mut self, metric: Metric, labels: &[&str], value: f64) {
        self.points[metric as usize].push(Point {
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            as_double: Some(value),
            attributes: attributes(metric, labels),
        });
    }

    fn add_histogram(&mut self, metric: Metric, labels: &[&str], buckets: &Buckets) {
        let mut below = 0;
        let up_to = buckets.at_most.iter().map(|(_, count)| *count).chain([buckets.count]);
        let bucket_counts = up_to.map(|count| count - std::mem::replace(&mut below, count)).collect();
        self.histograms[metric as usize].push(HistogramPoint {
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            count: buckets.count,
            sum: Some(buckets.sum),
            bucket_counts,
            explicit_bounds: buckets.at_most.iter().map(|(bound, _)| *bound).collect(),
            attributes: attributes(metric, labels),
        });
    }
}

fn attributes(metric: Metric, labels: &[&str]) -> Vec<KeyValue> {
    metric.family().labels.iter().zip(labels).map(|(name, value)| text(name, value)).collect()
}

fn message(family: &Family, data_points: Vec<Point>, histograms: Vec<HistogramPoint>) -> Message {
    let unit = match family.unit {
        "seconds" => "s",
        "bytes" => "By",
        _ => "1",
    };
    let data = match family.kind {
        Kind::Gauge => Data::Gauge(Gauge { data_points }),
        Kind::Counter => {
            Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true })
        }
        Kind::Histogram => {
            Data::Histogram(Histogram { data_points: histograms, aggregation_temporality: CUMULATIVE })
        }
    };
    Message {
        name: family.name.to_owned(),
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
    }
}

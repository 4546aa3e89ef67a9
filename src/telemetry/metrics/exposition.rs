//! Metrics as text, in either of the two formats that a scraper may ask for: Prometheus's own
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>) and OpenMetrics
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>). They differ in the names of counters, and in how they end.
//!
//! Samples may come in any order; those of a family stand together, and every family of the table is there.

use std::fmt::Write as _;

use super::{
    sink::Sink,
    table::{FAMILIES, Family, Kind, Metric},
};
use crate::runtime::Buckets;

/// Which format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus, version 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

/// Samples on their way to a scraper.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    /// The lines of each family.
    samples: Vec<String>,
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics only where it is named and not liked less than the other.
    #[must_use]
    pub fn of(accept: &str) -> Self {
        let mut liked = [None, None];
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let at = match parts.next() {
                Some("application/openmetrics-text") => 1,
                Some("text/plain" | "text/*" | "*/*") => 0,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok());
            let quality: f32 = quality.unwrap_or(1.0);
            liked[at] = Some(liked[at].unwrap_or(quality).max(quality));
        }
        match liked {
            [plain, Some(open)] if open > 0.0 && open >= plain.unwrap_or(0.0) => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// What the answer's `Content-Type` says.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Exposition {
    /// Without a sample.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, samples: vec![String::new(); FAMILIES.len()] }
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        let mut text = String::with_capacity(self.samples.iter().map(|lines| lines.len() + 200).sum());
        for (family, lines) in FAMILIES.iter().zip(&self.samples) {
            let Family { name, kind, unit, help, .. } = family;
            let name = match self.format {
                Format::Prometheus => name,
                Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            };
            let kind = kind.as_str();
            // What is written to a string is always written.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            if self.format == Format::OpenMetrics && !unit.is_empty() {
                let _ = writeln!(text, "# UNIT {name} {unit}");
            }
            text.push_str(lines);
        }
        if self.format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }

    fn line(&mut self, metric: Metric, suffix: &str, labels: &[&str], bound: Option<f64>, value: f64) {
        let family = metric.family();
        debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
        let out = &mut self.samples[metric as usize];
        out.push_str(family.name);
        out.push_str(suffix);
        let mut before = '{';
        for (name, value) in family.labels.iter().zip(labels) {
            let _ = write!(out, "{before}{name}=\"");
            escape(out, value);
            out.push('"');
            before = ',';
        }
        if let Some(bound) = bound {
            let _ = write!(out, "{before}le=\"");
            number(out, bound);
            // OpenMetrics wants a bound to look like the float that it is.
            if bound.is_finite() && bound.fract() == 0.0 {
                out.push_str(".0");
            }
            out.push('"');
            before = ',';
        }
        if before == ',' {
            out.push('}');
        }
        out.push(' ');
        number(out, value);
        out.push('\n');
    }
}

impl Sink for Exposition {
    fn add(&mut self, metric: Metric, labels: &[&str], value: f64) {
        let family = metric.family();
        debug_assert_ne!(family.kind, Kind::Histogram, "{}", family.name);
        self.line(metric, "", labels, None, value);
    }

    fn add_histogram(&mut self, metric: Metric, labels: &[&str], buckets: &Buckets) {
        let family = metric.family();
        debug_assert_eq!(family.kind, Kind::Histogram, "{}", family.name);
        let last = (f64::INFINITY, buckets.count);
        for (bound, count) in buckets.at_most.iter().copied().chain([last]) {
            self.line(metric, "_bucket", labels, Some(bound), count as f64);
        }
        self.line(metric, "_sum", labels, None, buckets.sum);
        self.line(metric, "_count", labels, None, buckets.count as f64);
    }
}

fn escape(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

fn number(out: &mut String, value: f64) {
    if value == f64::INFINITY {
        out.push_str("+Inf");
    } else {
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus, curl and a browser send.
    #[test]
    fn a_format_is_chosen_by_what_is_accepted() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Format::of(prometheus), Format::OpenMetrics);
        assert_eq!(Format::of("application/openmetrics-text"), Format::OpenMetrics);
        for other in [
            "",
            "*/*",
            "text/html, */*;q=0.8",
            "text/plain, application/openmetrics-text;q=0.9",
            "nonsense;;,",
        ] {
            assert_eq!(Format::of(other), Format::Prometheus, "{other}");
        }
    }

    fn text(format: Format) -> String {
        let mut out = Exposition::new(format);
        out.add(Metric::Retries, &["a\"b\\c\nd", "unknown"], 3.0);
        out.add(Metric::DiskFull, &[], f64::INFINITY);
        let buckets = Buckets { at_most: vec![(0.5, 1), (10.0, 2)], count: 3, sum: 99.5 };
        out.add_histogram(Metric::AcceptDelivered, &["search"], &buckets);
        out.add(Metric::Retries, &["b", "throttled"], 1e18);
        out.finish()
    }

    fn of(text: &str, name: &str) -> String {
        let lines = text.lines().filter(|line| line.contains(&format!("sync_agent_{name}")));
        lines.filter(|line| !line.starts_with("# HELP")).collect::<Vec<_>>().join("\n")
    }

    /// Both formats, letter by letter: escapes, bounds, units, the names of counters, the end.
    #[test]
    fn both_formats_are_as_their_documents_have_them() {
        let (plain, open) = (text(Format::Prometheus), text(Format::OpenMetrics));
        let samples = "sync_agent_retries_total{destination=\"a\\\"b\\\\c\\nd\",cause=\"unknown\"} 3\n\
                       sync_agent_retries_total{destination=\"b\",cause=\"throttled\"} 1000000000000000000";
        assert_eq!(of(&plain, "retries"), format!("# TYPE sync_agent_retries_total counter\n{samples}"));
        assert_eq!(of(&open, "retries"), format!("# TYPE sync_agent_retries counter\n{samples}"));
        assert_eq!(
            of(&plain, "disk_full"),
            "# TYPE sync_agent_disk_full_seconds gauge\nsync_agent_disk_full_seconds +Inf"
        );
        let histogram = "# TYPE sync_agent_accept_delivered_seconds histogram\n\
                         # UNIT sync_agent_accept_delivered_seconds seconds\n\
                         sync_agent_accept_delivered_seconds_bucket{destination=\"search\",le=\"0.5\"} 1\n\
                         sync_agent_accept_delivered_seconds_bucket{destination=\"search\",le=\"10.0\"} 2\n\
                         sync_agent_accept_delivered_seconds_bucket{destination=\"search\",le=\"+Inf\"} 3\n\
                         sync_agent_accept_delivered_seconds_sum{destination=\"search\"} 99.5\n\
                         sync_agent_accept_delivered_seconds_count{destination=\"search\"} 3";
        assert_eq!(of(&open, "accept_delivered"), histogram);
        assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF") && !plain.contains("# UNIT"));
        assert_eq!(plain.matches("# TYPE").count(), FAMILIES.len());
    }
}

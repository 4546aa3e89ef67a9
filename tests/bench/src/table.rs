//! The figures and how they are shown.

use std::{fmt, time::Duration};

use serde::Serialize;

/// One measured number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    scenario: &'static str,
    name: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
}

/// What issue or design asks for.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Inclusive.
    AtLeast(f64),
    /// Inclusive.
    AtMost(f64),
}

#[derive(Clone, Debug, Serialize)]
struct Ratio {
    value: f64,
    of: &'static str,
}

/// Every figure of a run, in the order of measurement.
#[derive(Debug, Default)]
pub(crate) struct Table {
    figures: Vec<Figure>,
}

impl Table {
    /// Adds a figure; what is known about it is added to the returned one.
    pub(crate) fn add(
        &mut self,
        scenario: &'static str,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> &mut Figure {
        self.figures.push(Figure { scenario, name: name.into(), value, unit, target: None, ratio: None });
        self.figures.last_mut().expect("it was pushed above")
    }

    /// Adds a duration in milliseconds.
    pub(crate) fn add_time(
        &mut self,
        scenario: &'static str,
        name: impl Into<String>,
        value: Duration,
    ) -> &mut Figure {
        self.add(scenario, name, value.as_secs_f64() * 1e3, "ms")
    }

    pub(crate) fn figures(&self) -> &[Figure] {
        &self.figures
    }
}

impl Figure {
    /// States what the figure has to reach.
    pub(crate) fn target(&mut self, target: Target) -> &mut Self {
        self.target = Some(target);
        self
    }

    /// States the same figure of a baseline in the same run.
    pub(crate) fn ratio(&mut self, of: &'static str, baseline: f64) -> &mut Self {
        self.ratio = Some(Ratio { value: self.value / baseline, of });
        self
    }
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.figures.iter().map(|figure| figure.scenario.len() + figure.name.len() + 1);
        let width = names.max().unwrap_or_default();
        for figure in &self.figures {
            let name = format!("{} {}", figure.scenario, figure.name);
            write!(f, "{name:width$}  {:>10} {:<13}", number(figure.value), figure.unit)?;
            if let Some(target) = figure.target {
                let (sign, bound) = match target {
                    Target::AtLeast(bound) => (">=", bound),
                    Target::AtMost(bound) => ("<=", bound),
                };
                let verdict = if target.is_met(figure.value) { "met" } else { "MISSED" };
                write!(f, "  {sign} {} {verdict}", number(bound))?;
            }
            if let Some(Ratio { value, of }) = &figure.ratio {
                write!(f, "  {value:.2} x {of}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_targets_and_ratios() {
        let mut table = Table::default();
        table
            .add("ingest", "rate", 300_000.0, "records/s")
            .target(Target::AtLeast(250_000.0))
            .ratio("decode", 150_000.0);
        table.add_time("ingest", "p50", Duration::from_micros(1500)).target(Target::AtMost(1.0));
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].contains("300000 records/s") && lines[0].ends_with(">= 250000 met  2.00 x decode"),
            "{text}"
        );
        assert!(lines[1].contains("1.50 ms") && lines[1].ends_with("<= 1.00 MISSED"), "{text}");
    }
}

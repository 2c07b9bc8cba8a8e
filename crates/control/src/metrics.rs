//! Figures in Prometheus' text format.
//!
//! Shape: for each family `# HELP`, `# TYPE` and its samples, each on a line of its own.

use std::fmt::{self, Display, Write as _};

/// What a figure does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size: samples named `…_bucket`, `…_sum`, `…_count`.
    Histogram,
}

/// Figures of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// With its unit and, for counters, `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What it does.
    pub kind: Kind,
    /// The figures.
    pub samples: Vec<Sample>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Behind the family's name: empty, `_bucket`, `_sum` or `_count`.
    pub suffix: &'static str,
    /// Label and value.
    pub labels: Vec<(&'static str, String)>,
    /// The figure.
    pub value: f64,
}

impl Family {
    /// Without figures yet.
    #[must_use]
    pub fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, help, kind, samples: Vec::new() }
    }

    /// With one more figure.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.push("", labels, value);
        self
    }

    /// One more figure.
    pub fn push(&mut self, suffix: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { suffix, labels, value });
    }

    /// One more histogram: how many came to lie in the bucket of each of `bounds` and in one without bound behind them, not
    /// cumulative, and the sum of all.
    pub fn push_histogram(
        &mut self,
        labels: &[(&'static str, &str)],
        bounds: impl Iterator<Item = f64>,
        buckets: &[u64],
        sum: f64,
    ) {
        let mut below = 0;
        let bounds = bounds.map(|bound| bound.to_string()).chain(["+Inf".into()]);
        for (bound, count) in bounds.zip(buckets) {
            below += count;
            self.push("_bucket", &[labels, &[("le", &bound)]].concat(), below as f64);
        }
        self.push("_sum", labels, sum);
        self.push("_count", labels, below as f64);
    }
}

/// All of them as text.
#[must_use]
pub fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let _ = write!(text, "{family}");
    }
    text
}

impl Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(f, "# HELP {} {}", self.name, self.help)?;
        writeln!(f, "# TYPE {} {kind}", self.name)?;
        for sample in &self.samples {
            write!(f, "{}{}", self.name, sample.suffix)?;
            for (at, (name, value)) in sample.labels.iter().enumerate() {
                write!(f, "{}{name}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value))?;
            }
            let end = if sample.labels.is_empty() { "" } else { "}" };
            writeln!(f, "{end} {}", sample.value)?;
        }
        Ok(())
    }
}

/// As a label's value may stand in quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_help_type_and_samples() {
        let family = Family::new("nbd_sessions", Kind::Gauge, "Sessions now.")
            .with(&[("export", "a\"b\\c\nd"), ("peer", "x")], 2.0)
            .with(&[], 0.25);
        assert_eq!(
            render(&[family]),
            "# HELP nbd_sessions Sessions now.\n# TYPE nbd_sessions gauge\n\
             nbd_sessions{export=\"a\\\"b\\\\c\\nd\",peer=\"x\"} 2\nnbd_sessions 0.25\n"
        );
    }
}

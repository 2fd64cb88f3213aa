//! Metrics as the collector makes them, before they are written in any format.

use std::borrow::Cow;

use crate::inputs::SourceError;

/// A label: name and value. Labels with an empty value are left out.
pub type Label = (&'static str, String);

/// What kind of metric a family is (OpenMetrics, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// What the kernel does not say more about.
    Unknown,
    /// Buckets, sum and count.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What a histogram adds to the family's name: `_bucket`, `_sum` or `_count`; else empty.
    pub suffix: &'static str,
    /// In the order they are printed.
    pub labels: Vec<Label>,
    /// The value.
    pub value: f64,
}

/// Samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The full name, `_total` included.
    pub name: Cow<'static, str>,
    /// Its kind.
    pub kind: Kind,
    /// One sentence.
    pub help: Cow<'static, str>,
    /// Its samples.
    pub rows: Vec<Row>,
}

impl Family {
    /// A family without samples.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: Kind, help: &'static str) -> Family {
        Family { name: name.into(), kind, help: help.into(), rows: Vec::new() }
    }

    /// A gauge with one sample.
    pub fn gauge(name: impl Into<Cow<'static, str>>, help: &'static str, value: f64) -> Family {
        Family::new(name, Kind::Gauge, help).with(Vec::new(), value)
    }

    /// A counter with one sample.
    pub fn counter(name: impl Into<Cow<'static, str>>, help: &'static str, value: f64) -> Family {
        Family::new(name, Kind::Counter, help).with(Vec::new(), value)
    }

    /// This family with one more sample.
    pub fn with(mut self, labels: Vec<Label>, value: f64) -> Family {
        self.push(labels, value);
        self
    }

    /// Adds a sample.
    pub fn push(&mut self, labels: Vec<Label>, value: f64) {
        self.rows.push(Row { suffix: "", labels, value });
    }

    /// Adds a histogram's sample.
    pub fn push_part(&mut self, suffix: &'static str, labels: Vec<Label>, value: f64) {
        self.rows.push(Row { suffix, labels, value });
    }
}

/// Families that are filled in any order: samples of one name stay together, as both text formats want it.
#[derive(Debug, Default)]
pub struct Families(Vec<Family>);

impl Families {
    /// Adds a sample to the family of this name, which is made when it is new.
    pub fn add(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        help: &'static str,
        labels: Vec<Label>,
        value: f64,
    ) {
        self.row(name, kind, help, "", labels, value);
    }

    /// Adds a sample whose name is the family's with `suffix` behind it.
    pub fn row(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        help: &'static str,
        suffix: &'static str,
        labels: Vec<Label>,
        value: f64,
    ) {
        let name = name.into();
        // What is added next is mostly of a family that came up lately.
        let at = self.0.iter().rposition(|family| family.name == name).unwrap_or_else(|| {
            self.0.push(Family::new(name, kind, help));
            self.0.len() - 1
        });
        self.0[at].push_part(suffix, labels, value);
    }

    /// Adds a gauge's sample.
    pub fn gauge(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: &'static str,
        labels: Vec<Label>,
        value: f64,
    ) {
        self.add(name, Kind::Gauge, help, labels, value);
    }

    /// Adds a counter's sample.
    pub fn counter(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: &'static str,
        labels: Vec<Label>,
        value: f64,
    ) {
        self.add(name, Kind::Counter, help, labels, value);
    }

    /// Adds a histogram's sample; `suffix` is `_bucket`, `_count` or `_sum`.
    pub fn part(
        &mut self,
        name: &'static str,
        help: &'static str,
        suffix: &'static str,
        labels: Vec<Label>,
        value: f64,
    ) {
        self.row(name, Kind::Histogram, help, suffix, labels, value);
    }

    /// The families in the order in which they came up, or [`SourceError::Absent`] when there are none.
    pub fn or_absent(self, what: &'static str) -> Result<Vec<Family>, SourceError> {
        if self.0.is_empty() { Err(SourceError::Absent(what)) } else { Ok(self.0) }
    }

    /// The families in the order in which they came up.
    pub fn done(self) -> Vec<Family> {
        self.0
    }
}

/// One label.
pub fn label(name: &'static str, value: &str) -> Label {
    (name, value.to_owned())
}

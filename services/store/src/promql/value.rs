//! Values during evaluation.

use std::sync::Arc;

use crate::histogram::Histogram;
use crate::samples::{STALE_NAN, Samples};
use crate::series::Labels;

/// No sample at this step: Prometheus' staleness marker, which selectors never return.
pub const ABSENT: f64 = f64::from_bits(STALE_NAN);

/// Labels that functions drop with the name: they tell of a metric that the result is not any more.
const METADATA: [&str; 3] = ["__name__", "__type__", "__unit__"];

/// Whether a value is the staleness marker, which means that there is no sample.
#[inline]
pub fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

/// The steps of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The first step, in milliseconds since the epoch.
    pub start: i64,
    /// The last step is not after this.
    pub end: i64,
    /// Milliseconds between steps, at least 1.
    pub step: i64,
}

impl Grid {
    /// A single step.
    pub fn instant(time: i64) -> Grid {
        Grid { start: time, end: time, step: 1 }
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        if self.end < self.start { 0 } else { ((self.end - self.start) / self.step + 1) as usize }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.end < self.start
    }

    /// The last step.
    pub fn last(&self) -> i64 {
        self.start + (self.len() as i64 - 1).max(0) * self.step
    }

    /// The times of the steps.
    pub fn times(self) -> impl Iterator<Item = i64> {
        (0..self.len() as i64).map(move |n| self.start + n * self.step)
    }
}

/// One sample's value.
#[derive(Clone, Debug)]
pub enum Point {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

impl Point {
    /// A histogram that was just calculated.
    pub fn calculated(histogram: Histogram) -> Point {
        Point::Histogram(Arc::new(histogram))
    }
}

/// A series over the steps.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its labels, with the name as long as the query is evaluated.
    pub labels: Labels,
    /// Whether the name goes when the query is done.
    pub drop_name: bool,
    /// One value a step; [`is_absent`] tells the missing ones and those that are histograms.
    pub values: Vec<f64>,
    /// The histograms, one place a step; empty as long as there is none.
    pub histograms: Vec<Option<Arc<Histogram>>>,
}

impl Column {
    /// A series of numbers.
    pub fn floats(labels: Labels, values: Vec<f64>) -> Column {
        Column { labels, drop_name: false, values, histograms: Vec::new() }
    }

    /// A series without a sample at any of `steps` steps.
    pub fn absent(labels: Labels, steps: usize) -> Column {
        Column::floats(labels, vec![ABSENT; steps])
    }

    /// Whether it has no sample at any step.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|&value| is_absent(value)) && self.histograms.iter().all(Option::is_none)
    }

    /// Whether it has a sample at a step.
    #[inline]
    pub fn has(&self, step: usize) -> bool {
        !is_absent(self.values[step]) || self.histogram(step).is_some()
    }

    /// The histogram at a step, if one is there.
    #[inline]
    pub fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        self.histograms.get(step).and_then(Option::as_ref)
    }

    /// The sample at a step.
    pub fn point(&self, step: usize) -> Option<Point> {
        match self.histogram(step) {
            Some(histogram) => Some(Point::Histogram(histogram.clone())),
            None if is_absent(self.values[step]) => None,
            None => Some(Point::Float(self.values[step])),
        }
    }

    /// Puts a sample, or none, at a step.
    pub fn set(&mut self, step: usize, point: Option<Point>) {
        self.values[step] = ABSENT;
        if let Some(place) = self.histograms.get_mut(step) {
            *place = None;
        }
        match point {
            None => {}
            Some(Point::Float(value)) => self.values[step] = value,
            Some(Point::Histogram(histogram)) => {
                if self.histograms.is_empty() {
                    self.histograms.resize(self.values.len(), None);
                }
                self.histograms[step] = Some(histogram);
            }
        }
    }

    /// The same series after a function of numbers that drops the name and the histograms.
    pub fn map(mut self, mut function: impl FnMut(usize, f64) -> f64) -> Column {
        self.drop_name = true;
        self.histograms = Vec::new();
        for (step, value) in self.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
            *value = function(step, *value);
        }
        self
    }

    /// The labels that the answer shows.
    pub fn shown(&self) -> Labels {
        if self.drop_name { nameless(&self.labels) } else { self.labels.clone() }
    }
}

/// Labels without the name, the type and the unit.
pub fn nameless(labels: &Labels) -> Labels {
    labels.without(|name| METADATA.contains(&name))
}

/// What an expression evaluates to.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number for each step.
    Scalar(Vec<f64>),
    /// An instant vector for each step.
    Vector(Vec<Column>),
    /// A text.
    Text(String),
    /// The samples themselves, of a range selector at a single step.
    Matrix(Vec<(Labels, Track)>),
}

/// The samples of one series as evaluation sees them, floats and histograms apart, both ascending.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// The floats' times.
    pub times: Vec<i64>,
    /// Their values.
    pub values: Vec<f64>,
    /// When each float's counter began (0: unknown); empty when nothing is known of any.
    pub starts: Vec<i64>,
    /// The histograms with their times.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
    /// As `starts`, of the histograms.
    pub histogram_starts: Vec<i64>,
}

impl From<Samples> for Track {
    fn from(samples: Samples) -> Track {
        let histograms = samples.histograms.into_iter().map(|(time, histogram)| (time, Arc::new(histogram)));
        Track {
            times: samples.times,
            values: samples.values,
            histograms: histograms.collect(),
            ..Track::default()
        }
    }
}

impl Track {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.times.len() + self.histograms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is numbers alone, and nothing is known of when they began.
    pub fn is_plain(&self) -> bool {
        self.histograms.is_empty() && self.starts.is_empty()
    }

    /// Takes the staleness markers out.
    pub fn drop_stale(&mut self) {
        if self.values.iter().any(|&value| is_absent(value)) {
            let keep: Vec<bool> = self.values.iter().map(|&value| !is_absent(value)).collect();
            retain(&mut self.times, &keep);
            retain(&mut self.starts, &keep);
            retain(&mut self.values, &keep);
        }
        if self.histograms.iter().any(|(_, histogram)| histogram.is_stale()) {
            let keep: Vec<bool> =
                self.histograms.iter().map(|(_, histogram)| !histogram.is_stale()).collect();
            retain(&mut self.histogram_starts, &keep);
            retain(&mut self.histograms, &keep);
        }
    }
}

fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    list.retain(|_| keep.next().copied().unwrap_or(true));
}

/// A number as Go's `FormatFloat(v, 'f', -1, 64)` writes it: the shortest text that reads back the same,
/// never with an exponent.
pub fn plain_number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        value.to_string()
    }
}

/// A number as Go's `%g` and `FormatFloat(v, 'g', -1, 64)` write it: with an exponent below 1e-4 and from 1e21 on.
pub fn short_number(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || magnitude == 0.0 || (1e-4..1e21).contains(&magnitude) {
        return plain_number(value);
    }
    exponent(value)
}

/// A number with an exponent of a sign and at least two digits, as Go writes it.
pub fn exponent(value: f64) -> String {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

//! Values during evaluation.

use crate::series::Labels;

/// The bits of Prometheus' staleness marker (model/value `StaleNaN`). Selectors never return it, so
/// that it stands for "no sample at this step" during evaluation.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// No sample at this step.
pub const ABSENT: f64 = f64::from_bits(STALE_BITS);

/// Whether a value is the staleness marker, which means that there is no sample.
#[inline]
pub fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_BITS
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

    /// The times of the steps.
    pub fn times(self) -> impl Iterator<Item = i64> {
        (0..self.len() as i64).map(move |n| self.start + n * self.step)
    }
}

/// A series over the steps.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its labels.
    pub labels: Labels,
    /// One value a step; [`is_absent`] tells the missing ones.
    pub values: Vec<f64>,
}

impl Column {
    /// Whether it has no value at any step.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|&value| is_absent(value))
    }

    /// The same series after a function that drops the name.
    pub fn map(mut self, function: impl Fn(f64) -> f64) -> Column {
        self.labels = self.labels.nameless();
        for value in self.values.iter_mut().filter(|value| !is_absent(**value)) {
            *value = function(*value);
        }
        self
    }
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

//! What a query says.

use thiserror::Error;

/// A query that is refused, with the place of the trouble.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("query, column {column}: {reason}")]
pub struct SyntaxError {
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there, and what would be right.
    pub reason: String,
}

/// A span of time in nanoseconds since the epoch, half open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First time inside.
    pub from: i64,
    /// First time behind.
    pub to: i64,
}

impl TimeRange {
    /// All times.
    pub const ALL: TimeRange = TimeRange { from: i64::MIN, to: i64::MAX };

    /// Is `time_ns` inside?
    pub fn contains(self, time_ns: i64) -> bool {
        self.from <= time_ns && time_ns < self.to
    }

    /// What lies in both.
    pub fn and(self, other: TimeRange) -> TimeRange {
        TimeRange { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    /// Does it hold any time from `min` to `max`, both included?
    pub fn overlaps(self, min: i64, max: i64) -> bool {
        self.from <= max && min < self.to
    }
}

/// Which rows are meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// `*`
    All,
    /// No row: what folding made of a contradiction.
    Nothing,
    /// `_time:…`
    Time(TimeRange),
    /// `field:…`; the field is `_msg` when none is named.
    Field {
        /// Its name.
        name: String,
        /// What its value must be.
        test: Test,
    },
    /// All of these.
    And(Vec<Filter>),
    /// Any of these.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// `word`, `"a phrase"`: contained between word boundaries.
    Phrase(String),
    /// `word*`, `"a phr"*`: as a phrase whose end may go on.
    Prefix(String),
    /// `="text"`: the whole value.
    Exact(String),
    /// `="text"*`: the value's beginning.
    ExactPrefix(String),
    /// `i(word)`: a phrase, whatever its case.
    AnyCase(String),
    /// `in(a,b)`: one of these whole values.
    OneOf(Vec<String>),
    /// `""`: the row has no such field.
    Empty,
    /// `*`: the row has the field.
    Present,
    /// `>5`, `>=5`, `<5`, `<=5`: as numbers; a value that is none does not match.
    Compare(Comparison, f64),
    /// `{label="value"}` on `_stream`: the stream has this label; the text is `label="value"`.
    StreamLabel(String),
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

/// What is done with the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pipe {
    /// `limit N` (also `head N`).
    Limit(usize),
    /// `offset N` (also `skip N`).
    Offset(usize),
    /// `sort by (field [desc], …) [desc] [limit N]`.
    Sort {
        /// Fields, each with whether it is descending.
        by: Vec<(String, bool)>,
    },
    /// `fields a, b` (also `keep`).
    Fields(Vec<String>),
    /// `stats [by (a, b)] count() [as name]`, `count`.
    Count {
        /// Fields that make the groups.
        by: Vec<String>,
        /// Name of the result.
        name: String,
    },
}

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which rows.
    pub filter: Filter,
    /// What is done with them, in order.
    pub pipes: Vec<Pipe>,
}

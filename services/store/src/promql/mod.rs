//! PromQL, evaluated column by column: an instant vector over a query's steps is a list of series, each with
//! one value for every step. Labels, groups and matches are worked out once a series, not once a step.
//!
//! Semantics are those of Prometheus 3: left-open ranges and look-back of 5 minutes, staleness markers,
//! extrapolated rates, Kahan sums. What is not here is refused by its name; there is no wrong number.
//!
//! Limits: 50 million samples read, 4 million values held, 200 levels of nesting, 16 KiB of text, 30 s.

mod aggregate;
mod binary;
mod calendar;
mod call;
mod eval;
mod histogram;
mod kahan;
mod label_functions;
mod limits;
mod matching;
mod selector;
#[cfg(test)]
mod tests;
mod value;
mod windows;

pub use eval::{evaluate, parse, raw};
pub use limits::{QUERY_BYTES_MAX, QueryError};
pub use selector::matchers;
pub use value::{Column, Grid, Value, is_absent, plain_number};

use crate::samples::Samples;
use crate::series::{Labels, Matcher};
use crate::tiers::Aspect;

/// How far back an instant selector looks for a sample, in milliseconds (Prometheus' default).
pub const LOOKBACK_MS: i64 = 5 * 60 * 1000;

/// Where samples come from.
pub trait Source {
    /// The series that satisfy all matchers and may have samples from `from` to `to` (milliseconds, both
    /// included).
    fn select<'s>(&'s self, matchers: &[Matcher], from: i64, to: i64) -> Box<dyn Selection + 's>;
}

/// Series that matched.
pub trait Selection {
    /// How many.
    fn count(&self) -> usize;
    /// The labels of one; `index` is below [`Selection::count`].
    fn labels(&self, index: usize) -> Labels;
    /// The samples of one, from `from` to `to` (both included).
    ///
    /// # Errors
    /// [`QueryError::Internal`] when they cannot be read.
    fn read(&mut self, index: usize, from: i64, to: i64) -> Result<Samples, QueryError>;
    /// Says before the first read that one sample for each `needed_ms` is enough, and which number of those that fall
    /// together; what is read then may be that, or all samples.
    fn coarsen(&mut self, _needed_ms: i64, _aspect: Aspect) {}
}

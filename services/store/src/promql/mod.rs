//! PromQL, evaluated column by column: an instant vector over a query's steps is a list of series, each with
//! one sample for every step. Labels, groups and matches are worked out once a series, not once a step.
//!
//! Semantics are those of Prometheus 3.14, experimental functions included: left-open ranges and look-back of 5
//! minutes, staleness markers, extrapolated rates, Kahan sums, native histograms, names dropped when the query is done.
//!
//! Limits: 50 million samples read, 4 million values held, 200 levels of nesting, 16 KiB of text, 30 s.

mod aggregate;
mod binary;
mod calendar;
mod call;
mod coarse;
mod eval;
mod extend;
mod functions;
mod kahan;
mod limits;
mod matching;
pub(crate) mod native;
mod notes;
mod placement;
mod range;
mod select;
pub mod syntax;
#[cfg(test)]
mod tests;
mod value;
mod xxhash;

pub use eval::{Outcome, evaluate, parse};
pub use limits::{QUERY_BYTES_MAX, QueryError};
pub(crate) use native::is_reset as is_histogram_reset;
pub use native::text as histogram_text;
pub use notes::{Level, Notes};
pub use value::{Column, Grid, Point, Track, Value, exponent, is_absent, plain_number, short_number};

use crate::series::{Labels, Matcher};
use crate::tiers::{Aspect, Grain};
use range::range_bounds;

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
    fn read(&mut self, index: usize, from: i64, to: i64) -> Result<Track, QueryError>;
    /// Says that windows lie so, and asks whether there are buckets that can stand for their samples.
    fn coarsen(&mut self, _grain: Grain) -> bool {
        false
    }
    /// As [`Selection::read`], but by that number of buckets where [`Selection::coarsen`] found some, and by samples elsewhere (as 1
    /// each when counts are asked for).
    ///
    /// # Errors
    /// As [`Selection::read`].
    fn read_buckets(&mut self, index: usize, from: i64, to: i64, _: Aspect) -> Result<Track, QueryError> {
        self.read(index, from, to)
    }
}

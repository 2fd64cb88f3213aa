//! Functions of range vectors: a window of one series to one sample.

mod averages;
mod changes;
mod extended;
mod over_time;
mod rates;
mod sliding;
mod starts;
mod trend;

pub(super) use extended::bounds as range_bounds;
pub(super) use sliding::{Reach, Sliding};

use super::limits::QueryError;
use super::notes::Notes;
use super::select::Window;
use super::syntax::Span;
use super::value::Point;

/// What a range function has besides its window.
pub(super) struct Help<'a> {
    /// Its numbers at this step, in the order of its arguments.
    pub(super) numbers: &'a [f64],
    pub(super) notes: &'a Notes,
    /// Where its first argument stands.
    pub(super) span: Span,
}

/// A function of a window.
pub(super) type RangeFunction = fn(&Window<'_>, &Help<'_>) -> Option<Point>;

/// The function of this name, or `None` when it is none of a range vector's.
pub(super) fn named(name: &str) -> Option<RangeFunction> {
    Some(match name {
        "rate" => |window, help| rates::extrapolated(window, help, true, true),
        "increase" => |window, help| rates::extrapolated(window, help, true, false),
        "delta" => |window, help| rates::extrapolated(window, help, false, false),
        "irate" => |window, help| rates::last_two(window, help, true),
        "idelta" => |window, help| rates::last_two(window, help, false),
        "changes" => changes::changes,
        "resets" => changes::resets,
        "deriv" => trend::deriv,
        "predict_linear" => trend::predict_linear,
        "double_exponential_smoothing" => trend::double_exponential_smoothing,
        "avg_over_time" => averages::avg,
        "sum_over_time" => averages::sum,
        "stddev_over_time" => |window, help| averages::variance(window, help).map(averages::root),
        "stdvar_over_time" => averages::variance,
        "count_over_time" => over_time::count,
        "present_over_time" | "absent_over_time" => |_, _| Some(Point::Float(1.0)),
        "first_over_time" => over_time::first,
        "last_over_time" => over_time::last,
        "ts_of_first_over_time" => over_time::time_of_first,
        "ts_of_last_over_time" => over_time::time_of_last,
        "min_over_time" => {
            |window, help| over_time::extreme(window, help, |new, old| new < old).map(|best| best.1)
        }
        "max_over_time" => {
            |window, help| over_time::extreme(window, help, |new, old| new > old).map(|best| best.1)
        }
        "ts_of_min_over_time" => {
            |window, help| over_time::extreme(window, help, |new, old| new <= old).map(|b| b.0)
        }
        "ts_of_max_over_time" => {
            |window, help| over_time::extreme(window, help, |new, old| new >= old).map(|b| b.0)
        }
        "quantile_over_time" => over_time::quantile,
        "mad_over_time" => over_time::mad,
        _ => return None,
    })
}

/// Checks the numbers that a function takes, before it is called.
///
/// # Errors
/// In Prometheus' words.
pub(super) fn check(name: &str, numbers: &[f64]) -> Result<(), QueryError> {
    if name != "double_exponential_smoothing" {
        return Ok(());
    }
    for (what, short, number) in [("smoothing", "sf", numbers[0]), ("trend", "tf", numbers[1])] {
        if number <= 0.0 || number >= 1.0 {
            return Err(QueryError::execution(format!(
                "invalid {what} factor. Expected: 0 < {short} < 1, got: {number:.6}"
            )));
        }
    }
    Ok(())
}

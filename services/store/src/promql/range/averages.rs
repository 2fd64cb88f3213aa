//! Sums, averages and variances over time.

use super::super::kahan;
use super::super::native::{self, Total};
use super::super::notes::{mixed_samples, mixed_schemas, reconciled, reset_collision};
use super::super::select::Window;
use super::super::value::Point;
use super::Help;
use super::trend::floats_only;

/// Sums or averages either kind; a mix is told and has no result.
fn either(
    window: &Window<'_>,
    help: &Help<'_>,
    floats: fn(&[f64]) -> f64,
    histograms: fn(
        &mut dyn Iterator<Item = &crate::histogram::Histogram>,
    ) -> Result<Total, native::Incompatible>,
) -> Option<Point> {
    if !window.times.is_empty() && !window.histograms.is_empty() {
        help.notes.warn(help.span, mixed_samples(window.name));
        return None;
    }
    if window.histograms.is_empty() {
        return Some(Point::Float(floats(window.values)));
    }
    match histograms(&mut window.histograms.iter().map(|(_, histogram)| &**histogram)) {
        Ok(total) => {
            if total.collision {
                help.notes.warn(help.span, reset_collision("aggregation"));
            }
            if total.reconciled {
                help.notes.info(help.span, reconciled("aggregation"));
            }
            Some(Point::calculated(total.histogram))
        }
        Err(native::Incompatible) => {
            help.notes.warn(help.span, mixed_schemas(window.name));
            None
        }
    }
}

pub(super) fn sum(window: &Window<'_>, help: &Help<'_>) -> Option<Point> {
    either(window, help, kahan::sum, native::sum)
}

pub(super) fn avg(window: &Window<'_>, help: &Help<'_>) -> Option<Point> {
    either(window, help, kahan::mean, native::mean)
}

/// The population variance of the floats.
pub(super) fn variance(window: &Window<'_>, help: &Help<'_>) -> Option<Point> {
    floats_only(window, help);
    (!window.values.is_empty()).then(|| Point::Float(kahan::variance(window.values)))
}

/// The square root of a float.
pub(super) fn root(point: Point) -> Point {
    match point {
        Point::Float(value) => Point::Float(value.sqrt()),
        other => other,
    }
}

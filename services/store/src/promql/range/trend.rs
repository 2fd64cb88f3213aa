//! deriv, predict_linear and double_exponential_smoothing: where a gauge goes.

use super::super::kahan::Kahan;
use super::super::notes::ignored_in_range;
use super::super::select::Window;
use super::super::value::Point;
use super::Help;

/// Tells that histograms were left out, when there are floats beside them.
pub(super) fn floats_only(window: &Window<'_>, help: &Help<'_>) {
    if !window.histograms.is_empty() && !window.times.is_empty() {
        help.notes.info(help.span, ignored_in_range(window.name));
    }
}

/// Least squares: slope per second, and the value at `zero`.
fn regression(window: &Window<'_>, zero: i64) -> (f64, f64) {
    let first = window.values[0];
    if window.values.iter().all(|&value| value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x, mut y) = (Kahan::default(), Kahan::default());
    let (mut xy, mut xx) = (Kahan::default(), Kahan::default());
    for (&time, &value) in window.times.iter().zip(window.values) {
        let seconds = (time - zero) as f64 / 1000.0;
        x.add(seconds);
        y.add(value);
        xy.add(seconds * value);
        xx.add(seconds * seconds);
    }
    let (n, x, y) = (window.values.len() as f64, x.total(), y.total());
    let (covariance, spread) = (xy.total() - x * y / n, xx.total() - x * x / n);
    let slope = covariance / spread;
    (slope, y / n - slope * x / n)
}

/// The slope per second, of at least two floats.
pub(super) fn deriv(window: &Window<'_>, help: &Help<'_>) -> Option<Point> {
    floats_only(window, help);
    // Times near those in use lose the least digits.
    (window.times.len() >= 2).then(|| Point::Float(regression(window, window.times[0]).0))
}

/// The value so many seconds after the step.
pub(super) fn predict_linear(window: &Window<'_>, help: &Help<'_>) -> Option<Point> {
    floats_only(window, help);
    if window.times.len() < 2 {
        return None;
    }
    let (slope, now) = regression(window, window.at);
    Some(Point::Float(slope * help.numbers[0] + now))
}

/// Holt's linear smoothing with a factor for the value and one for its trend.
pub(super) fn double_exponential_smoothing(window: &Window<'_>, help: &Help<'_>) -> Option<Point> {
    floats_only(window, help);
    let [first, second, ..] = window.values else { return None };
    let (value_factor, trend_factor) = (help.numbers[0], help.numbers[1]);
    let (mut before, mut smoothed, mut trend) = (0.0, *first, second - first);
    for (at, value) in window.values.iter().enumerate().skip(1) {
        if at > 1 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        let next = value_factor * value + (1.0 - value_factor) * (smoothed + trend);
        (before, smoothed) = (smoothed, next);
    }
    Some(Point::Float(smoothed))
}

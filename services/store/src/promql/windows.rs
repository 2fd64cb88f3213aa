//! Functions over ranges. Each gets at least one sample.

use super::kahan::{Kahan, mean, quantile, sum, variance};
use super::selector::Window;

/// A function of a window and, for the few that take one, a number.
pub(super) type WindowFunction = fn(&Window<'_>, f64) -> Option<f64>;

/// The range function of a name, or `None` when this is not one of them.
pub(super) fn named(name: &str) -> Option<WindowFunction> {
    Some(match name {
        "rate" => |w, _| extrapolated(w, true, true),
        "increase" => |w, _| extrapolated(w, true, false),
        "delta" => |w, _| extrapolated(w, false, false),
        "irate" => |w, _| instant_rate(w, true),
        "idelta" => |w, _| instant_rate(w, false),
        "avg_over_time" => |w, _| Some(mean(w.values)),
        "sum_over_time" => |w, _| Some(sum(w.values)),
        "min_over_time" => |w, _| Some(extreme(w.values, |new, old| new < old)),
        "max_over_time" => |w, _| Some(extreme(w.values, |new, old| new > old)),
        "count_over_time" => |w, _| Some(w.values.len() as f64),
        "last_over_time" => |w, _| w.values.last().copied(),
        "present_over_time" => |_, _| Some(1.0),
        "stddev_over_time" => |w, _| Some(variance(w.values).sqrt()),
        "stdvar_over_time" => |w, _| Some(variance(w.values)),
        "quantile_over_time" => |w, phi| Some(quantile(phi, w.values)),
        "changes" => |w, _| Some(changes(w.values)),
        "resets" => |w, _| Some(w.values.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64),
        "deriv" => |w, _| (w.values.len() > 1).then(|| regression(w, w.times[0]).0),
        "predict_linear" => |w, ahead| {
            let (slope, intercept) = (w.values.len() > 1).then(|| regression(w, w.at))?;
            Some(slope * ahead + intercept)
        },
        _ => return None,
    })
}

/// Prometheus' `extrapolatedRate` (promql/functions.go): the difference over the window, corrected for
/// counter resets, extrapolated to the window's bounds where the samples come close to them.
fn extrapolated(window: &Window<'_>, counter: bool, rate: bool) -> Option<f64> {
    let (times, values) = (window.times, window.values);
    let last = values.len() - 1;
    if last == 0 {
        return None;
    }
    let mut result = values[last] - values[0];
    if counter {
        result += values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum::<f64>();
    }
    let mut to_start = (times[0] - window.start) as f64 / 1000.0;
    let mut to_end = (window.end - times[last]) as f64 / 1000.0;
    let sampled = (times[last] - times[0]) as f64 / 1000.0;
    let average = sampled / last as f64;
    let threshold = average * 1.1;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if counter && result > 0.0 && values[0] >= 0.0 {
        // A counter cannot have been below zero: do not extrapolate past the time it was.
        to_start = to_start.min(sampled * (values[0] / result));
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if rate {
        factor /= (window.end - window.start) as f64 / 1000.0;
    }
    Some(result * factor)
}

fn instant_rate(window: &Window<'_>, rate: bool) -> Option<f64> {
    let last_at = window.values.len() - 1;
    let before_at = last_at.checked_sub(1)?;
    let (before, last) = (window.values[before_at], window.values[last_at]);
    let difference = if rate && last < before { last } else { last - before };
    let seconds = (window.times[last_at] - window.times[before_at]) as f64 / 1000.0;
    Some(if rate { difference / seconds } else { difference })
}

/// The extreme by `beats`; a number beats NaN.
fn extreme(values: &[f64], beats: fn(f64, f64) -> bool) -> f64 {
    values.iter().copied().fold(f64::NAN, |old, new| if beats(new, old) || old.is_nan() { new } else { old })
}

fn changes(values: &[f64]) -> f64 {
    let differs = |pair: &&[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
    values.windows(2).filter(differs).count() as f64
}

/// Least squares (Prometheus' `linearRegression`): slope per second, and the value at `zero`.
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

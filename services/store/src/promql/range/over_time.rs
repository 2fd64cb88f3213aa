//! Which sample of a window is the first, the last, the least, the middle one.

use super::super::kahan;
use super::super::notes::{ignored_in_range, invalid_quantile};
use super::super::select::Window;
use super::super::value::Point;
use super::Help;
use super::trend::floats_only;

pub(super) fn count(window: &Window<'_>, _: &Help<'_>) -> Option<Point> {
    Some(Point::Float((window.times.len() + window.histograms.len()) as f64))
}

/// The time of a sample and the sample; of floats and histograms the one whose time `wins`.
fn of_both(window: &Window<'_>, last: bool) -> Option<(i64, Point)> {
    let float = if last { window.times.len().checked_sub(1) } else { Some(0) };
    let float = float.and_then(|at| Some((*window.times.get(at)?, Point::Float(window.values[at]))));
    let histogram = if last { window.histograms.last() } else { window.histograms.first() };
    let histogram = histogram.map(|(time, histogram)| (*time, Point::Histogram(histogram.clone())));
    match (float, histogram) {
        (Some(float), Some(histogram)) => {
            Some(if (histogram.0 > float.0) == last { histogram } else { float })
        }
        (float, histogram) => float.or(histogram),
    }
}

pub(super) fn first(window: &Window<'_>, _: &Help<'_>) -> Option<Point> {
    of_both(window, false).map(|(_, point)| point)
}

pub(super) fn last(window: &Window<'_>, _: &Help<'_>) -> Option<Point> {
    of_both(window, true).map(|(_, point)| point)
}

pub(super) fn time_of_first(window: &Window<'_>, _: &Help<'_>) -> Option<Point> {
    of_both(window, false).map(|(time, _)| Point::Float(time as f64 / 1000.0))
}

pub(super) fn time_of_last(window: &Window<'_>, _: &Help<'_>) -> Option<Point> {
    of_both(window, true).map(|(time, _)| Point::Float(time as f64 / 1000.0))
}

/// The time (in seconds) and the value of the extreme by `beats`; a number beats NaN.
pub(super) fn extreme(
    window: &Window<'_>,
    help: &Help<'_>,
    beats: fn(f64, f64) -> bool,
) -> Option<(Point, Point)> {
    floats_only(window, help);
    let (mut best, mut at) = (*window.values.first()?, 0);
    for (index, &value) in window.values.iter().enumerate() {
        if beats(value, best) || best.is_nan() {
            (best, at) = (value, index);
        }
    }
    Some((Point::Float(window.times[at] as f64 / 1000.0), Point::Float(best)))
}

pub(super) fn quantile(window: &Window<'_>, help: &Help<'_>) -> Option<Point> {
    if window.values.is_empty() {
        return None;
    }
    let phi = help.numbers[0];
    if !(0.0..=1.0).contains(&phi) {
        help.notes.warn(help.span, invalid_quantile(phi));
    }
    if !window.histograms.is_empty() {
        help.notes.info(help.span, ignored_in_range(window.name));
    }
    Some(Point::Float(kahan::quantile(phi, window.values)))
}

/// The median of the distances from the median; NaN among the values makes it NaN.
pub(super) fn mad(window: &Window<'_>, help: &Help<'_>) -> Option<Point> {
    floats_only(window, help);
    if window.values.is_empty() {
        return None;
    }
    if window.values.iter().any(|value| value.is_nan()) {
        return Some(Point::Float(f64::NAN));
    }
    let median = kahan::quantile(0.5, window.values);
    let distances: Vec<f64> = window.values.iter().map(|value| (value - median).abs()).collect();
    Some(Point::Float(kahan::quantile(0.5, &distances)))
}

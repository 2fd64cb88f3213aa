//! rate, increase and delta of `anchored` and `smoothed` ranges: no extrapolation, but a value at each bound.

use std::sync::Arc;

use super::super::extend::{float_between, histogram_between};
use super::super::native::{self, Sum};
use super::super::notes::mixed_schemas;
use super::super::select::Window;
use super::super::syntax::Extension;
use super::super::value::Point;
use super::Help;
use super::rates::{combine, not_a_gauge};
use crate::histogram::{Histogram, ResetHint};

/// The samples at and between the bounds: the last one not after the start, and when smoothed the first not before the
/// end. `None` when the window has none that counts.
pub(in super::super) fn bounds(
    times: &[i64],
    start: i64,
    end: i64,
    smoothed: bool,
) -> Option<(usize, usize)> {
    let last = times.len().checked_sub(1)?;
    let first = times[..last].partition_point(|&time| time <= start).saturating_sub(1);
    let last = if smoothed { times[..last].partition_point(|&time| time < end) } else { last };
    (times[last] > start && !(smoothed && times[first] > end)).then_some((first, last))
}

pub(super) fn rate(window: &Window<'_>, help: &Help<'_>, counter: bool, rate: bool) -> Option<Point> {
    let smoothed = window.extension == Extension::Smoothed;
    let seconds = (window.end - window.start) as f64 / 1000.0;
    if window.histograms.is_empty() {
        let result = floats(window, smoothed, counter)?;
        return Some(Point::Float(if rate { result / seconds } else { result }));
    }
    let mut result = histograms(window, help, smoothed, counter)?;
    if rate {
        result = native::divided(&result, seconds);
    }
    result.reset_hint = ResetHint::Gauge;
    native::compact(&mut result);
    Some(Point::calculated(result))
}

fn floats(window: &Window<'_>, smoothed: bool, counter: bool) -> Option<f64> {
    let (times, values) = (window.times, window.values);
    let (mut first, last) = bounds(times, window.start, window.end, smoothed)?;
    let point = |at: usize| (times[at], values[at]);
    let left = match smoothed && times[first] < window.start {
        true => float_between(point(first), point(first + 1), window.start, counter),
        false => values[first],
    };
    let right = match smoothed && last > 0 && times[last] > window.end {
        true => float_between(point(last - 1), point(last), window.end, counter),
        false => values[last],
    };
    let mut result = right - left;
    if counter {
        // Only what lies between the bounds; resets across them are in the values there.
        first += usize::from(times[first] <= window.start);
        let end = last + usize::from(times[last] < window.end);
        let mut before = left;
        for &value in values.get(first..end).unwrap_or_default().iter().chain([&right]) {
            if value < before {
                result += before;
            }
            before = value;
        }
    }
    Some(result)
}

fn histograms(window: &Window<'_>, help: &Help<'_>, smoothed: bool, counter: bool) -> Option<Histogram> {
    let samples = window.histograms;
    let times: Vec<i64> = samples.iter().map(|(time, _)| *time).collect();
    let (first, last) = bounds(&times, window.start, window.end, smoothed)?;
    let custom = samples[first].1.is_custom();
    for (_, histogram) in &samples[first..=last] {
        if histogram.is_custom() != custom {
            help.notes.warn(help.span, mixed_schemas(window.name));
            return None;
        }
        if counter && histogram.reset_hint == ResetHint::Gauge {
            let text = format!("this native histogram metric is not a counter: {:?}", window.name);
            help.notes.warn(help.span, text);
        }
    }
    let left = match smoothed && times[first] < window.start {
        true => histogram_between(
            &samples[first],
            &samples[first + 1],
            window.start,
            counter,
            help.notes,
            help.span,
        ),
        false => Ok((*samples[first].1).clone()),
    };
    let right = match smoothed && last > 0 && times[last] > window.end {
        true => {
            histogram_between(&samples[last - 1], &samples[last], window.end, counter, help.notes, help.span)
        }
        false => Ok((*samples[last].1).clone()),
    };
    let (Ok(left), Ok(right)) = (left, right) else {
        help.notes.warn(help.span, mixed_schemas(window.name));
        return None;
    };
    if !counter && (left.reset_hint != ResetHint::Gauge || right.reset_hint != ResetHint::Gauge) {
        not_a_gauge(window, help);
    }
    let result = combine(&right, &left, Sum::Subtract, window, help)?;
    if !counter {
        return Some(result);
    }
    match correction(window, help, (first, last), Arc::new(left), &right, smoothed)? {
        None => Some(result),
        Some(correction) => combine(&result, &correction, Sum::Add, window, help),
    }
}

/// What resets between the bounds took away: the outer `None` when it cannot be told, the inner one for nothing.
fn correction(
    window: &Window<'_>,
    help: &Help<'_>,
    (first, last): (usize, usize),
    left: Arc<Histogram>,
    right: &Histogram,
    smoothed: bool,
) -> Option<Option<Histogram>> {
    let samples = window.histograms;
    let (mut before, mut next) = (left, first + 1);
    let spans_reset = smoothed
        && samples[first].0 < window.start
        && native::is_reset(&samples[first + 1].1, &samples[first].1);
    if spans_reset {
        // The value at the start was interpolated across this reset.
        before = samples[first + 1].1.clone();
        next += 1;
    }
    // The last sample is left out: `right` is that sample or has its hint.
    if next > last {
        return Some(None);
    }
    let mut correction: Option<Histogram> = None;
    let between = samples[next..last].iter().map(|(_, histogram)| histogram.clone());
    for histogram in between.chain([Arc::new(right.clone())]) {
        if native::is_reset(&histogram, &before) {
            correction = Some(match correction {
                None => (*before).clone(),
                Some(correction) => combine(&correction, &before, Sum::Add, window, help)?,
            });
        }
        before = histogram;
    }
    Some(correction)
}

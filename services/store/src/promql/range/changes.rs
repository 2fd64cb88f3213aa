//! changes and resets: how often consecutive samples differ.

use std::sync::Arc;

use super::super::native;
use super::super::select::Window;
use super::super::syntax::Extension;
use super::super::value::Point;
use super::Help;
use super::starts::is_reset;
use crate::histogram::Histogram;

/// One sample of either kind.
struct Sample<'a> {
    time: i64,
    start: i64,
    float: f64,
    histogram: Option<&'a Arc<Histogram>>,
}

/// Both kinds in the order of time; of an anchored window those from the last one not after its start on.
fn in_order<'a>(window: &Window<'a>) -> Option<Vec<Sample<'a>>> {
    let start = |starts: &[i64], at: usize| starts.get(at).copied().unwrap_or_default();
    let floats = window.times.iter().zip(window.values).enumerate().map(|(at, (&time, &float))| Sample {
        time,
        start: start(window.starts, at),
        float,
        histogram: None,
    });
    let histograms = window.histograms.iter().enumerate().map(|(at, (time, histogram))| Sample {
        time: *time,
        start: start(window.histogram_starts, at),
        float: 0.0,
        histogram: Some(histogram),
    });
    let mut all: Vec<_> = floats.chain(histograms).collect();
    if !window.histograms.is_empty() {
        all.sort_by_key(|sample| sample.time);
    }
    if window.extension == Extension::Anchored {
        let inside = all.iter().position(|sample| sample.time > window.start)?;
        all.drain(..inside.saturating_sub(1));
    }
    Some(all)
}

fn count(window: &Window<'_>, differ: impl Fn(&Sample<'_>, &Sample<'_>) -> bool) -> Option<Point> {
    let samples = in_order(window)?;
    Some(Point::Float(samples.windows(2).filter(|pair| differ(&pair[0], &pair[1])).count() as f64))
}

/// How often the value changed; NaN is the same as NaN.
pub(super) fn changes(window: &Window<'_>, _: &Help<'_>) -> Option<Point> {
    count(window, |a, b| match (a.histogram, b.histogram) {
        (None, None) => a.float != b.float && !(a.float.is_nan() && b.float.is_nan()),
        (Some(a), Some(b)) => !native::same(a, b),
        _ => true,
    })
}

/// How often a counter began anew.
pub(super) fn resets(window: &Window<'_>, _: &Help<'_>) -> Option<Point> {
    count(window, |a, b| match (a.histogram, b.histogram) {
        (None, None) => b.float < a.float || is_reset(a.start, a.time, b.start, b.time),
        (Some(old), Some(new)) => is_reset(a.start, a.time, b.start, b.time) || native::is_reset(new, old),
        _ => true,
    })
}

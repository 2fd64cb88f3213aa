//! `anchored` and `smoothed`: values between samples.

use std::sync::Arc;

use super::LOOKBACK_MS;
use super::eval::Context;
use super::limits::QueryError;
use super::native::{self, Sum};
use super::notes::{Notes, mixed_samples, mixed_schemas, reconciled};
use super::placement::Shift;
use super::range_bounds;
use super::select::each_series;
use super::syntax::{Extension, Span, VectorSelector};
use super::value::{Column, Point, Track};
use crate::histogram::{Histogram, ResetHint};
use crate::series::METRIC_NAME;

/// The value at `time` on the line between two samples; a counter that fell began at zero.
pub(super) fn float_between(a: (i64, f64), b: (i64, f64), time: i64, counter: bool) -> f64 {
    let from = if counter && b.1 < a.1 { 0.0 } else { a.1 };
    from + (b.1 - from) * (time - a.0) as f64 / (b.0 - a.0) as f64
}

/// As [`float_between`], of histograms.
///
/// # Errors
/// When their schemas do not go together.
pub(super) fn histogram_between(
    a: &(i64, Arc<Histogram>),
    b: &(i64, Arc<Histogram>),
    time: i64,
    counter: bool,
    notes: &Notes,
    span: Span,
) -> Result<Histogram, native::Incompatible> {
    if time == a.0 {
        return Ok((*a.1).clone());
    }
    if time == b.0 {
        return Ok((*b.1).clone());
    }
    let part = (time - a.0) as f64 / (b.0 - a.0) as f64;
    if counter && native::is_reset(&b.1, &a.1) {
        return Ok(native::scaled(&b.1, part));
    }
    let difference = native::combined(&b.1, &a.1, Sum::Subtract)?;
    let result = native::combined(&native::scaled(&difference.histogram, part), &a.1, Sum::Add)?;
    for (done, operation) in [(difference.reconciled, "subtraction"), (result.reconciled, "addition")] {
        if done {
            notes.info(span, reconciled(operation));
        }
    }
    Ok(result.histogram)
}

/// An instant vector whose values lie on the lines between the samples around each step.
pub(super) fn smoothed_instant(
    context: &Context<'_>,
    selected: &VectorSelector,
) -> Result<Vec<Column>, QueryError> {
    let grid = context.grid;
    let shift = Shift::new(context, &selected.placement)?;
    let (first, last) = shift.span(grid);
    let mut columns = Vec::new();
    let (from, to) = (first.saturating_sub(LOOKBACK_MS) + 1, last.saturating_add(LOOKBACK_MS));
    each_series(context, selected, from, to, |labels, mut track| {
        track.drop_stale();
        let name = labels.get(METRIC_NAME).to_owned();
        let mut column = Column::absent(labels, grid.len());
        for (step, time) in grid.times().enumerate() {
            let point = smoothed_at(&track, shift.look(time), &name, context.notes, selected.span);
            column.set(step, point);
        }
        if !column.is_empty() {
            columns.push(column);
            context.usage.hold(columns.len(), grid.len())?;
        }
        Ok(())
    })?;
    Ok(columns)
}

fn smoothed_at(track: &Track, time: i64, name: &str, notes: &Notes, span: Span) -> Option<Point> {
    let inside = |t: i64| t > time - LOOKBACK_MS && t <= time + LOOKBACK_MS;
    let low = |times: &dyn Fn(i64) -> usize| (times(time - LOOKBACK_MS), times(time + LOOKBACK_MS));
    let (from, to) = low(&|bound| track.times.partition_point(|&t| t <= bound));
    let (times, values) = (&track.times[from..to], &track.values[from..to]);
    let (from, to) = low(&|bound| track.histograms.partition_point(|(t, _)| *t <= bound));
    let histograms = &track.histograms[from..to];
    debug_assert!(times.iter().all(|&t| inside(t)));
    if !times.is_empty() && !histograms.is_empty() {
        notes.warn(span, mixed_samples(name));
        return None;
    }
    if histograms.is_empty() {
        let next = times.partition_point(|&t| t < time);
        return match (next.checked_sub(1), times.get(next)) {
            (_, Some(&exact)) if exact == time => Some(Point::Float(values[next])),
            (Some(before), Some(&after)) => {
                let point =
                    float_between((times[before], values[before]), (after, values[next]), time, false);
                Some(Point::Float(point))
            }
            (Some(before), None) => Some(Point::Float(values[before])),
            (None, _) => None,
        };
    }
    let next = histograms.partition_point(|(t, _)| *t < time);
    match (next.checked_sub(1), histograms.get(next)) {
        (_, Some((exact, histogram))) if *exact == time => Some(Point::Histogram(histogram.clone())),
        (Some(before), Some(after)) => {
            let before = &histograms[before];
            let gauges = [before, after].iter().all(|(_, h)| h.reset_hint == ResetHint::Gauge);
            let between = if before.1.is_custom() == after.1.is_custom() {
                histogram_between(before, after, time, !gauges, notes, span)
            } else {
                Err(native::Incompatible)
            };
            if between.is_err() {
                notes.warn(span, mixed_schemas(name));
            }
            between.ok().map(Point::calculated)
        }
        (Some(before), None) => {
            // The hint is about the sample before, which is not what is shown.
            let kept = (*histograms[before].1).clone();
            Some(Point::calculated(Histogram { reset_hint: ResetHint::Unknown, ..kept }))
        }
        (None, _) => None,
    }
}

/// The samples of an extended range itself: those inside, and a value at each bound.
pub(super) fn raw(track: Track, start: i64, end: i64, extension: Extension) -> Track {
    let smoothed = extension == Extension::Smoothed;
    let Some((first, last)) = range_bounds(&track.times, start, end, smoothed) else {
        return Track::default();
    };
    let point = |at: usize| (track.times[at], track.values[at]);
    let left = match smoothed && track.times[first] < start {
        true => float_between(point(first), point(first + 1), start, false),
        false => track.values[first],
    };
    let right = match smoothed && last > 0 && track.times[last] > end {
        true => float_between(point(last - 1), point(last), end, false),
        false => track.values[last],
    };
    let mut out = Track { times: vec![start], values: vec![left], ..Track::default() };
    for at in first..=last {
        if track.times[at] > start && track.times[at] < end {
            out.times.push(track.times[at]);
            out.values.push(track.values[at]);
        }
    }
    out.times.push(end);
    out.values.push(right);
    out
}

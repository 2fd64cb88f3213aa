//! rate, increase and delta, extrapolated to the window's bounds; irate and idelta of the last two samples.

use std::sync::Arc;

use super::super::native::{self, Sum};
use super::super::notes::{mixed_samples, mixed_schemas, reconciled};
use super::super::select::Window;
use super::super::syntax::Extension;
use super::super::value::Point;
use super::starts::{is_reset, overlap_text, overlaps};
use super::{Help, extended};
use crate::histogram::{Histogram, ResetHint};

/// The sum of what happened between the first and the last sample, extrapolated to the window's bounds where the samples
/// come close to them.
pub(super) fn extrapolated(window: &Window<'_>, help: &Help<'_>, counter: bool, rate: bool) -> Option<Point> {
    if !window.times.is_empty() && !window.histograms.is_empty() {
        help.notes.warn(help.span, mixed_samples(window.name));
        return None;
    }
    if window.extension != Extension::None {
        return extended::rate(window, help, counter, rate);
    }
    if window.histograms.is_empty() {
        return floats(window, help, counter, rate).map(Point::Float);
    }
    histograms(window, help, counter, rate).map(Point::calculated)
}

fn floats(window: &Window<'_>, help: &Help<'_>, counter: bool, rate: bool) -> Option<f64> {
    let (times, values, starts) = (window.times, window.values, window.starts);
    let (&first, &last) = (values.first()?, values.last()?);
    let mut result = last - first;
    if counter {
        if starts.is_empty() {
            result += values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum::<f64>();
        } else {
            warn_of_overlap(window, help, times.iter().copied(), starts);
            for at in 1..values.len() {
                let reset = is_reset(starts[at - 1], times[at - 1], starts[at], times[at]);
                if values[at] < values[at - 1] || reset {
                    result += values[at - 1];
                }
            }
        }
    }
    let began = began(window, times[0], starts, counter);
    if began.is_some() {
        result += first;
    }
    let to_zero = (counter && result > 0.0 && first >= 0.0).then(|| first / result);
    let span = (times[0], times[times.len() - 1]);
    let spread = Spread::of((window.start, window.end), span, times.len());
    Some(result * spread.factor(began, to_zero, rate)?)
}

fn warn_of_overlap(window: &Window<'_>, help: &Help<'_>, times: impl Iterator<Item = i64>, starts: &[i64]) {
    let pairs = times.zip(starts.windows(2));
    if pairs.into_iter().any(|(before, pair)| overlaps(pair[0], before, pair[1])) {
        help.notes.warn(help.span, overlap_text(window.name));
    }
}

/// When the counter began, if that is inside of the window and before its first sample.
fn began(window: &Window<'_>, first: i64, starts: &[i64], counter: bool) -> Option<i64> {
    let start = *starts.first()?;
    (counter && start != 0 && start > window.start && start < first).then_some(start)
}

/// How the samples of a window lie in it, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Spread {
    to_start: f64,
    to_end: f64,
    sampled: f64,
    average: f64,
    length: f64,
    samples: usize,
    last: i64,
}

impl Spread {
    /// Of so many samples from `first` to `last` between the window's bounds.
    pub(in super::super) fn of(
        (start, end): (i64, i64),
        (first, last): (i64, i64),
        samples: usize,
    ) -> Spread {
        let seconds = |milliseconds: i64| milliseconds as f64 / 1000.0;
        let sampled = seconds(last - first);
        Spread {
            to_start: seconds(first - start),
            to_end: seconds(end - last),
            sampled,
            average: if samples > 1 { sampled / (samples - 1) as f64 } else { 0.0 },
            length: seconds(end - start),
            samples,
            last,
        }
    }

    /// By what the increase between the first and the last sample is multiplied. `to_zero` is the part of the sampled time that
    /// the counter would have needed from zero to its first value.
    pub(super) fn factor(&self, began: Option<i64>, to_zero: Option<f64>, rate: bool) -> Option<f64> {
        let Spread { mut to_start, mut to_end, mut sampled, average, .. } = *self;
        let threshold = average * 1.1;
        match began {
            Some(began) => {
                // A sample of zero stands there: nothing is to be guessed.
                to_start = 0.0;
                sampled = (self.last - began) as f64 / 1000.0;
            }
            None if self.samples < 2 => return None,
            None => {
                if to_start >= threshold {
                    to_start = average / 2.0;
                }
                if let Some(part) = to_zero {
                    // A counter cannot have been below zero: do not extrapolate past the time it was.
                    to_start = to_start.min(sampled * part);
                }
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
        if rate {
            factor /= self.length;
        }
        Some(factor)
    }

    /// Whether a counter that rose by `increase` from `first` on surely was above zero all the way to where the window is
    /// extrapolated to, so that [`Spread::factor`] is the same with `to_zero` and without. Needs no division; what is
    /// near the bound is not sure.
    #[inline]
    pub(super) fn is_above_zero(&self, first: f64, increase: f64) -> bool {
        /// Far more than the rounding of the two products and of what they stand for.
        const MARGIN: f64 = 1.0 + 1e-9;
        first * self.sampled > self.to_start * increase * MARGIN
    }
}

fn histograms(window: &Window<'_>, help: &Help<'_>, counter: bool, rate: bool) -> Option<Histogram> {
    let samples = window.histograms;
    let (first, last) = (samples.first()?, samples.last()?);
    let mut result = match samples.len() {
        1 => None,
        _ => Some(increase(window, help, counter)?),
    };
    let began = began(window, first.0, window.histogram_starts, counter);
    if began.is_some() {
        result = Some(match result {
            None => (*first.1).clone(),
            Some(result) => combine(&result, &first.1, Sum::Add, window, help)?,
        });
    }
    let to_zero = result
        .as_ref()
        .filter(|result| counter && result.count > 0.0 && first.1.count >= 0.0)
        .map(|result| first.1.count / result.count);
    let spread = Spread::of((window.start, window.end), (first.0, last.0), samples.len());
    let factor = spread.factor(began, to_zero, rate)?;
    Some(native::scaled(&result?, factor))
}

/// Adds or subtracts, telling what had to be done for it.
pub(super) fn combine(
    a: &Histogram,
    b: &Histogram,
    sum: Sum,
    window: &Window<'_>,
    help: &Help<'_>,
) -> Option<Histogram> {
    match native::combined(a, b, sum) {
        Ok(done) => {
            if done.reconciled {
                let operation = if sum == Sum::Add { "addition" } else { "subtraction" };
                help.notes.info(help.span, reconciled(operation));
            }
            Some(done.histogram)
        }
        Err(native::Incompatible) => {
            help.notes.warn(help.span, mixed_schemas(window.name));
            None
        }
    }
}

/// The increase from the first to the last of at least two histograms.
fn increase(window: &Window<'_>, help: &Help<'_>, counter: bool) -> Option<Histogram> {
    let (samples, starts) = (window.histograms, window.histogram_starts);
    let last = &samples[samples.len() - 1].1;
    let mut first = samples[0].1.clone();
    let is_gauge = |histogram: &Histogram| histogram.reset_hint == ResetHint::Gauge;
    let not_a_counter = || {
        let text = format!("this native histogram metric is not a counter: {:?}", window.name);
        help.notes.warn(help.span, text);
    };
    if counter && (is_gauge(&first) || is_gauge(last)) {
        not_a_counter();
    }
    let reset = |at: usize, before: &Histogram| {
        let known =
            starts.len() > at && is_reset(starts[at - 1], samples[at - 1].0, starts[at], samples[at].0);
        known || native::is_reset(&samples[at].1, before)
    };
    if counter && reset(1, &first) {
        // What was before a reset has no say, its buckets neither.
        let second = &samples[1].1;
        first = Arc::new(Histogram {
            schema: second.schema,
            custom_bounds: second.custom_bounds.clone(),
            ..Histogram::default()
        });
    }
    let custom = first.is_custom();
    let mut schema = last.schema.min(first.schema);
    let mixed = || help.notes.warn(help.span, mixed_schemas(window.name));
    if last.is_custom() != custom {
        mixed();
        return None;
    }
    for (_, histogram) in samples[1..samples.len() - 1].iter().filter(|_| counter) {
        if is_gauge(histogram) {
            not_a_counter();
        }
        if histogram.is_custom() != custom {
            mixed();
            return None;
        }
        schema = schema.min(histogram.schema);
    }
    let mut result = combine(&native::reduced(last, schema), &first, Sum::Subtract, window, help)?;
    if counter {
        warn_of_overlap(window, help, samples.iter().map(|(time, _)| *time), starts);
        let mut before = first;
        for (at, (_, histogram)) in samples.iter().enumerate().skip(1) {
            if reset(at, &before) {
                result = combine(&result, &before, Sum::Add, window, help)?;
            }
            before = histogram.clone();
        }
    } else if !is_gauge(&samples[0].1) || !is_gauge(last) {
        not_a_gauge(window, help);
    }
    result.reset_hint = ResetHint::Gauge;
    native::compact(&mut result);
    Some(result)
}

pub(super) fn not_a_gauge(window: &Window<'_>, help: &Help<'_>) {
    help.notes.warn(help.span, format!("this native histogram metric is not a gauge: {:?}", window.name));
}

/// What happened between the last two samples, by the second if `rate`.
pub(super) fn last_two(window: &Window<'_>, help: &Help<'_>, rate: bool) -> Option<Point> {
    let floats = window.times.len().saturating_sub(2)..window.times.len();
    let histograms = window.histograms.len().saturating_sub(2)..window.histograms.len();
    let start = |starts: &[i64], at: usize| starts.get(at).copied().unwrap_or_default();
    let mut samples: Vec<(i64, Point, i64)> = floats
        .map(|at| (window.times[at], Point::Float(window.values[at]), start(window.starts, at)))
        .chain(histograms.map(|at| {
            let (time, histogram) = &window.histograms[at];
            (*time, Point::Histogram(histogram.clone()), start(window.histogram_starts, at))
        }))
        .collect();
    samples.sort_by_key(|(time, ..)| *time);
    let [.., before, last] = samples.as_slice() else { return None };
    if before.0 == last.0 {
        return None;
    }
    let seconds = (last.0 - before.0) as f64 / 1000.0;
    let reset = rate && is_reset(before.2, before.0, last.2, last.0);
    match (&before.1, &last.1) {
        (Point::Float(old), Point::Float(new)) => {
            let difference = if rate && (new < old || reset) { *new } else { new - old };
            Some(Point::Float(if rate { difference / seconds } else { difference }))
        }
        (Point::Histogram(old), Point::Histogram(new)) => {
            let gauges = [old, new].iter().filter(|h| h.reset_hint == ResetHint::Gauge).count();
            if rate && gauges > 0 {
                let text = format!("this native histogram metric is not a counter: {:?}", window.name);
                help.notes.warn(help.span, text);
            }
            if !rate && gauges < 2 {
                not_a_gauge(window, help);
            }
            let mut result = if rate && (reset || native::is_reset(new, old)) {
                (**new).clone()
            } else {
                combine(new, old, Sum::Subtract, window, help)?
            };
            result.reset_hint = ResetHint::Gauge;
            native::compact(&mut result);
            if rate {
                result = native::divided(&result, seconds);
            }
            Some(Point::calculated(result))
        }
        _ => {
            help.notes.warn(help.span, mixed_samples(window.name));
            None
        }
    }
}

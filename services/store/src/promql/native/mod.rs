//! Arithmetic on native histograms, as Prometheus defines it.

mod parts;
mod quantile;
mod reset;
mod sums;
#[cfg(test)]
mod tests;
mod text;
mod trim;

pub(super) use quantile::{Asked, fraction, quantile, variance};
pub(crate) use reset::is_reset;
pub(crate) use sums::Incompatible;
pub(super) use sums::{Sum, Total, combined, mean, sum};
pub use text::text;
pub(super) use trim::trimmed;

use crate::histogram::{Buckets, Histogram, ResetHint};

/// Two histograms together, in the coarser of their schemas and with the wider of their zero buckets.
pub(crate) fn added(a: &Histogram, b: &Histogram) -> Result<Histogram, Incompatible> {
    combined(a, b, Sum::Add).map(|total| total.histogram)
}

/// Every count and the sum times a factor; below zero the result is a gauge.
pub(super) fn scaled(histogram: &Histogram, factor: f64) -> Histogram {
    let mut result = by_number(histogram, |count| count * factor);
    if factor < 0.0 {
        result.reset_hint = ResetHint::Gauge;
    }
    result
}

/// Every count and the sum divided; a division by zero leaves no bucket.
pub(super) fn divided(histogram: &Histogram, by: f64) -> Histogram {
    let mut result = by_number(histogram, |count| count / by);
    if by == 0.0 {
        result.positive = Buckets::default();
        result.negative = Buckets::default();
    }
    if by < 0.0 {
        result.reset_hint = ResetHint::Gauge;
    }
    result
}

fn by_number(histogram: &Histogram, change: impl Fn(f64) -> f64) -> Histogram {
    let mut result = histogram.clone();
    result.integer = false;
    let numbers = [&mut result.zero_count, &mut result.count, &mut result.sum];
    let counts = numbers.into_iter().chain(&mut result.positive.counts).chain(&mut result.negative.counts);
    counts.for_each(|count| *count = change(*count));
    result
}

/// Takes the empty buckets out.
pub(super) fn compact(histogram: &mut Histogram) {
    for side in [&mut histogram.positive, &mut histogram.negative] {
        let mut kept = Buckets::default();
        side.iter().filter(|(_, count)| *count != 0.0).for_each(|(index, count)| kept.push(index, count));
        *side = kept;
    }
}

/// A histogram in a coarser schema; the finer one it has stays when `schema` is not coarser.
pub(crate) fn reduced(histogram: &Histogram, schema: i8) -> Histogram {
    if histogram.is_custom() || schema >= histogram.schema {
        return histogram.clone();
    }
    let mut parts = parts::Parts::new(histogram);
    parts.reduce(schema);
    parts.finish()
}

/// Whether two histograms hold the same, bit for bit, whatever their empty buckets and hints are.
pub(super) fn same(a: &Histogram, b: &Histogram) -> bool {
    let scalars = |h: &Histogram| [h.count, h.sum, h.zero_count].map(f64::to_bits);
    let side = |a: &Buckets, b: &Buckets| {
        let full = |(_, count): &(i32, f64)| *count != 0.0;
        a.iter().filter(full).map(bits).eq(b.iter().filter(full).map(bits))
    };
    a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && scalars(a) == scalars(b)
        && a.custom_bounds == b.custom_bounds
        && side(&a.positive, &b.positive)
        && side(&a.negative, &b.negative)
}

fn bits((index, count): (i32, f64)) -> (i32, u64) {
    (index, count.to_bits())
}

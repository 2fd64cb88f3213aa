//! Quantiles, fractions and variances of native histograms.

use super::super::kahan::Kahan;
use super::super::notes::{Notes, for_metric};
use super::super::syntax::Span;
use crate::histogram::{Bucket, Histogram};

/// Who asks, for what has to be told besides.
pub(in super::super) struct Asked<'a> {
    pub(in super::super) notes: &'a Notes,
    pub(in super::super) span: Span,
    pub(in super::super) name: &'a str,
}

impl Asked<'_> {
    fn info(&self, text: &str) {
        self.notes.info(self.span, for_metric(text, self.name));
    }
}

/// The part of a bucket's observations below a value inside of it: linear, or on a scale of powers.
pub(super) fn part_below(low: f64, high: f64, value: f64, linear: bool) -> f64 {
    if linear {
        return (value - low) / (high - low);
    }
    let (low, high, at) = (low.abs().log2(), high.abs().log2(), value.abs().log2());
    if value > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
}

/// A zero bucket reaches to the side only that has buckets.
fn zero_side(histogram: &Histogram, bucket: &mut Bucket) {
    match (histogram.negative.is_empty(), histogram.positive.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

/// The φ-quantile.
pub(in super::super) fn quantile(phi: f64, histogram: &Histogram, asked: &Asked<'_>) -> f64 {
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    if histogram.count == 0.0 || phi.is_nan() {
        return f64::NAN;
    }
    // From the nearer end, as NaN observations are in no bucket and count as the highest.
    let has_nan = histogram.sum.is_nan();
    let forward = has_nan || phi < 0.5;
    let mut buckets = histogram.all_buckets();
    if !forward {
        buckets.reverse();
    }
    let mut rank = if forward { phi } else { 1.0 - phi } * histogram.count;
    let mut bucket = buckets.first().copied().unwrap_or(histogram.zero_bucket());
    let (mut count, mut rest) = (0.0, buckets.iter());
    for next in rest.by_ref().filter(|next| next.count != 0.0) {
        bucket = *next;
        count += next.count;
        if count >= rank {
            break;
        }
    }
    if histogram.is_custom() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return bucket.upper;
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return bucket.lower;
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        zero_side(histogram, &mut bucket);
    }
    // Rounding in the buckets must not lead past the end.
    count = count.min(histogram.count);
    if count < rank {
        if has_nan {
            asked.info("input to histogram_quantile has NaN observations, result is NaN");
            return f64::NAN;
        }
        return bucket.upper;
    }
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    if has_nan {
        let all = count + rest.map(|bucket| bucket.count).sum::<f64>();
        if all < histogram.count {
            asked.info("input to histogram_quantile has NaN observations, result is skewed higher");
        }
    }
    within(&bucket, rank / bucket.count, histogram.is_custom())
}

/// The value at a part of a bucket.
fn within(bucket: &Bucket, part: f64, custom: bool) -> f64 {
    let (low, high) = (bucket.lower, bucket.upper);
    if custom || (low <= 0.0 && high >= 0.0) {
        return low + (high - low) * part;
    }
    let (low_power, high_power) = (low.abs().log2(), high.abs().log2());
    if low > 0.0 {
        return (low_power + (high_power - low_power) * part).exp2();
    }
    -(high_power + (low_power - high_power) * (1.0 - part)).exp2()
}

/// The part of the observations between two values.
pub(in super::super) fn fraction(lower: f64, upper: f64, histogram: &Histogram, asked: &Asked<'_>) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut rank, mut lower_rank, mut upper_rank) = (0.0, None, None);
    let buckets = histogram.all_buckets();
    for bucket in &buckets {
        let mut bucket = *bucket;
        let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if around_zero {
            zero_side(histogram, &mut bucket);
        }
        let linear = histogram.is_custom() || around_zero;
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_some() {
                continue;
            }
            if bucket.lower >= value {
                *found = Some(rank);
            } else if bucket.upper > value {
                *found = Some(if linear && bucket.lower == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + bucket.count * part_below(bucket.lower, bucket.upper, value, linear)
                });
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += bucket.count;
    }
    let mut count = histogram.count;
    if histogram.sum.is_nan() {
        let counted: f64 = buckets.iter().map(|bucket| bucket.count).sum();
        if counted < count {
            asked.info(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions",
            );
        }
        count = counted;
    }
    let at = |found: Option<f64>| found.filter(|rank| *rank <= count).unwrap_or(count);
    (at(upper_rank) - at(lower_rank)) / histogram.count
}

/// The estimated variance of the observations.
pub(in super::super) fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = Kahan::default();
    for bucket in histogram.all_buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let value = if histogram.is_custom() {
            f64::midpoint(bucket.upper, bucket.lower)
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let mean = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -mean } else { mean }
        };
        let delta = value - mean;
        squares.add(bucket.count * delta * delta);
    }
    squares.total() / histogram.count
}

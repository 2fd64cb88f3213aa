//! `</` and `>/`: a histogram without what lies above or below a number.

use crate::histogram::{Bucket, Histogram};

/// Observations that stay of a bucket, and the value that each of them is taken to have.
type Kept = (f64, f64);

/// The observations up to (`upper`) or from `at` on. Count and sum are estimated anew when any was taken away.
pub(in super::super) fn trimmed(histogram: &Histogram, at: f64, upper: bool) -> Histogram {
    let mut result = histogram.clone();
    let linear = histogram.is_custom();
    let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
    let mut full = [false, false];
    let sides = [
        (histogram.positive_buckets().collect::<Vec<_>>(), &mut result.positive.counts, true),
        (histogram.negative_buckets().collect(), &mut result.negative.counts, false),
    ];
    for (side, (buckets, counts, positive)) in sides.into_iter().enumerate() {
        for (bucket, stays) in buckets.iter().zip(counts) {
            if bucket.count == 0.0 {
                continue;
            }
            full[side] = true;
            let (kept, middle) = of_bucket(bucket, at, upper, positive, linear);
            count += kept;
            if kept != 0.0 {
                sum += middle * kept;
            }
            changed |= *stays != kept;
            *stays = kept;
        }
    }
    if histogram.zero_count > 0.0 {
        let (kept, middle) = of_zero(&histogram.zero_bucket(), at, upper, full[1], full[0]);
        changed |= kept != histogram.zero_count;
        result.zero_count = kept;
        sum += middle * kept;
        count += kept;
    }
    if changed {
        (result.count, result.sum, result.integer) = (count, sum, false);
        super::compact(&mut result);
    }
    result
}

fn of_bucket(bucket: &Bucket, at: f64, upper: bool, positive: bool, linear: bool) -> Kept {
    let (low, high) = (bucket.lower, bucket.upper);
    let (inside, outside) = if upper { (high <= at, low >= at) } else { (low >= at, high <= at) };
    if inside {
        return (bucket.count, middle(low, high, positive, linear));
    }
    if outside {
        return (0.0, 0.0);
    }
    if low == f64::NEG_INFINITY || high == f64::INFINITY {
        return of_endless(bucket, at, upper);
    }
    let below = bucket.count * super::quantile::part_below(low, high, at, linear);
    if upper {
        (below, middle(low, at, positive, linear))
    } else {
        (bucket.count - below, middle(at, high, positive, linear))
    }
}

/// A bucket that has no end on a side, and `at` in it. Nobody knows how its observations lie: a first custom bucket is
/// taken to begin at zero when it ends above, else all of them are taken to be at the end that is known, or at `at`.
fn of_endless(bucket: &Bucket, at: f64, upper: bool) -> Kept {
    let (low, high, count) = (bucket.lower, bucket.upper, bucket.count);
    if low == f64::NEG_INFINITY {
        let from_zero = high > 0.0 && high.is_finite();
        return match upper {
            true if at > 0.0 && from_zero => (count * at / high, at / 2.0),
            true if high <= 0.0 => (count, at),
            false if at >= 0.0 && from_zero => (count * (1.0 - at / high), f64::midpoint(at, high)),
            _ => (0.0, 0.0),
        };
    }
    if !upper && at >= low { (count, at) } else { (0.0, 0.0) }
}

fn of_zero(bucket: &Bucket, at: f64, upper: bool, has_negative: bool, has_positive: bool) -> Kept {
    let low = if has_positive && !has_negative { 0.0 } else { bucket.lower };
    let high = if has_negative && !has_positive { 0.0 } else { bucket.upper };
    let (inside, outside) = if upper { (at >= high, at <= low) } else { (at <= low, at >= high) };
    // A bucket of no width is outside before it is inside when values above are taken away, and the reverse below.
    match (upper, inside, outside) {
        (true, _, true) | (false, false, true) => (0.0, 0.0),
        (_, true, _) => (bucket.count, f64::midpoint(low, high)),
        (true, ..) => (bucket.count * (at - low) / (high - low), f64::midpoint(low, at)),
        (false, ..) => (bucket.count * (high - at) / (high - low), f64::midpoint(at, high)),
    }
}

/// The value that stands for those between two bounds: the arithmetic mean of custom buckets, else the geometric one.
fn middle(low: f64, high: f64, positive: bool, linear: bool) -> f64 {
    match (low.is_infinite(), high.is_infinite()) {
        (true, true) => 0.0,
        (true, false) => {
            if high > 0.0 {
                high / 2.0
            } else {
                high
            }
        }
        (false, true) => low,
        _ if linear => f64::midpoint(low, high),
        _ => {
            let mean = (low * high).abs().sqrt();
            if positive { mean } else { -mean }
        }
    }
}

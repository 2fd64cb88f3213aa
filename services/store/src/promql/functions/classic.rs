//! Classic histograms: series that count up to the bound in their label `le`.

use super::super::kahan::Kahan;
use super::super::notes::Monotonicity;

/// Counts that differ by less, relatively, are taken for the same: rounding in rates and sums.
const SAME: f64 = 1e-12;

/// The bound and the observations up to it.
pub(super) type Bucket = (f64, f64);

/// Sorts buckets, merges those of the same bound and lets no count be below the one before. Gives nothing without a
/// bucket of +Inf; else what had to be mended, if anything.
fn prepared(buckets: &mut Vec<Bucket>) -> Option<Option<(f64, f64, f64)>> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last()?.0 != f64::INFINITY {
        return None;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0.0 };
        same
    });
    let mut mended: Option<(f64, f64, f64)> = None;
    let mut before = buckets[0].1;
    for (bound, count) in buckets.iter_mut().skip(1) {
        if *count == before {
            continue;
        }
        if nearly(*count, before) {
            *count = before;
        } else if *count < before {
            let lost = before - *count;
            let (low, high, most) = mended.unwrap_or((f64::INFINITY, f64::NEG_INFINITY, 0.0));
            mended = Some((low.min(*bound), high.max(*bound), most.max(lost)));
            *count = before;
        } else {
            before = *count;
        }
    }
    Some(mended)
}

fn nearly(a: f64, b: f64) -> bool {
    let (difference, sum) = ((a - b).abs(), a.abs() + b.abs());
    if a == 0.0 || b == 0.0 || difference < f64::MIN_POSITIVE {
        return difference < SAME * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SAME
}

/// The φ-quantile of at least one bucket, and what had to be mended for it at `time`.
pub(super) fn quantile(phi: f64, mut buckets: Vec<Bucket>, time: i64) -> (f64, Option<Monotonicity>) {
    if phi.is_nan() {
        return (f64::NAN, None);
    }
    if !(0.0..=1.0).contains(&phi) {
        return (if phi < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY }, None);
    }
    let Some(mended) = prepared(&mut buckets) else { return (f64::NAN, None) };
    let mended = mended.map(|(low, high, difference)| Monotonicity {
        times: (time, time),
        bounds: (low, high),
        difference,
        count: 1,
    });
    (interpolated(phi, &buckets), mended)
}

fn interpolated(phi: f64, buckets: &[Bucket]) -> f64 {
    let last = buckets.len() - 1;
    let observations = buckets[last].1;
    if last == 0 || observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let mut rank = phi * observations;
    let at = buckets[..last].partition_point(|(_, count)| *count < rank);
    if at == last {
        return buckets[last - 1].0;
    }
    if at == 0 && buckets[0].0 <= 0.0 {
        return buckets[0].0;
    }
    let (end, mut count) = buckets[at];
    let mut start = 0.0;
    if at > 0 {
        start = buckets[at - 1].0;
        count -= buckets[at - 1].1;
        rank -= buckets[at - 1].1;
    }
    start + (end - start) * (rank / count)
}

/// The part of the observations between two values.
pub(super) fn fraction(lower: f64, upper: f64, mut buckets: Vec<Bucket>) -> f64 {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last().is_none_or(|last| last.0 != f64::INFINITY) {
        return f64::NAN;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0.0 };
        same
    });
    let count = buckets[buckets.len() - 1].1;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank_of = |value: f64| {
        let mut rank = 0.0;
        let mut start = if buckets[0].0 <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
        for &(end, up_to) in &buckets {
            if start >= value {
                return rank;
            }
            if end > value {
                let endless = start == f64::NEG_INFINITY;
                let part = (up_to - rank) * (value - start) / (end - start);
                return (if endless { up_to } else { rank + part }).min(count);
            }
            (rank, start) = (up_to, end);
        }
        count
    };
    // The difference of two ranks; Kahan's sum keeps small fractions of large counts.
    let mut between = Kahan::default();
    between.add(rank_of(upper));
    between.add(-rank_of(lower));
    between.total() / count
}

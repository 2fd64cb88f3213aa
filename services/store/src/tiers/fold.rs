//! Samples to buckets.

use super::{Aggregate, Tier};
use crate::histogram::Histogram;
use crate::samples::{STALE_NAN, Samples};

/// The buckets of a tier that samples (ascending) fill, and the last histogram of each bucket.
pub fn fold(samples: &Samples, tier: Tier) -> (Vec<Aggregate>, Vec<(i64, Histogram)>) {
    let mut buckets: Vec<Aggregate> = Vec::new();
    for (&time, &value) in samples.times.iter().zip(&samples.values) {
        let end = tier.end_of(time);
        match buckets.last_mut() {
            Some(last) if last.time == end => add(last, value),
            _ => {
                let mut bucket = Aggregate { time: end, numbers: [0.0, 0.0, f64::NAN, f64::NAN, value] };
                add(&mut bucket, value);
                buckets.push(bucket);
            }
        }
    }
    let mut histograms: Vec<(i64, Histogram)> = Vec::new();
    for (time, histogram) in &samples.histograms {
        let end = tier.end_of(*time);
        match histograms.last_mut() {
            Some((last, kept)) if *last == end => kept.clone_from(histogram),
            _ => histograms.push((end, histogram.clone())),
        }
    }
    settle(&mut buckets, &mut histograms, samples, tier);
    (buckets, histograms)
}

fn add(bucket: &mut Aggregate, value: f64) {
    let [sum, count, min, max, last] = &mut bucket.numbers;
    *last = value;
    if value.to_bits() == STALE_NAN {
        return;
    }
    *sum += value;
    *count += 1.0;
    // f64::min and max leave NaN out, as min_over_time and max_over_time do.
    *min = min.min(value);
    *max = max.max(value);
}

/// A series that changed its kind within a bucket would have two samples of one time: the kind that came last stays.
fn settle(
    buckets: &mut Vec<Aggregate>,
    histograms: &mut Vec<(i64, Histogram)>,
    samples: &Samples,
    tier: Tier,
) {
    if buckets.is_empty() || histograms.is_empty() {
        return;
    }
    let newest =
        |end: i64, times: &mut dyn Iterator<Item = i64>| times.filter(|time| tier.end_of(*time) == end).max();
    let both: Vec<i64> = buckets
        .iter()
        .map(|bucket| bucket.time)
        .filter(|end| histograms.iter().any(|h| h.0 == *end))
        .collect();
    for end in both {
        let float = newest(end, &mut samples.times.iter().copied());
        let histogram = newest(end, &mut samples.histograms.iter().map(|(time, _)| *time));
        if float > histogram {
            histograms.retain(|(time, _)| *time != end);
        } else {
            buckets.retain(|bucket| bucket.time != end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiers::Aspect;
    use proptest::prelude::*;

    fn floats(pairs: &[(i64, f64)]) -> Samples {
        Samples::from_arrivals(pairs)
    }

    #[test]
    fn a_bucket_knows_sum_count_extremes_and_last() {
        let samples = floats(&[(1, 2.0), (60_000, 5.0), (60_001, 7.0), (90_000, 1.0), (120_000, 4.0)]);
        let (buckets, _) = fold(&samples, Tier::Minute);
        let expected = [(60_000, [7.0, 2.0, 2.0, 5.0, 5.0]), (120_000, [12.0, 3.0, 1.0, 7.0, 4.0])];
        assert_eq!(buckets.iter().map(|b| (b.time, b.numbers)).collect::<Vec<_>>(), expected);
        let aspects = [Aspect::Sum, Aspect::Count, Aspect::Min, Aspect::Max, Aspect::Last];
        assert_eq!(aspects.map(|aspect| buckets[1].get(aspect)), [12.0, 3.0, 1.0, 7.0, 4.0].map(Some));
    }

    #[test]
    fn a_marker_of_staleness_is_last_and_nothing_else() {
        let stale = f64::from_bits(STALE_NAN);
        let (buckets, _) = fold(&floats(&[(1, 3.0), (2, stale), (60_001, stale)]), Tier::Minute);
        assert_eq!(buckets[0].numbers[..4], [3.0, 1.0, 3.0, 3.0]);
        assert!(buckets.iter().all(|bucket| bucket.get(Aspect::Last).unwrap().to_bits() == STALE_NAN));
        assert_eq!((buckets[1].get(Aspect::Sum), buckets[1].get(Aspect::Count)), (None, None));
    }

    #[test]
    fn the_last_histogram_of_a_bucket_stays_and_one_kind_alone() {
        let histogram = |sum| Histogram { sum, ..Histogram::default() };
        let mut samples = floats(&[(1, 1.0), (60_050, 2.0), (130_000, 3.0)]);
        samples.histograms = vec![(50, histogram(1.0)), (60_001, histogram(2.0)), (125_000, histogram(3.0))];
        let (buckets, histograms) = fold(&samples, Tier::Minute);
        assert_eq!(histograms, [(60_000, histogram(1.0))]);
        assert_eq!(buckets.iter().map(|bucket| bucket.time).collect::<Vec<_>>(), [120_000, 180_000]);
    }

    proptest! {
        #[test]
        fn buckets_hold_what_their_samples_amount_to(arrivals in prop::collection::vec((-200_000i64..200_000, -5i32..5), 1..200)) {
            let samples = floats(&arrivals.iter().map(|(time, value)| (*time, f64::from(*value))).collect::<Vec<_>>());
            for tier in Tier::ALL {
                let (buckets, _) = fold(&samples, tier);
                prop_assert!(buckets.is_sorted_by(|a, b| a.time < b.time));
                let count: f64 = buckets.iter().map(|bucket| bucket.numbers[1]).sum();
                prop_assert_eq!(count as usize, samples.len());
                for bucket in buckets {
                    let mut within = samples.clone();
                    within.clip(bucket.time - tier.width_ms() + 1, bucket.time);
                    let values = &within.values;
                    let extreme = |pick: fn(f64, f64) -> f64| values.iter().copied().fold(f64::NAN, pick);
                    let last = values[values.len() - 1];
                    let sum = values.iter().sum();
                    prop_assert_eq!(bucket.numbers, [sum, values.len() as f64, extreme(f64::min), extreme(f64::max), last]);
                }
            }
        }
    }
}

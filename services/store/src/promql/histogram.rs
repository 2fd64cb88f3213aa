//! `histogram_quantile` over classic histograms, as Prometheus' `bucketQuantile` defines it.

use hashbrown::HashMap;

use super::eval::distinct;
use super::limits::QueryError;
use super::value::{ABSENT, Column, is_absent};
use crate::series::{Labels, METRIC_NAME};

/// The label with a bucket's upper bound.
const BOUND: &str = "le";

/// Relative differences up to this between buckets count as rounding, not as a decrease.
const SMALL_DELTA: f64 = 1e-12;

/// The φ-quantile of each histogram at each step. Series whose `le` is no number are left out.
///
/// # Errors
/// When two histograms come to have the same labels.
pub(super) fn quantiles(columns: &[Column], phi: &[f64]) -> Result<Vec<Column>, QueryError> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut histograms: Vec<(Labels, Vec<(f64, usize)>)> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let Some(bound) = bound(column.labels.get(BOUND)) else { continue };
        let labels = column.labels.without(|name| name == BOUND || name == METRIC_NAME);
        let place = *places.entry(labels.clone()).or_insert(histograms.len());
        if place == histograms.len() {
            histograms.push((labels, Vec::new()));
        }
        histograms[place].1.push((bound, index));
    }
    let mut results = Vec::with_capacity(histograms.len());
    for (labels, mut buckets) in histograms {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let at = |(step, &phi): (usize, &f64)| {
            let present: Vec<(f64, f64)> = buckets
                .iter()
                .map(|&(bound, index)| (bound, columns[index].values[step]))
                .filter(|&(_, count)| !is_absent(count))
                .collect();
            if present.is_empty() { ABSENT } else { quantile(phi, present) }
        };
        results.push(Column { labels, values: phi.iter().enumerate().map(at).collect() });
    }
    distinct(results)
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" | "inf" | "+inf" => Some(f64::INFINITY),
        other => other.parse().ok(),
    }
}

/// `buckets` are (upper bound, cumulative count), ascending.
fn quantile(phi: f64, buckets: Vec<(f64, f64)>) -> f64 {
    if phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    if buckets.last().is_none_or(|last| last.0 != f64::INFINITY) {
        return f64::NAN;
    }
    let buckets = monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].1;
    if last < 1 || observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let mut rank = phi * observations;
    let at = buckets[..last].partition_point(|bucket| bucket.1 < rank);
    if at == last {
        return buckets[last - 1].0;
    }
    if at == 0 && buckets[0].0 <= 0.0 {
        return buckets[0].0;
    }
    let (mut start, end, mut count) = (0.0, buckets[at].0, buckets[at].1);
    if at > 0 {
        start = buckets[at - 1].0;
        count -= buckets[at - 1].1;
        rank -= buckets[at - 1].1;
    }
    start + (end - start) * (rank / count)
}

/// Joins buckets of one bound and levels counts that decrease, which scrapes of a changing histogram
/// can show.
fn monotonic(buckets: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut joined: Vec<(f64, f64)> = Vec::with_capacity(buckets.len());
    for (bound, count) in buckets {
        match joined.last_mut() {
            Some(last) if last.0 == bound => last.1 += count,
            _ => joined.push((bound, count)),
        }
    }
    let mut before = joined.first().map_or(0.0, |bucket| bucket.1);
    for bucket in joined.iter_mut().skip(1) {
        let small = (bucket.1 - before).abs() <= SMALL_DELTA * (bucket.1.abs() + before.abs());
        if bucket.1 < before || small {
            bucket.1 = before;
        }
        before = bucket.1;
    }
    joined
}

//! A histogram as text, as Prometheus' `String` writes it.

use super::super::value::short_number;
use crate::histogram::{Bucket, Histogram};

/// `{count:3, sum:2, (0.5,1]:3}`; empty buckets are left out.
pub fn text(histogram: &Histogram) -> String {
    let mut out = format!("{{count:{}, sum:{}", short_number(histogram.count), short_number(histogram.sum));
    for bucket in histogram.all_buckets().iter().filter(|bucket| bucket.count != 0.0) {
        out += &format!(", {}", of_bucket(bucket));
    }
    out.push('}');
    out
}

fn of_bucket(bucket: &Bucket) -> String {
    let open = if bucket.lower_inclusive { '[' } else { '(' };
    let close = if bucket.upper_inclusive { ']' } else { ')' };
    let number = short_number;
    format!("{open}{},{}{close}:{}", number(bucket.lower), number(bucket.upper), number(bucket.count))
}

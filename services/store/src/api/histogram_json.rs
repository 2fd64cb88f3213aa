//! Native histograms in Prometheus' JSON.

use super::answer::comma;
use super::number::{text as number, timestamp};
use crate::histogram::{Bucket, Histogram};

/// `[time,{"count":"…","sum":"…","buckets":[[bounds,"lower","upper","count"],…]}]`, empty buckets left out.
pub(super) fn point(time: i64, histogram: &Histogram, out: &mut Vec<u8>) {
    out.push(b'[');
    timestamp(time, out);
    let (count, sum) = (number(histogram.count), number(histogram.sum));
    out.extend_from_slice(format!(",{{\"count\":\"{count}\",\"sum\":\"{sum}\"").as_bytes());
    let full: Vec<Bucket> =
        histogram.all_buckets().into_iter().filter(|bucket| bucket.count != 0.0).collect();
    if !full.is_empty() {
        out.extend_from_slice(b",\"buckets\":[");
        for (index, bucket) in full.iter().enumerate() {
            comma(index, out);
            let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(number);
            out.extend_from_slice(
                format!("[{},\"{lower}\",\"{upper}\",\"{count}\"]", rule(bucket)).as_bytes(),
            );
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}]");
}

/// Which bounds are in the bucket: 0 the upper one, 1 the lower one, 2 none, 3 both.
fn rule(bucket: &Bucket) -> u8 {
    match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => 0,
        (true, false) => 1,
        (false, false) => 2,
        (true, true) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Buckets;

    #[test]
    fn buckets_have_their_bounds_and_the_rule_for_them() {
        let mut positive = Buckets::default();
        positive.push(0, 2.0);
        positive.push(1, 0.0);
        let histogram = Histogram {
            count: 3.0,
            sum: 1.5,
            zero_count: 1.0,
            zero_threshold: 0.001,
            positive,
            ..Histogram::default()
        };
        let mut out = Vec::new();
        point(1_500, &histogram, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"[1.500,{"count":"3","sum":"1.5","buckets":[[3,"-0.001","0.001","1"],[0,"0.5","1","2"]]}]"#
        );
    }
}

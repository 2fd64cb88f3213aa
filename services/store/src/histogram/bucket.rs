//! Walking over buckets, by index or with their bounds.

use super::{Buckets, Histogram, Span, bound};

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// Whether `lower` itself is counted in it.
    pub lower_inclusive: bool,
    /// Whether `upper` itself is counted in it.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
    /// Its index among those of its sign; 0 for the zero bucket.
    pub index: i32,
}

/// The buckets that are there as (index, count), ascending by index.
#[derive(Clone, Debug)]
pub struct BucketIter<'a> {
    spans: std::slice::Iter<'a, Span>,
    counts: std::slice::Iter<'a, f64>,
    left: u32,
    next: i32,
}

impl Iterator for BucketIter<'_> {
    type Item = (i32, f64);

    fn next(&mut self) -> Option<(i32, f64)> {
        while self.left == 0 {
            let span = self.spans.next()?;
            // Wraps only for indexes that validation refuses.
            self.next = self.next.wrapping_add(span.offset);
            self.left = span.length;
        }
        let found = (self.next, *self.counts.next()?);
        self.left -= 1;
        self.next = self.next.wrapping_add(1);
        Some(found)
    }
}

impl Buckets {
    /// The buckets that are there as (index, count), ascending; empty ones within spans are among them.
    pub fn iter(&self) -> BucketIter<'_> {
        BucketIter { spans: self.spans.iter(), counts: self.counts.iter(), left: 0, next: 0 }
    }

    /// Whether no bucket is there.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Adds a bucket behind the last one, whose index was `last`; its own index must be greater. Without one before it,
    /// `last` is `None`.
    pub fn push_after(&mut self, last: Option<i32>, index: i32, count: f64) {
        let end = last.map_or(0, |last| last.wrapping_add(1));
        match self.spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => self.spans.push(Span { offset: index.wrapping_sub(end), length: 1 }),
        }
        self.counts.push(count);
    }

    /// As [`Buckets::push_after`], looking for the last bucket itself: for a few.
    pub fn push(&mut self, index: i32, count: f64) {
        self.push_after(self.iter().last().map(|(last, _)| last), index, count);
    }
}

impl<'a> IntoIterator for &'a Buckets {
    type Item = (i32, f64);
    type IntoIter = BucketIter<'a>;

    fn into_iter(self) -> BucketIter<'a> {
        self.iter()
    }
}

impl Histogram {
    /// The positive buckets with their bounds, ascending.
    pub fn positive_buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.positive.iter().map(|(index, count)| {
            let (lower, upper) = self.bounds_of(index);
            let (lower_inclusive, upper_inclusive) =
                if self.is_custom() { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
            Bucket { lower, upper, lower_inclusive, upper_inclusive, count, index }
        })
    }

    /// The negative buckets with their bounds, from zero downwards.
    pub fn negative_buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.negative.iter().map(|(index, count)| {
            let (near, far) = self.bounds_of(index);
            let (lower, upper) = (-far, -near);
            Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count, index }
        })
    }

    /// The bucket around zero, both bounds in it.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// Every bucket from the lowest to the highest. Where the zero bucket reaches into another one, that one ends at the
    /// zero bucket's bound; an empty zero bucket is left out.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let threshold = self.zero_threshold;
        let mut all: Vec<Bucket> = self.negative_buckets().collect();
        all.reverse();
        for bucket in &mut all {
            if bucket.upper < 0.0 && bucket.upper > -threshold {
                bucket.upper = -threshold;
            }
        }
        if self.zero_count != 0.0 {
            all.push(self.zero_bucket());
        }
        all.extend(self.positive_buckets().map(|mut bucket| {
            if bucket.lower > 0.0 && bucket.lower < threshold {
                bucket.lower = threshold;
            }
            bucket
        }));
        all
    }

    fn bounds_of(&self, index: i32) -> (f64, f64) {
        let at = |index| bound(index, self.schema, &self.custom_bounds);
        (at(index.wrapping_sub(1)), at(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::SCHEMA_CUSTOM;

    fn buckets(pairs: &[(i32, f64)]) -> Buckets {
        let mut all = Buckets::default();
        pairs.iter().for_each(|&(index, count)| all.push(index, count));
        all
    }

    #[test]
    fn pushed_buckets_come_back_with_their_indexes() {
        let pairs = [(-3, 1.0), (-2, 0.0), (1, 4.0), (2, 2.0), (9, 1.0)];
        let all = buckets(&pairs);
        let span = |offset, length| Span { offset, length };
        assert_eq!(all.spans, [span(-3, 2), span(2, 2), span(6, 1)]);
        assert_eq!(all.iter().collect::<Vec<_>>(), pairs);
    }

    #[test]
    fn spans_without_buckets_still_move_the_index() {
        let span = |offset, length| Span { offset, length };
        let all = Buckets { spans: vec![span(2, 0), span(3, 1), span(0, 1)], counts: vec![1.0, 2.0] };
        assert_eq!(all.iter().collect::<Vec<_>>(), [(5, 1.0), (6, 2.0)]);
    }

    #[test]
    fn all_buckets_go_from_the_lowest_to_the_highest_and_do_not_overlap() {
        let histogram = Histogram {
            zero_threshold: 0.75,
            zero_count: 3.0,
            positive: buckets(&[(0, 1.0), (2, 2.0)]),
            negative: buckets(&[(0, 4.0), (1, 5.0)]),
            ..Histogram::default()
        };
        let seen: Vec<_> = histogram.all_buckets().iter().map(|b| (b.lower, b.upper, b.count)).collect();
        let expected =
            [(-2.0, -1.0, 5.0), (-1.0, -0.75, 4.0), (-0.75, 0.75, 3.0), (0.75, 1.0, 1.0), (2.0, 4.0, 2.0)];
        assert_eq!(seen, expected);
        let inclusive: Vec<_> =
            histogram.all_buckets().iter().map(|b| (b.lower_inclusive, b.upper_inclusive)).collect();
        assert_eq!(inclusive, [(true, false), (true, false), (true, true), (false, true), (false, true)]);
    }

    #[test]
    fn custom_buckets_have_the_bounds_that_were_given() {
        let histogram = Histogram {
            schema: SCHEMA_CUSTOM,
            custom_bounds: vec![0.5, 10.0],
            positive: buckets(&[(0, 1.0), (1, 2.0), (2, 3.0)]),
            ..Histogram::default()
        };
        let seen: Vec<_> =
            histogram.positive_buckets().map(|b| (b.lower, b.upper, b.lower_inclusive)).collect();
        assert_eq!(seen, [(f64::NEG_INFINITY, 0.5, true), (0.5, 10.0, false), (10.0, f64::INFINITY, false)]);
    }
}

//! A histogram taken apart, its numbers with what rounding took from them, so that sums lose nothing.

use super::super::kahan::Kahan;
use crate::histogram::{Buckets, Histogram, ResetHint, bound};

/// Buckets of one sign, ascending by index.
type Side = Vec<(i32, Kahan)>;

/// The parts.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) schema: i8,
    pub(super) zero_threshold: f64,
    pub(super) zero: Kahan,
    pub(super) count: Kahan,
    pub(super) sum: Kahan,
    pub(super) positive: Side,
    pub(super) negative: Side,
    pub(super) custom_bounds: Vec<f64>,
    pub(super) reset_hint: ResetHint,
}

fn whole(value: f64) -> Kahan {
    Kahan { sum: value, correction: 0.0 }
}

impl Parts {
    pub(super) fn new(histogram: &Histogram) -> Parts {
        let side = |buckets: &Buckets| buckets.iter().map(|(index, count)| (index, whole(count))).collect();
        Parts {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero: whole(histogram.zero_count),
            count: whole(histogram.count),
            sum: whole(histogram.sum),
            positive: side(&histogram.positive),
            negative: side(&histogram.negative),
            custom_bounds: histogram.custom_bounds.clone(),
            reset_hint: histogram.reset_hint,
        }
    }

    /// Put together again; every number is its sum and correction.
    pub(super) fn finish(&self) -> Histogram {
        let side = |side: &Side| {
            let (mut buckets, mut last) = (Buckets::default(), None);
            for (index, count) in side {
                buckets.push_after(last, *index, count.total());
                last = Some(*index);
            }
            buckets
        };
        Histogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero.total(),
            count: self.count.total(),
            sum: self.sum.total(),
            positive: side(&self.positive),
            negative: side(&self.negative),
            custom_bounds: self.custom_bounds.clone(),
            reset_hint: self.reset_hint,
            integer: false,
        }
    }

    fn numbers(&mut self) -> impl Iterator<Item = &mut Kahan> {
        let buckets = self.positive.iter_mut().chain(&mut self.negative).map(|(_, count)| count);
        [&mut self.zero, &mut self.count, &mut self.sum].into_iter().chain(buckets)
    }

    /// Every number times a factor.
    pub(super) fn scale(&mut self, factor: f64) {
        for number in self.numbers() {
            *number = Kahan { sum: number.sum * factor, correction: number.correction * factor };
        }
    }

    /// Every number divided.
    pub(super) fn divide(&mut self, by: f64) {
        for number in self.numbers() {
            *number = Kahan { sum: number.sum / by, correction: number.correction / by };
        }
    }

    /// Whether a number became infinite.
    pub(super) fn overflows(&mut self) -> bool {
        self.numbers().any(|number| number.sum.is_infinite())
    }

    /// Merges buckets into those of a coarser schema.
    pub(super) fn reduce(&mut self, schema: i8) {
        if schema >= self.schema {
            return;
        }
        let shift = u32::from(self.schema.abs_diff(schema)).min(31);
        let coarser = |index: i32| (index.wrapping_sub(1) >> shift).wrapping_add(1);
        for side in [&mut self.positive, &mut self.negative] {
            let mut merged: Side = Vec::with_capacity(side.len());
            for (index, count) in side.drain(..) {
                let index = coarser(index);
                match merged.last_mut() {
                    Some((last, sum)) if *last == index => add(sum, count, 1.0),
                    _ => merged.push((index, count)),
                }
            }
            *side = merged;
        }
        self.schema = schema;
    }

    /// Widens the zero bucket to `threshold` at least, and so far that it ends at no full bucket's middle. What it covers
    /// then moves into it.
    pub(super) fn widen(&mut self, threshold: f64) {
        if threshold <= self.zero_threshold {
            return;
        }
        let end = |index: i32| bound(index, self.schema, &[]);
        let mut threshold = threshold;
        // Widening for one side may reach into a bucket of the other; each round takes in a bucket more.
        loop {
            let cut = |(index, count): &&(i32, Kahan)| {
                count.sum != 0.0 && end(index.wrapping_sub(1)) < threshold && end(*index) > threshold
            };
            match self.positive.iter().chain(&self.negative).find(cut) {
                Some((index, _)) => threshold = end(*index),
                None => break,
            }
        }
        self.zero_threshold = threshold;
        let schema = self.schema;
        for side in [&mut self.positive, &mut self.negative] {
            let zero = &mut self.zero;
            side.retain(|(index, count)| {
                let outside = bound(index.wrapping_sub(1), schema, &[]) >= threshold;
                if !outside {
                    add(zero, *count, 1.0);
                }
                outside
            });
        }
    }

    /// Adds another histogram's numbers times `sign`. Both have the same bounds, schema and zero threshold.
    pub(super) fn add(&mut self, other: &Parts, sign: f64) {
        add(&mut self.zero, other.zero, sign);
        add(&mut self.count, other.count, sign);
        add(&mut self.sum, other.sum, sign);
        merge(&mut self.positive, &other.positive, sign);
        merge(&mut self.negative, &other.negative, sign);
    }

    /// Maps custom buckets to fewer bounds, all of them among its own.
    pub(super) fn rebound(&mut self, bounds: &[f64]) {
        let mut merged: Side = Vec::with_capacity(bounds.len() + 1);
        for (index, count) in self.positive.drain(..) {
            let upper = usize::try_from(index).ok().and_then(|index| self.custom_bounds.get(index));
            let target =
                upper.map_or(bounds.len(), |upper| bounds.partition_point(|bound| bound < upper)) as i32;
            match merged.last_mut() {
                Some((last, sum)) if *last == target => add(sum, count, 1.0),
                _ => merged.push((target, count)),
            }
        }
        self.positive = merged;
        self.custom_bounds = bounds.to_vec();
    }
}

fn add(to: &mut Kahan, term: Kahan, sign: f64) {
    to.add(term.sum * sign);
    if term.correction != 0.0 {
        to.add(term.correction * sign);
    }
}

fn merge(side: &mut Side, other: &[(i32, Kahan)], sign: f64) {
    let same_layout = side.len() == other.len() && side.iter().zip(other).all(|(a, b)| a.0 == b.0);
    if same_layout {
        side.iter_mut().zip(other).for_each(|(to, (_, term))| add(&mut to.1, *term, sign));
        return;
    }
    let mut merged: Side = Vec::with_capacity(side.len() + other.len());
    let (mut a, mut b) = (side.iter().peekable(), other.iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (None, None) => break,
            (Some((x, _)), Some((y, _))) => x.cmp(y),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
        };
        let own = if next.is_le() { a.next().copied() } else { None };
        let foreign = if next.is_ge() { b.next().copied() } else { None };
        let index = own.or(foreign).map_or(0, |(index, _)| index);
        let mut count = own.map_or(Kahan::default(), |(_, count)| count);
        if let Some((_, term)) = foreign {
            add(&mut count, term, sign);
        }
        merged.push((index, count));
    }
    *side = merged;
}

//! Native histograms: one sample that holds a whole distribution, as Prometheus defines it
//! (prometheus.io/docs/specs/native_histograms).
//!
//! Buckets of the exponential schemas (-4 to 8) grow by the factor `2^(2^-schema)`: bucket `i` counts what lies in
//! `(base^(i-1), base^i]`, its negative twin the mirror image. Around zero stands one bucket of its own width. Schema
//! -53 has bounds of its own instead. Only buckets inside of spans are there; the others are empty.
//!
//! One type holds both of Prometheus' kinds. Counts of the integer kind are whole numbers up to 2^53, which a float holds
//! exactly; [`Histogram::integer`] says which kind it was, so that it leaves as it came.

mod bounds;
mod bucket;
mod validate;

pub use bounds::bound;
pub use bucket::{Bucket, BucketIter};
pub use validate::HistogramError;

use crate::samples::STALE_NAN;

/// The coarsest exponential schema: each bucket 65,536 times as wide as the one before.
pub const SCHEMA_MIN: i8 = -4;

/// The finest exponential schema: 256 buckets for each power of two.
pub const SCHEMA_MAX: i8 = 8;

/// The schema of histograms with bounds of their own.
pub const SCHEMA_CUSTOM: i8 = -53;

/// Buckets of one sign that a histogram may have, spans likewise. Instrumentation stays below 200; a histogram over the
/// range of all latencies, from nanoseconds to days, at the finest schema has 12,000.
pub const BUCKETS_MAX: usize = 16_384;

/// Whole numbers up to here are exact in a float; an integer histogram with a larger count is refused.
pub const EXACT_MAX: u64 = 1 << 53;

/// What is known about the histogram before this one in its series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResetHint {
    /// Nothing: whether counts fell must be found by comparing.
    #[default]
    Unknown,
    /// The counter began anew with this histogram.
    Reset,
    /// It did not.
    NotReset,
    /// A gauge: its counts may fall, and that is no reset.
    Gauge,
}

/// A run of buckets that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Absent buckets since the span before; for the first span the index of its first bucket.
    pub offset: i32,
    /// Buckets.
    pub length: u32,
}

/// The buckets of one sign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Which are there, ascending by index.
    pub spans: Vec<Span>,
    /// Their counts: absolute, not differences; as many as the spans have buckets.
    pub counts: Vec<f64>,
}

/// A native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// [`SCHEMA_MIN`] to [`SCHEMA_MAX`], or [`SCHEMA_CUSTOM`].
    pub schema: i8,
    /// The zero bucket reaches from minus this to this, both included.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Their sum; [`STALE_NAN`] makes the histogram a staleness marker.
    pub sum: f64,
    /// Buckets above the zero bucket.
    pub positive: Buckets,
    /// Buckets below it, by the index of their mirror image.
    pub negative: Buckets,
    /// Upper bounds of the buckets of [`SCHEMA_CUSTOM`], without the last one, which is infinite. Empty for the others.
    pub custom_bounds: Vec<f64>,
    /// Whether counts fell.
    pub reset_hint: ResetHint,
    /// Prometheus' integer kind: all counts are whole.
    pub integer: bool,
}

impl Histogram {
    /// Whether it marks the end of its series.
    pub fn is_stale(&self) -> bool {
        self.sum.to_bits() == STALE_NAN
    }

    /// Whether it has bounds of its own.
    pub fn is_custom(&self) -> bool {
        self.schema == SCHEMA_CUSTOM
    }

    /// Whether both are the same bit for bit: unlike `==`, NaN is the same as itself and zero not as minus zero.
    pub fn same(&self, other: &Histogram) -> bool {
        let bits = |numbers: &[f64], others: &[f64]| {
            let mut pairs = numbers.iter().zip(others);
            numbers.len() == others.len() && pairs.all(|(a, b)| a.to_bits() == b.to_bits())
        };
        let scalars = |h: &Histogram| [h.zero_threshold, h.zero_count, h.count, h.sum];
        let kind = |h: &Histogram| (h.schema, h.reset_hint, h.integer);
        kind(self) == kind(other)
            && bits(&scalars(self), &scalars(other))
            && self.positive.spans == other.positive.spans
            && self.negative.spans == other.negative.spans
            && bits(&self.positive.counts, &other.positive.counts)
            && bits(&self.negative.counts, &other.negative.counts)
            && bits(&self.custom_bounds, &other.custom_bounds)
    }

    /// Bytes of memory besides the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let numbers = self.positive.counts.len() + self.negative.counts.len() + self.custom_bounds.len();
        let spans = self.positive.spans.len() + self.negative.spans.len();
        8 * (numbers + spans)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A histogram that passes [`Histogram::validate`], of either kind.
    pub(crate) fn valid() -> impl Strategy<Value = Histogram> {
        (SCHEMA_MIN - 1..=SCHEMA_MAX, side(), side(), 0u32..50, 0u8..4, any::<bool>(), any::<u32>()).prop_map(
            |(schema, positive, negative, zero, hint, integer, sum)| {
                let custom = schema < SCHEMA_MIN;
                let (mut positive, negative) =
                    if custom { (positive, Buckets::default()) } else { (positive, negative) };
                if custom && let Some(first) = positive.spans.first_mut() {
                    first.offset = first.offset.abs();
                }
                let reach: i64 =
                    positive.spans.iter().map(|s| i64::from(s.offset) + i64::from(s.length)).sum();
                let bounds = if custom { 0..reach } else { 0..0 };
                let zero_count = if custom { 0.0 } else { f64::from(zero) };
                let counted: f64 = positive.counts.iter().chain(&negative.counts).sum();
                Histogram {
                    schema: if custom { SCHEMA_CUSTOM } else { schema },
                    zero_threshold: if custom { 0.0 } else { 1e-9 },
                    zero_count,
                    count: counted + zero_count,
                    sum: f64::from(sum) / 8.0,
                    positive,
                    negative,
                    custom_bounds: bounds.map(|n| n as f64 / 4.0).collect(),
                    reset_hint: [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge]
                        [usize::from(hint)],
                    integer,
                }
            },
        )
    }

    fn side() -> impl Strategy<Value = Buckets> {
        let spans = prop::collection::vec((0i32..6, prop::collection::vec(0u32..1000, 0..5)), 0..4);
        (-20i32..20, spans).prop_map(|(first, spans)| {
            let mut buckets = Buckets::default();
            for (index, (offset, counts)) in spans.into_iter().enumerate() {
                let offset = if index == 0 { first } else { offset };
                buckets.spans.push(Span { offset, length: counts.len() as u32 });
                buckets.counts.extend(counts.into_iter().map(f64::from));
            }
            buckets
        })
    }

    proptest! {
        #[test]
        fn a_histogram_is_the_same_as_itself_and_as_no_other(a in valid(), b in valid()) {
            prop_assert!(a.same(&a.clone()));
            prop_assert_eq!(a.same(&b), a == b);
        }
    }

    #[test]
    fn a_stale_marker_is_told_from_other_nans() {
        let with = |sum| Histogram { sum, ..Histogram::default() };
        assert!(with(f64::from_bits(STALE_NAN)).is_stale());
        assert!(!with(f64::NAN).is_stale());
        assert!(with(f64::NAN).same(&with(f64::NAN)));
    }
}

//! What a histogram must keep to be taken: Prometheus' own rules, and bounds on its size.

use super::{BUCKETS_MAX, Buckets, EXACT_MAX, Histogram, SCHEMA_CUSTOM, SCHEMA_MAX, SCHEMA_MIN};

/// Why a histogram is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// A schema that nobody has defined.
    #[error("histogram has schema {0}; {SCHEMA_MIN} to {SCHEMA_MAX} and {SCHEMA_CUSTOM} are possible")]
    Schema(i32),
    /// More than [`BUCKETS_MAX`].
    #[error("histogram has {0} buckets or spans of one sign; at most {BUCKETS_MAX} are taken")]
    Size(usize),
    /// A span after the first that goes back.
    #[error("histogram has a span whose offset {0} is negative")]
    SpanOffset(i32),
    /// Spans that lead past the indexes that there are.
    #[error("histogram has spans that lead to bucket {0}, which is no bucket of its schema")]
    SpanIndex(i64),
    /// Spans and counts that do not fit each other.
    #[error("histogram's spans need {spans} buckets, it has {counts}")]
    SpanLength {
        /// Buckets in all spans.
        spans: u64,
        /// Counts.
        counts: usize,
    },
    /// A count below zero.
    #[error("histogram has the negative count {0}")]
    NegativeCount(f64),
    /// An integer histogram whose count is not whole, or past [`EXACT_MAX`].
    #[error(
        "histogram is of the integer kind and has the count {0}; whole numbers up to {EXACT_MAX} are taken"
    )]
    NotWhole(f64),
    /// An integer histogram whose buckets do not add up.
    #[error("histogram has {buckets} observations in its buckets and the count {count}")]
    CountMismatch {
        /// In all buckets, zero bucket included.
        buckets: f64,
        /// What it says.
        count: f64,
    },
    /// Custom bounds with an exponential schema.
    #[error("histogram has custom bounds and the exponential schema {0}")]
    BoundsNotCustom(i8),
    /// Bounds that do not ascend, or are NaN or infinite.
    #[error("histogram's custom bound {0} is not finite or not above the one before")]
    BoundOrder(f64),
    /// What custom buckets cannot have.
    #[error("histogram with custom bounds has {0}")]
    CustomWith(&'static str),
}

impl Histogram {
    /// Checks Prometheus' rules: spans and counts fit each other, no count is negative, bounds ascend, and in an
    /// integer histogram the buckets add up to the count (or to less, when its sum is NaN: an observed NaN is in no
    /// bucket).
    ///
    /// # Errors
    /// The first [`HistogramError`].
    pub fn validate(&self) -> Result<(), HistogramError> {
        if self.is_custom() {
            self.validate_custom()?;
        } else if !(SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
            return Err(HistogramError::Schema(self.schema.into()));
        } else if !self.custom_bounds.is_empty() {
            return Err(HistogramError::BoundsNotCustom(self.schema));
        }
        let indexes = if self.is_custom() { 0..=self.custom_bounds.len() as i64 } else { INDEXES };
        self.positive.validate(indexes.clone())?;
        self.negative.validate(indexes)?;
        let counts = self.positive.counts.iter().chain(&self.negative.counts);
        for &count in counts.clone().chain([&self.count, &self.zero_count]) {
            if count < 0.0 {
                return Err(HistogramError::NegativeCount(count));
            }
            if self.integer && !(count.fract() == 0.0 && count <= EXACT_MAX as f64) {
                return Err(HistogramError::NotWhole(count));
            }
        }
        if !self.integer {
            // A float histogram may come from a calculation, whose rounding no rule on sums would survive.
            return Ok(());
        }
        let buckets = counts.sum::<f64>() + self.zero_count;
        let fits = if self.sum.is_nan() { buckets <= self.count } else { buckets == self.count };
        if fits { Ok(()) } else { Err(HistogramError::CountMismatch { buckets, count: self.count }) }
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        if self.custom_bounds.len() > BUCKETS_MAX {
            return Err(HistogramError::Size(self.custom_bounds.len()));
        }
        let mut before = f64::NEG_INFINITY;
        for (index, &bound) in self.custom_bounds.iter().enumerate() {
            // The first bound alone may be minus infinity.
            if bound.is_nan() || bound == f64::INFINITY || (index > 0 && bound <= before) {
                return Err(HistogramError::BoundOrder(bound));
            }
            before = bound;
        }
        let wrong = HistogramError::CustomWith;
        match self {
            _ if self.zero_count != 0.0 => Err(wrong("a zero count")),
            _ if self.zero_threshold != 0.0 => Err(wrong("a zero threshold")),
            _ if !self.negative.spans.is_empty() || !self.negative.counts.is_empty() => {
                Err(wrong("negative buckets"))
            }
            _ => Ok(()),
        }
    }
}

/// Indexes of exponential buckets: the finest schema has some 550,000, and sums of offsets stay far from overflow.
const INDEXES: std::ops::RangeInclusive<i64> = -(1 << 30)..=1 << 30;

impl Buckets {
    fn validate(&self, indexes: std::ops::RangeInclusive<i64>) -> Result<(), HistogramError> {
        let size = self.counts.len().max(self.spans.len());
        if size > BUCKETS_MAX {
            return Err(HistogramError::Size(size));
        }
        let (mut end, mut spans) = (0i64, 0u64);
        for (index, span) in self.spans.iter().enumerate() {
            if index > 0 && span.offset < 0 {
                return Err(HistogramError::SpanOffset(span.offset));
            }
            end += i64::from(span.offset);
            if span.length > 0 && !indexes.contains(&end) {
                return Err(HistogramError::SpanIndex(end));
            }
            end += i64::from(span.length);
            spans += u64::from(span.length);
            if span.length > 0 && !indexes.contains(&(end - 1)) {
                return Err(HistogramError::SpanIndex(end - 1));
            }
        }
        let counts = self.counts.len();
        if spans == counts as u64 { Ok(()) } else { Err(HistogramError::SpanLength { spans, counts }) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Span, tests::valid};
    use super::*;
    use proptest::prelude::*;

    fn histogram() -> Histogram {
        Histogram {
            schema: 1,
            zero_count: 2.0,
            count: 7.0,
            positive: Buckets {
                spans: vec![Span { offset: -2, length: 1 }, Span { offset: 3, length: 1 }],
                counts: vec![1.0, 4.0],
            },
            integer: true,
            ..Histogram::default()
        }
    }

    fn custom() -> Histogram {
        Histogram {
            schema: SCHEMA_CUSTOM,
            custom_bounds: vec![1.0, 2.0],
            positive: Buckets { spans: vec![Span { offset: 2, length: 1 }], counts: vec![0.0] },
            ..Histogram::default()
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_name() {
        let check = |mut histogram: Histogram, change: &dyn Fn(&mut Histogram), expected: &str| {
            assert_eq!(histogram.validate(), Ok(()));
            change(&mut histogram);
            let said = histogram.validate().unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        };
        check(histogram(), &|h| h.schema = 9, "schema 9");
        check(histogram(), &|h| h.schema = -5, "schema -5");
        check(histogram(), &|h| h.positive.spans[1].offset = -1, "offset -1 is negative");
        check(histogram(), &|h| h.positive.spans[0].length = 2, "need 3 buckets, it has 2");
        check(histogram(), &|h| h.positive.spans[0].offset = i32::MAX, "no bucket of its schema");
        check(histogram(), &|h| h.positive.counts[0] = -1.0, "negative count -1");
        check(histogram(), &|h| h.zero_count = -1.0, "negative count -1");
        check(histogram(), &|h| h.count = 8.0, "7 observations in its buckets and the count 8");
        check(histogram(), &|h| h.count = 7.5, "count 7.5");
        check(histogram(), &|h| h.count = f64::NAN, "count NaN");
        check(histogram(), &|h| h.custom_bounds = vec![1.0], "custom bounds and the exponential schema 1");
        check(histogram(), &|h| h.negative.counts = vec![0.0; BUCKETS_MAX + 1], "at most 16384");
        check(custom(), &|h| h.custom_bounds[1] = 1.0, "custom bound 1 is not");
        check(custom(), &|h| h.custom_bounds[1] = f64::INFINITY, "custom bound inf is not");
        check(custom(), &|h| h.custom_bounds[0] = f64::NAN, "custom bound NaN is not");
        check(custom(), &|h| h.positive.spans[0].offset = 3, "bucket 3, which");
        check(custom(), &|h| h.positive.spans[0].offset = -1, "bucket -1, which");
        check(custom(), &|h| h.zero_count = 1.0, "a zero count");
        check(custom(), &|h| h.zero_threshold = 1.0, "a zero threshold");
        check(custom(), &|h| h.negative.spans = vec![Span::default()], "negative buckets");
    }

    #[test]
    fn observed_nans_are_in_no_bucket() {
        let with = |sum, count| Histogram { sum, count, ..histogram() }.validate().is_ok();
        assert!(with(f64::NAN, 9.0));
        assert!(with(f64::NAN, 7.0));
        assert!(!with(f64::NAN, 6.0));
    }

    #[test]
    fn a_calculated_histogram_need_not_add_up() {
        assert_eq!(Histogram { count: 7.1, integer: false, ..histogram() }.validate(), Ok(()));
    }

    proptest! {
        #[test]
        fn what_the_tests_make_is_valid(histogram in valid()) {
            prop_assert_eq!(histogram.validate(), Ok(()));
        }
    }
}

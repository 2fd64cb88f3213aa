//! Points of delta temporality, each what happened since the one before, to cumulative ones: what happened since the first.
//!
//! The rules are those of OpenTelemetry's data model ("Sums: Delta-to-Cumulative") as its processor `deltatocumulative` has
//! them, which Prometheus runs too: a stream begins with its first point; points that are not newer than the last, or of a
//! time before the stream began, are refused; buckets of other bounds begin anew; a stream that is silent for
//! [`STALE_MS`] is forgotten.
//!
//! **It is memory alone.** After a restart, or when it was forgotten, a stream counts from zero again, as a process does
//! that was started anew. So that it is seen to: where the point says when its time began and the stream only grows, there
//! is a sample of zero just after that time ([`Total::begins`]), and a native histogram says that it was reset.
//!
//! The last point sent again, as a sender does that got no answer, adds nothing and gives the same sample again.

use std::hash::{DefaultHasher, Hash, Hasher};

use hashbrown::HashMap;

use crate::histogram::{Histogram, HistogramError, ResetHint, SCHEMA_MIN};
use crate::promql::native;

/// A stream without a point for so long, by the clock, is forgotten. The processor's own.
const STALE_MS: i64 = 5 * 60_000;

/// Forgetting looks at every stream; it is done this often.
const SWEEP_EVERY_MS: i64 = 30_000;

/// Memory of all streams. A counter takes some 400 bytes with its labels, a histogram of 160 buckets 2 KiB: 60,000 of the ones
/// or 13,000 of the others. Points of further streams are refused.
const STREAMS_BYTES_MAX: usize = 24 << 20;

/// What a stream takes besides its name and its buckets.
const STREAM_BYTES: usize = 160;

/// Buckets of one sign that a native histogram keeps; past it pairs of them become one. The processor's own.
const BUCKETS_MAX: usize = 160;

/// Bounds of a classic histogram whose points are added up; instruments have 15.
const BOUNDS_MAX: usize = 1_000;

/// Why a delta point was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum DeltaError {
    #[error("a delta point is not newer than the one before it")]
    Old,
    #[error("a delta point begins before its series does; do two processes send the same series?")]
    OlderStart,
    #[error("deltas of so many series cannot be kept: their {STREAMS_BYTES_MAX} bytes are in use")]
    Full,
    #[error("a delta histogram has more than {BOUNDS_MAX} bounds")]
    Bounds,
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}

/// When a point was, and its message, by which the same one is known again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamp<'a> {
    /// Nanoseconds; 0 when it does not say.
    pub(super) start: u64,
    /// Nanoseconds.
    pub(super) time: u64,
    pub(super) message: &'a [u8],
}

/// What a point counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Amount {
    /// Whole numbers and others are added up apart, so that small ones are not lost beside large ones.
    Number { whole: i64, other: f64 },
    /// Bounds (as bits), one count for each and one more, all, their sum.
    Classic { bounds: Vec<u64>, counts: Vec<u64>, count: u64, sum: Option<f64> },
    /// A native histogram.
    Native(Box<Histogram>),
}

impl Amount {
    /// As a float.
    pub(super) fn number(&self) -> f64 {
        match self {
            Amount::Number { whole, other } => *whole as f64 + other,
            _ => 0.0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Amount::Number { .. } => 0,
            Amount::Classic { bounds, counts, .. } => 8 * (bounds.len() + counts.len()),
            Amount::Native(histogram) => size_of::<Histogram>() + histogram.heap_bytes(),
        }
    }

    /// Adds a delta; `false` when the two do not go together.
    fn add(&mut self, delta: &Amount) -> bool {
        match (self, delta) {
            (Amount::Number { whole, other }, Amount::Number { whole: more, other: further }) => {
                *whole = whole.saturating_add(*more);
                *other += further;
                true
            }
            (
                Amount::Classic { bounds, counts, count, sum },
                Amount::Classic { bounds: same, counts: more, count: further, sum: and },
            ) => {
                if bounds != same {
                    return false;
                }
                counts.iter_mut().zip(more).for_each(|(count, more)| *count = count.saturating_add(*more));
                *count = count.saturating_add(*further);
                *sum = sum.zip(*and).map(|(sum, more)| sum + more);
                true
            }
            (Amount::Native(total), Amount::Native(delta)) => {
                let Ok(sum) = native::added(total, delta) else { return false };
                **total = Histogram { integer: true, reset_hint: ResetHint::Unknown, ..fitting(&sum) };
                true
            }
            _ => false,
        }
    }
}

/// A delta that may be kept: its size is bounded, and it breaks no rule.
fn checked(mut delta: Amount) -> Result<Amount, DeltaError> {
    match &mut delta {
        Amount::Classic { bounds, .. } if bounds.len() > BOUNDS_MAX => return Err(DeltaError::Bounds),
        // One count for each bound and one for what is above, whatever was sent.
        Amount::Classic { bounds, counts, .. } => counts.resize(bounds.len() + 1, 0),
        Amount::Native(histogram) => {
            histogram.validate()?;
            **histogram = Histogram { integer: true, ..fitting(histogram) };
        }
        Amount::Number { .. } => {}
    }
    Ok(delta)
}

/// The histogram in the finest schema in which it has few enough buckets.
fn fitting(histogram: &Histogram) -> Histogram {
    let many = |schema: i8| {
        let shift = u32::from(histogram.schema.abs_diff(schema));
        [&histogram.positive, &histogram.negative].into_iter().any(|side| {
            let mut indexes: Vec<i32> =
                side.iter().map(|(index, _)| index.wrapping_sub(1) >> shift.min(31)).collect();
            indexes.dedup();
            indexes.len() > BUCKETS_MAX
        })
    };
    let mut schema = histogram.schema;
    while schema > SCHEMA_MIN && many(schema) {
        schema -= 1;
    }
    native::reduced(histogram, schema)
}

/// What a stream amounts to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Total {
    pub(super) amount: Amount,
    /// The time of a zero before it, in milliseconds: the stream begins with this point, just after this time.
    pub(super) begins: Option<i64>,
}

#[derive(Debug)]
struct Stream {
    start: u64,
    last: u64,
    /// When a point came last, by the clock.
    seen: i64,
    /// Of the last point's message.
    print: u64,
    bytes: usize,
    total: Total,
}

/// The streams of delta points of one store.
#[derive(Debug, Default)]
pub struct Deltas {
    streams: HashMap<Vec<u8>, Stream>,
    bytes: usize,
    now: i64,
    swept: i64,
}

impl Deltas {
    /// Sets the clock (milliseconds), and forgets what is silent by then.
    pub fn at(&mut self, now: i64) {
        self.now = now;
        if now.abs_diff(self.swept) < SWEEP_EVERY_MS.unsigned_abs() {
            return;
        }
        self.swept = now;
        let bytes = &mut self.bytes;
        self.streams.retain(|_, stream| {
            // A clock that was set back ends nothing.
            let alive = now.saturating_sub(stream.seen) < STALE_MS;
            if !alive {
                *bytes -= stream.bytes;
            }
            alive
        });
    }

    /// Streams that are known.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Bytes of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A stream has ended.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if let Some(stream) = self.streams.remove(key) {
            self.bytes -= stream.bytes;
        }
    }

    /// Adds a point to the stream of this key, and gives what that amounts to.
    pub(super) fn add(&mut self, key: &[u8], stamp: Stamp<'_>, delta: Amount) -> Result<Total, DeltaError> {
        let delta = checked(delta)?;
        let print = print_of(stamp.message);
        let alive = |stream: &&mut Stream| self.now.saturating_sub(stream.seen) < STALE_MS;
        let Some(stream) = self.streams.get_mut(key).filter(alive) else {
            return self.begin(key, stamp, print, delta);
        };
        if stamp.time == stream.last && print == stream.print {
            return Ok(stream.total.clone());
        }
        if stamp.time <= stream.last {
            return Err(DeltaError::Old);
        }
        if stamp.start != 0 && stamp.start < stream.start {
            return Err(DeltaError::OlderStart);
        }
        let mut total = stream.total.amount.clone();
        if !total.add(&delta) {
            return self.begin(key, stamp, print, delta);
        }
        let (bytes, before) = (STREAM_BYTES + key.len() + total.bytes(), stream.bytes);
        if self.bytes - before + bytes > STREAMS_BYTES_MAX {
            return Err(DeltaError::Full);
        }
        self.bytes = self.bytes - before + bytes;
        let total = Total { amount: total, begins: None };
        *stream = Stream {
            start: stream.start,
            last: stamp.time,
            seen: self.now,
            print,
            bytes,
            total: total.clone(),
        };
        Ok(total)
    }

    fn begin(
        &mut self,
        key: &[u8],
        stamp: Stamp<'_>,
        print: u64,
        mut delta: Amount,
    ) -> Result<Total, DeltaError> {
        self.forget(key);
        let bytes = STREAM_BYTES + key.len() + delta.bytes();
        if self.bytes + bytes > STREAMS_BYTES_MAX {
            return Err(DeltaError::Full);
        }
        self.bytes += bytes;
        if let Amount::Native(histogram) = &mut delta {
            histogram.reset_hint = ResetHint::Reset;
        }
        let total = Total { amount: delta, begins: zero_at(stamp) };
        let stream = Stream {
            start: stamp.start,
            last: stamp.time,
            seen: self.now,
            print,
            bytes,
            total: total.clone(),
        };
        self.streams.insert(key.to_vec(), stream);
        Ok(total)
    }
}

/// A millisecond after the point's time began, where the sample before may be; no further back than a stream may be silent.
fn zero_at(stamp: Stamp<'_>) -> Option<i64> {
    let (start, time) = (super::points::millis(stamp.start), super::points::millis(stamp.time));
    let at = start.saturating_add(1);
    (stamp.start != 0 && at < time && time - start <= STALE_MS).then_some(at)
}

fn print_of(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Buckets;

    const SECOND: u64 = 1_000_000_000;

    fn number(whole: i64) -> Amount {
        Amount::Number { whole, other: 0.0 }
    }

    /// A point from one second to another.
    fn stamp(start: u64, time: u64, message: &[u8]) -> Stamp<'_> {
        Stamp { start: start * SECOND, time: time * SECOND, message }
    }

    #[test]
    fn points_add_up_and_the_first_has_a_zero_before_it() {
        let mut deltas = Deltas::default();
        let mut add = |from, to, n| deltas.add(b"k", stamp(from, to, &[n as u8]), number(n));
        assert_eq!(add(10, 20, 5), Ok(Total { amount: number(5), begins: Some(10_001) }));
        assert_eq!(add(20, 30, 7), Ok(Total { amount: number(12), begins: None }));
        // A gap changes nothing: what was lost in it is not known.
        assert_eq!(add(50, 60, 1).unwrap().amount, number(13));
        assert_eq!(add(0, 70, 1).unwrap().amount, number(14), "without a start");
        assert_eq!(add(60, 65, 1), Err(DeltaError::Old));
        assert_eq!(add(9, 80, 1), Err(DeltaError::OlderStart));
        assert_eq!(add(70, 90, 1).unwrap().amount, number(15));
    }

    #[test]
    fn the_last_point_sent_again_is_the_same_sample_again() {
        let mut deltas = Deltas::default();
        let first = deltas.add(b"k", stamp(10, 20, b"a"), number(5)).unwrap();
        assert_eq!(deltas.add(b"k", stamp(10, 20, b"a"), number(5)), Ok(first));
        let second = deltas.add(b"k", stamp(20, 30, b"b"), number(7)).unwrap();
        assert_eq!(deltas.add(b"k", stamp(20, 30, b"b"), number(7)), Ok(second));
        // Another one of the same time is of another sender.
        assert_eq!(deltas.add(b"k", stamp(20, 30, b"c"), number(1)), Err(DeltaError::Old));
    }

    #[test]
    fn a_zero_is_only_where_the_point_says_when_it_began_and_not_far_back() {
        let begins =
            |start, time| Deltas::default().add(b"k", stamp(start, time, b""), number(1)).unwrap().begins;
        assert_eq!(begins(0, 20), None);
        assert_eq!(begins(20, 20), None);
        assert_eq!(begins(30, 20), None);
        assert_eq!(begins(100, 400), Some(100_001));
        assert_eq!(begins(100, 401), None);
    }

    #[test]
    fn what_is_silent_is_forgotten_and_their_number_is_bounded() {
        let mut deltas = Deltas::default();
        deltas.at(0);
        deltas.add(b"a", stamp(1, 2, b""), number(1)).unwrap();
        deltas.at(STALE_MS - 1);
        deltas.add(b"b", stamp(1, 2, b""), number(1)).unwrap();
        assert_eq!(deltas.add(b"a", stamp(2, 3, b""), number(1)).unwrap().amount, number(2));
        deltas.at(2 * STALE_MS - 2);
        assert_eq!(deltas.len(), 2);
        deltas.at(2 * STALE_MS - 1);
        assert_eq!(deltas.add(b"a", stamp(3, 4, b""), number(1)).unwrap().amount, number(1), "anew");
        deltas.at(4 * STALE_MS);
        assert_eq!((deltas.len(), deltas.bytes()), (0, 0));
        let long = [b'x'; 1 << 20];
        let taken = (0..100u8).take_while(|n| {
            let key = [&long[..], &[*n]].concat();
            deltas.add(&key, stamp(1, 2, b""), number(1)).is_ok()
        });
        assert_eq!(taken.count(), 23);
        assert_eq!(deltas.add(&long, stamp(1, 2, b""), number(1)), Err(DeltaError::Full));
        assert!(deltas.bytes() <= STREAMS_BYTES_MAX);
        let key = [&long[..], &[0]].concat();
        assert_eq!(
            deltas.add(&key, stamp(2, 3, b""), number(4)).unwrap().amount,
            number(5),
            "known ones go on"
        );
    }

    #[test]
    fn classic_histograms_add_up_until_their_bounds_change() {
        let classic = |bounds: &[f64], counts: &[u64], sum| Amount::Classic {
            bounds: bounds.iter().map(|bound| bound.to_bits()).collect(),
            counts: counts.to_vec(),
            count: counts.iter().sum(),
            sum,
        };
        let mut deltas = Deltas::default();
        let mut add = |n, amount| deltas.add(b"k", stamp(n, n + 1, b""), amount).unwrap();
        add(1, classic(&[1.0], &[1, 2], Some(0.5)));
        assert_eq!(add(2, classic(&[1.0], &[3, 4], Some(1.0))).amount, classic(&[1.0], &[4, 6], Some(1.5)));
        assert_eq!(add(3, classic(&[1.0], &[0, 1], None)).amount, classic(&[1.0], &[4, 7], None));
        let other = classic(&[2.0], &[1, 1], Some(1.0));
        assert_eq!(add(4, other.clone()), Total { amount: other, begins: Some(4_001) });
    }

    #[test]
    fn native_histograms_add_up_in_the_coarser_schema_with_few_enough_buckets() {
        let native = |schema: i8, from: i32, counts: &[f64]| {
            let mut positive = Buckets::default();
            for (place, count) in counts.iter().enumerate() {
                positive.push(from + place as i32, *count);
            }
            let count = counts.iter().sum();
            let (zero_threshold, integer) = (1e-128, true);
            let histogram = Histogram {
                schema,
                positive,
                count,
                sum: count,
                zero_threshold,
                integer,
                ..Histogram::default()
            };
            Amount::Native(Box::new(histogram))
        };
        let mut deltas = Deltas::default();
        let mut add = |n, amount| match deltas.add(b"k", stamp(n, n + 1, b""), amount).unwrap().amount {
            Amount::Native(histogram) => *histogram,
            other => panic!("{other:?}"),
        };
        assert_eq!(add(1, native(1, 1, &[1.0, 2.0])).reset_hint, ResetHint::Reset);
        let sum = add(2, native(0, 1, &[4.0, 8.0]));
        assert_eq!((sum.schema, sum.count, sum.sum, sum.integer), (0, 15.0, 15.0, true));
        assert_eq!(sum.positive.iter().collect::<Vec<_>>(), [(1, 7.0), (2, 8.0)]);
        assert_eq!(sum.reset_hint, ResetHint::Unknown);
        sum.validate().unwrap();
        let wide = add(3, native(0, 1, &[1.0; 400]));
        assert_eq!((wide.schema, wide.positive.counts.len(), wide.count), (-2, 100, 415.0));
        wide.validate().unwrap();
    }
}

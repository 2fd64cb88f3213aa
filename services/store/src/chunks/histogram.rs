//! A chunk of native histograms with float counts: the number of samples (2 bytes, big endian), what is known about
//! the first one's counts (1 byte), then bits: the layout that all share, and for each sample its time and numbers.

use super::bits::{Xor, put, put_signed, put_unsigned};
use crate::codec::bits::BitWriter;
use crate::histogram::{Histogram, ResetHint, Span};

/// Whether two histograms can be in one chunk.
pub(super) fn same_layout(one: &Histogram, other: &Histogram) -> bool {
    one.schema == other.schema
        && one.zero_threshold.to_bits() == other.zero_threshold.to_bits()
        && one.positive.spans == other.positive.spans
        && one.negative.spans == other.negative.spans
        && one.custom_bounds == other.custom_bounds
        && !one.is_stale()
        && !other.is_stale()
}

/// The chunk's bytes; at least one sample, all of one layout.
pub(super) fn encode(samples: &[(i64, Histogram)]) -> Vec<u8> {
    let (first_at, first) = &samples[0];
    // A marker of staleness has no buckets, and no layout.
    let empty = Histogram { sum: first.sum, ..Histogram::default() };
    let layout = if first.is_stale() { &empty } else { first };
    let mut bits = BitWriter::default();
    put_layout(layout, &mut bits);
    put_signed(*first_at, &mut bits);
    let raw = numbers(layout);
    raw.iter().for_each(|value| bits.put(value.to_bits(), 64));
    let mut runs: Vec<Xor> = raw.into_iter().map(Xor::after).collect();
    let (mut before, mut step) = (*first_at, 0i64);
    for (time, histogram) in &samples[1..] {
        let next = time.wrapping_sub(before);
        put_signed(next.wrapping_sub(step), &mut bits);
        (before, step) = (*time, next);
        for (run, value) in runs.iter_mut().zip(numbers(histogram)) {
            run.put(value, &mut bits);
        }
    }
    let hint = match first.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::NotReset => 0b0100_0000,
        ResetHint::Reset => 0b1000_0000,
        ResetHint::Gauge => 0b1100_0000,
    };
    let mut out = (samples.len() as u16).to_be_bytes().to_vec();
    out.push(hint);
    bits.copy_to(&mut out);
    out
}

/// Count, zero count, sum, positive buckets, negative buckets.
fn numbers(histogram: &Histogram) -> Vec<f64> {
    let head = [histogram.count, histogram.zero_count, histogram.sum];
    head.into_iter()
        .chain(histogram.positive.counts.iter().copied())
        .chain(histogram.negative.counts.iter().copied())
        .collect()
}

fn put_layout(histogram: &Histogram, bits: &mut BitWriter) {
    put_threshold(histogram.zero_threshold, bits);
    put_signed(histogram.schema.into(), bits);
    put_spans(&histogram.positive.spans, bits);
    put_spans(&histogram.negative.spans, bits);
    if histogram.is_custom() {
        put_unsigned(histogram.custom_bounds.len() as u64, bits);
        histogram.custom_bounds.iter().for_each(|bound| put_bound(*bound, bits));
    }
}

fn put_spans(spans: &[Span], bits: &mut BitWriter) {
    put_unsigned(spans.len() as u64, bits);
    for span in spans {
        put_unsigned(span.length.into(), bits);
        put_signed(span.offset.into(), bits);
    }
}

/// Zero and powers of two from 2^-243 to 2^10 take a byte.
fn put_threshold(threshold: f64, bits: &mut BitWriter) {
    let raw = threshold.to_bits();
    // Prometheus counts exponents of 0.5 to 1, IEEE 754 of 1 to 2.
    let exponent = (raw >> 52) as i64 - 1022;
    let is_power = raw & ((1 << 52) - 1) == 0 && (-242..=11).contains(&exponent);
    if threshold == 0.0 {
        bits.put(0, 8);
    } else if is_power {
        bits.put((exponent + 243).cast_unsigned(), 8);
    } else {
        bits.put(255, 8);
        bits.put(raw, 64);
    }
}

/// Multiples of a thousandth up to 33,554.430 are small numbers.
fn put_bound(bound: f64, bits: &mut BitWriter) {
    let thousandths = (bound * 1000.0).round();
    if (0.0..=33_554_430.0).contains(&(bound * 1000.0)) && thousandths / 1000.0 == bound {
        put_unsigned(thousandths as u64 + 1, bits);
    } else {
        bits.put(0, 1);
        put(bound.to_bits(), 64, bits);
    }
}

#[cfg(test)]
mod tests {
    use super::super::of_histograms;
    use super::*;
    use crate::codec::bits::BitReader;
    use crate::histogram::{Buckets, SCHEMA_CUSTOM};
    use proptest::prelude::*;

    /// Reads a chunk by the format's own rules.
    struct Reader<'a>(BitReader<'a>);

    impl Reader<'_> {
        fn take(&mut self, count: u8) -> u64 {
            self.0.get(count).unwrap()
        }

        fn class(&mut self) -> u8 {
            let mut ones = 0;
            while ones < 8 && self.take(1) == 1 {
                ones += 1;
            }
            [0, 3, 6, 9, 12, 18, 25, 56, 64][ones]
        }

        fn unsigned(&mut self) -> u64 {
            let width = self.class();
            self.take(width)
        }

        fn signed(&mut self) -> i64 {
            let width = self.class();
            let read = self.take(width);
            let is_low = (1..64).contains(&width) && read > 1 << (width - 1);
            (if is_low { read.wrapping_sub(1 << width) } else { read }).cast_signed()
        }

        fn spans(&mut self) -> Vec<Span> {
            (0..self.unsigned())
                .map(|_| {
                    let length = self.unsigned() as u32;
                    Span { length, offset: self.signed() as i32 }
                })
                .collect()
        }

        fn xor(&mut self, run: &mut (u64, u8, u8)) -> f64 {
            if self.take(1) == 1 {
                if self.take(1) == 1 {
                    let leading = self.take(5) as u8;
                    let width = match self.take(6) as u8 {
                        0 => 64,
                        width => width,
                    };
                    (run.1, run.2) = (width, 64 - leading - width);
                }
                run.0 ^= self.take(run.1) << run.2;
            }
            f64::from_bits(run.0)
        }
    }

    fn decode(chunk: &[u8]) -> Vec<(i64, Histogram)> {
        let count = u16::from_be_bytes([chunk[0], chunk[1]]);
        let mut reader = Reader(BitReader::new(&chunk[3..]));
        let zero_threshold = match reader.take(8) {
            0 => 0.0,
            255 => f64::from_bits(reader.take(64)),
            exponent => 0.5 * 2f64.powi(exponent as i32 - 243),
        };
        let schema = reader.signed() as i8;
        let (positive, negative) = (reader.spans(), reader.spans());
        let mut custom_bounds = Vec::new();
        if schema == SCHEMA_CUSTOM {
            for _ in 0..reader.unsigned() {
                let bound = match reader.unsigned() {
                    0 => f64::from_bits(reader.take(64)),
                    thousandths => (thousandths - 1) as f64 / 1000.0,
                };
                custom_bounds.push(bound);
            }
        }
        let buckets = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
        let sizes = (buckets(&positive), buckets(&negative));
        let (mut time, mut step, mut all) = (reader.signed(), 0i64, Vec::new());
        let mut runs: Vec<(u64, u8, u8)> =
            (0..3 + sizes.0 + sizes.1).map(|_| (reader.take(64), 0, 0)).collect();
        for index in 0..count {
            let numbers: Vec<f64> = if index == 0 {
                runs.iter().map(|run| f64::from_bits(run.0)).collect()
            } else {
                step += reader.signed();
                time += step;
                runs.iter_mut().map(|run| reader.xor(run)).collect()
            };
            let reset_hint = match (chunk[2] >> 6, index) {
                (3, _) => ResetHint::Gauge,
                (_, 1..) => ResetHint::NotReset,
                (2, 0) => ResetHint::Reset,
                _ => ResetHint::Unknown,
            };
            all.push((
                time,
                Histogram {
                    schema,
                    zero_threshold,
                    custom_bounds: custom_bounds.clone(),
                    count: numbers[0],
                    zero_count: numbers[1],
                    sum: numbers[2],
                    positive: Buckets { spans: positive.clone(), counts: numbers[3..3 + sizes.0].to_vec() },
                    negative: Buckets { spans: negative.clone(), counts: numbers[3 + sizes.0..].to_vec() },
                    reset_hint,
                    integer: false,
                },
            ));
        }
        all
    }

    proptest! {
        #[test]
        fn chunks_come_back_and_are_cut_where_a_counter_began_anew(
            samples in prop::collection::vec(crate::histogram::tests::valid(), 1..40),
            repeat in 1usize..4,
        ) {
            let samples: Vec<(i64, Histogram)> = samples
                .iter()
                .flat_map(|histogram| std::iter::repeat_n(histogram, repeat))
                .enumerate()
                .map(|(n, histogram)| (n as i64 * 15_000 + (n * n % 7) as i64, histogram.clone()))
                .collect();
            let chunks = of_histograms(&samples, |new, old| new.count < old.count);
            let read: Vec<(i64, Histogram)> = chunks.iter().flat_map(|chunk| decode(&chunk.data)).collect();
            prop_assert_eq!(read.len(), samples.len());
            let mut before: Option<&Histogram> = None;
            for ((time, read), (written_at, written)) in read.iter().zip(&samples) {
                prop_assert_eq!(time, written_at);
                let hint = read.reset_hint;
                let gauge = written.reset_hint == ResetHint::Gauge;
                prop_assert_eq!(hint == ResetHint::Gauge, gauge);
                if hint == ResetHint::NotReset {
                    prop_assert!(before.is_some_and(|before| written.count >= before.count));
                }
                if written.is_stale() {
                    prop_assert!(read.is_stale());
                } else {
                    let same = Histogram { reset_hint: hint, integer: false, ..written.clone() };
                    prop_assert!(read.same(&same), "{:?}", written);
                }
                before = Some(written);
            }
        }
    }

    #[test]
    fn a_threshold_that_is_a_power_of_two_takes_a_byte() {
        let check = |threshold: f64, expected: &[u8]| {
            let mut bits = BitWriter::default();
            put_threshold(threshold, &mut bits);
            let mut bytes = Vec::new();
            bits.copy_to(&mut bytes);
            assert_eq!(bytes, expected, "{threshold}");
        };
        check(0.0, &[0]);
        // Prometheus' own example: the default, 2^-128, is 116.
        check(2f64.powi(-128), &[116]);
        check(2f64.powi(-243), &[1]);
        check(2f64.powi(10), &[254]);
        check(0.001, &[&[255][..], &0.001f64.to_be_bytes()].concat());
    }
}

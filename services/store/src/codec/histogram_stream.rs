//! Native histograms one after the other, as the log and the hot window hold them (FORMAT.md, "Histogram").
//!
//! A histogram whose layout is that of the one before does not repeat it. Whole counts are written as differences to the
//! bucket before, which are small; others as the 8 bytes of a float.

use super::CodecError;
use crate::histogram::{BUCKETS_MAX, Buckets, EXACT_MAX, Histogram, ResetHint, Span};
use crate::protobuf::{put_varint, unzigzag, varint, zigzag};

/// Flags: the two lowest bits are the reset hint.
const HINT: u8 = 0b11;
const INTEGER: u8 = 1 << 2;
/// The layout is that of the histogram before.
const SAME_LAYOUT: u8 = 1 << 3;
/// All counts are whole.
const WHOLE: u8 = 1 << 4;

/// What tells which buckets a histogram has; histograms of one series mostly share it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    schema: i8,
    zero_threshold: u64,
    positive: Vec<Span>,
    negative: Vec<Span>,
    custom_bounds: Vec<u64>,
}

impl Layout {
    /// The layout of a histogram.
    pub fn of(histogram: &Histogram) -> Layout {
        Layout {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold.to_bits(),
            positive: histogram.positive.spans.clone(),
            negative: histogram.negative.spans.clone(),
            custom_bounds: histogram.custom_bounds.iter().map(|bound| bound.to_bits()).collect(),
        }
    }

    /// Whether this is the histogram's layout, bit for bit.
    pub fn fits(&self, histogram: &Histogram) -> bool {
        self.schema == histogram.schema
            && self.zero_threshold == histogram.zero_threshold.to_bits()
            && self.positive == histogram.positive.spans
            && self.negative == histogram.negative.spans
            && self.custom_bounds.len() == histogram.custom_bounds.len()
            && self
                .custom_bounds
                .iter()
                .zip(&histogram.custom_bounds)
                .all(|(bits, bound)| *bits == bound.to_bits())
    }

    /// Buckets of both signs.
    pub fn buckets(&self) -> usize {
        let length = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
        length(&self.positive) + length(&self.negative)
    }

    /// A histogram of this layout with the counts of [`Layout::buckets`] buckets, positive ones first.
    pub fn histogram(&self, counts: &[f64]) -> Histogram {
        let positive = self.positive.iter().map(|span| span.length as usize).sum::<usize>().min(counts.len());
        let side =
            |spans: &[Span], counts: &[f64]| Buckets { spans: spans.to_vec(), counts: counts.to_vec() };
        Histogram {
            schema: self.schema,
            zero_threshold: f64::from_bits(self.zero_threshold),
            positive: side(&self.positive, &counts[..positive]),
            negative: side(&self.negative, &counts[positive..]),
            custom_bounds: self.custom_bounds.iter().copied().map(f64::from_bits).collect(),
            ..Histogram::default()
        }
    }

    /// Appends its bytes.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(self.schema.cast_unsigned());
        out.extend_from_slice(&self.zero_threshold.to_le_bytes());
        for spans in [&self.positive, &self.negative] {
            put_varint(spans.len() as u64, out);
            for span in spans {
                put_varint(zigzag(span.offset.into()), out);
                put_varint(span.length.into(), out);
            }
        }
        put_varint(self.custom_bounds.len() as u64, out);
        self.custom_bounds.iter().for_each(|bits| out.extend_from_slice(&bits.to_le_bytes()));
    }

    /// Takes a layout off the front of `bytes`.
    ///
    /// # Errors
    /// [`CodecError`] when it is none, or larger than a histogram may be.
    pub fn take(bytes: &mut &[u8]) -> Result<Layout, CodecError> {
        let schema = take_byte(bytes)?.cast_signed();
        let zero_threshold = take_word(bytes)?;
        let positive = take_spans(bytes)?;
        let negative = take_spans(bytes)?;
        let bounds = take_length(bytes)?;
        let custom_bounds = (0..bounds).map(|_| take_word(bytes)).collect::<Result<_, _>>()?;
        Ok(Layout { schema, zero_threshold, positive, negative, custom_bounds })
    }
}

/// Writes histograms, and knows the layout of the one before.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    layout: Option<Layout>,
}

impl Writer {
    /// Appends a histogram.
    pub fn put(&mut self, histogram: &Histogram, out: &mut Vec<u8>) {
        let counts = || {
            let buckets = histogram.positive.counts.iter().chain(&histogram.negative.counts);
            [histogram.count, histogram.zero_count].into_iter().chain(buckets.copied())
        };
        let whole = counts().all(|count| whole(count).is_some());
        let same = self.layout.as_ref().is_some_and(|layout| layout.fits(histogram));
        let flags = [(histogram.integer, INTEGER), (same, SAME_LAYOUT), (whole, WHOLE)];
        out.push(
            flags
                .iter()
                .fold(hint_bits(histogram.reset_hint), |all, (set, bit)| if *set { all | bit } else { all }),
        );
        if !same {
            let layout = Layout::of(histogram);
            layout.put(out);
            self.layout = Some(layout);
        }
        out.extend_from_slice(&histogram.sum.to_bits().to_le_bytes());
        let mut before = 0i64;
        for count in counts() {
            match whole_or(count, whole) {
                Some(number) => {
                    put_varint(zigzag(number - before), out);
                    before = number;
                }
                None => out.extend_from_slice(&count.to_bits().to_le_bytes()),
            }
        }
    }
}

/// Reads what [`Writer`] wrote.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    layout: Option<Layout>,
}

impl Reader {
    /// Takes a histogram off the front of `bytes`.
    ///
    /// # Errors
    /// [`CodecError`] when there is none.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Histogram, CodecError> {
        let flags = take_byte(bytes)?;
        if flags & !(HINT | INTEGER | SAME_LAYOUT | WHOLE) != 0 {
            return Err(CodecError::Tag(flags));
        }
        if flags & SAME_LAYOUT == 0 {
            self.layout = Some(Layout::take(bytes)?);
        }
        let layout = self.layout.as_ref().ok_or(CodecError::Range("histogram without a layout"))?;
        let sum = f64::from_bits(take_word(bytes)?);
        let mut before = 0i64;
        // The spans' lengths bound this: each count takes at least a byte, so it ends with the bytes.
        let mut counts = Vec::with_capacity((layout.buckets() + 2).min(bytes.len()));
        for _ in 0..layout.buckets() + 2 {
            counts.push(if flags & WHOLE == 0 {
                f64::from_bits(take_word(bytes)?)
            } else {
                before = before.wrapping_add(unzigzag(take_varint(bytes)?));
                before as f64
            });
        }
        Ok(Histogram {
            sum,
            count: counts[0],
            zero_count: counts[1],
            reset_hint: hint_of(flags),
            integer: flags & INTEGER != 0,
            ..layout.histogram(&counts[2..])
        })
    }
}

/// The whole number that a count is exactly; never a minus zero.
fn whole(count: f64) -> Option<i64> {
    let fits = count.fract() == 0.0
        && count.abs() <= EXACT_MAX as f64
        && (count as i64 as f64).to_bits() == count.to_bits();
    fits.then_some(count as i64)
}

fn whole_or(count: f64, all_whole: bool) -> Option<i64> {
    if all_whole { whole(count) } else { None }
}

/// The hint in two bits.
pub(super) fn hint_bits(hint: ResetHint) -> u8 {
    match hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    }
}

/// The hint in the two lowest bits.
pub(super) fn hint_of(bits: u8) -> ResetHint {
    [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge][usize::from(bits & HINT)]
}

fn take_spans(bytes: &mut &[u8]) -> Result<Vec<Span>, CodecError> {
    let (count, mut buckets) = (take_length(bytes)?, 0);
    let mut spans = Vec::with_capacity(count.min(bytes.len()));
    for _ in 0..count {
        let offset = i32::try_from(unzigzag(take_varint(bytes)?)).map_err(|_| CodecError::Range("span"))?;
        let length = take_length(bytes)?;
        buckets += length;
        if buckets > BUCKETS_MAX {
            return Err(CodecError::Range("number of buckets"));
        }
        spans.push(Span { offset, length: length as u32 });
    }
    Ok(spans)
}

/// A length that is at most [`BUCKETS_MAX`].
fn take_length(bytes: &mut &[u8]) -> Result<usize, CodecError> {
    let length = usize::try_from(take_varint(bytes)?).unwrap_or(usize::MAX);
    if length <= BUCKETS_MAX { Ok(length) } else { Err(CodecError::Range("number of buckets")) }
}

pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<u64, CodecError> {
    let (value, length) = varint(bytes).map_err(|_| CodecError::Short)?;
    *bytes = &bytes[length..];
    Ok(value)
}

pub(super) fn take_byte(bytes: &mut &[u8]) -> Result<u8, CodecError> {
    let (&byte, rest) = bytes.split_first().ok_or(CodecError::Short)?;
    *bytes = rest;
    Ok(byte)
}

fn take_word(bytes: &mut &[u8]) -> Result<u64, CodecError> {
    let (word, rest) = bytes.split_first_chunk::<8>().ok_or(CodecError::Short)?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::tests::valid;
    use crate::samples::STALE_NAN;
    use proptest::prelude::*;

    fn check(histograms: &[Histogram]) -> usize {
        let (mut writer, mut bytes) = (Writer::default(), Vec::new());
        histograms.iter().for_each(|histogram| writer.put(histogram, &mut bytes));
        let (mut reader, mut rest) = (Reader::default(), bytes.as_slice());
        for histogram in histograms {
            let back = reader.take(&mut rest).unwrap();
            assert!(back.same(histogram), "{back:?} of {histogram:?}");
        }
        assert!(rest.is_empty());
        bytes.len()
    }

    #[test]
    fn markers_and_odd_floats_come_back_bit_for_bit() {
        let odd = |sum, count| Histogram { sum, count, zero_count: -0.0, ..Histogram::default() };
        check(&[odd(f64::from_bits(STALE_NAN), 0.0), odd(f64::NAN, 0.1), odd(-0.0, f64::INFINITY)]);
        check(&[odd(1.0, EXACT_MAX as f64), odd(1.0, f64::from_bits(STALE_NAN))]);
    }

    #[test]
    fn a_layout_is_written_once() {
        let mut histogram = Histogram { integer: true, ..Histogram::default() };
        (0..40).for_each(|index| histogram.positive.push(index, 3.0));
        let (one, many) = (check(std::slice::from_ref(&histogram)), check(&vec![histogram; 11]));
        assert!((many - one) / 10 < 60, "{one} and {many} bytes");
    }

    proptest! {
        #[test]
        fn any_histograms_come_back(histograms in prop::collection::vec(valid(), 1..6), twice: bool, fraction: bool) {
            let mut all = histograms;
            if fraction {
                all.iter_mut().for_each(|histogram| histogram.count += 0.5);
            }
            if twice {
                all = all.into_iter().flat_map(|histogram| [histogram.clone(), histogram]).collect();
            }
            check(&all);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let (mut reader, mut rest) = (Reader::default(), bytes.as_slice());
            while !rest.is_empty() && reader.take(&mut rest).is_ok() {}
        }
    }
}

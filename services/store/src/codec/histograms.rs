//! The native histograms of a closed chunk: their one layout, then a column for each number (FORMAT.md, "Histogram chunk").
//!
//! A bucket's counts over time are a counter's values, so each column is coded as the values of a float series are:
//! constant, differences of whole numbers, XOR, or pco, whatever is smallest.

use super::histogram_stream::{Layout, hint_bits, hint_of, take_byte, take_varint};
use super::{CHUNK_SAMPLES_MAX, CodecError, Effort, checked_count, values};
use crate::histogram::{BUCKETS_MAX, Histogram};
use crate::protobuf::put_varint;

/// Numbers that one chunk holds at most, but for a chunk of one histogram: at 8 bytes each 2 MiB when it is decoded.
const CHUNK_NUMBERS_MAX: usize = 256 << 10;

/// Sum, count and zero count.
const SCALARS: usize = 3;

/// How many of these histograms, from the first, go into one chunk: those that share layout and kind.
pub fn run(histograms: &[(i64, Histogram)]) -> usize {
    let Some((_, first)) = histograms.first() else { return 0 };
    let layout = Layout::of(first);
    let most = (CHUNK_NUMBERS_MAX / (layout.buckets() + SCALARS)).clamp(1, CHUNK_SAMPLES_MAX);
    let alike =
        |(_, histogram): &&(i64, Histogram)| histogram.integer == first.integer && layout.fits(histogram);
    histograms.iter().take(most).take_while(alike).count()
}

/// Codes the histograms of one chunk, as [`run`] cut it.
pub fn encode(histograms: &[(i64, Histogram)], effort: Effort) -> Vec<u8> {
    let Some((_, first)) = histograms.first() else { return Vec::new() };
    let layout = Layout::of(first);
    let mut out = vec![u8::from(first.integer)];
    layout.put(&mut out);
    let hints: Vec<u8> = histograms.iter().map(|(_, histogram)| hint_bits(histogram.reset_hint)).collect();
    if hints.iter().all(|hint| *hint == hints[0]) {
        out.push(hints[0]);
    } else {
        out.push(HINT_EACH);
        out.extend(hints.chunks(4).map(|four| four.iter().rev().fold(0, |byte, hint| byte << 2 | hint)));
    }
    let mut column = Vec::with_capacity(histograms.len());
    for index in 0..layout.buckets() + SCALARS {
        column.clear();
        column.extend(histograms.iter().map(|(_, histogram)| number(histogram, index)));
        let coded = values::encode(&column, effort);
        put_varint(coded.len() as u64, &mut out);
        out.extend_from_slice(&coded);
    }
    out
}

/// In place of the hint that all share: each has its own, four to a byte, the first in the lowest bits.
const HINT_EACH: u8 = 4;

/// The number in column `index` of a histogram.
fn number(histogram: &Histogram, index: usize) -> f64 {
    match index {
        0 => histogram.sum,
        1 => histogram.count,
        2 => histogram.zero_count,
        _ => {
            let (index, positive) = (index - SCALARS, &histogram.positive.counts);
            let count = positive.get(index).or_else(|| histogram.negative.counts.get(index - positive.len()));
            count.copied().unwrap_or_default()
        }
    }
}

/// The `count` histograms that `bytes` hold, bit for bit.
///
/// # Errors
/// [`CodecError`] when they are not what [`encode`] makes.
pub fn decode(mut bytes: &[u8], count: usize) -> Result<Vec<Histogram>, CodecError> {
    let count = checked_count(count)?;
    let integer = match take_byte(&mut bytes)? {
        kind @ 0..=1 => kind == 1,
        other => return Err(CodecError::Tag(other)),
    };
    let layout = Layout::take(&mut bytes)?;
    let columns = layout.buckets() + SCALARS;
    if count > 1 && columns * count > CHUNK_NUMBERS_MAX || columns > 2 * BUCKETS_MAX + SCALARS {
        return Err(CodecError::Range("number of histograms"));
    }
    let shared = take_byte(&mut bytes)?;
    let hints = if shared == HINT_EACH {
        let (hints, rest) = bytes.split_at_checked(count.div_ceil(4)).ok_or(CodecError::Short)?;
        bytes = rest;
        hints
    } else {
        &[]
    };
    if shared > HINT_EACH {
        return Err(CodecError::Tag(shared));
    }
    // Row by row, so that a histogram's counts stand together.
    let mut numbers = vec![0.0; columns * count];
    for index in 0..columns {
        let length = usize::try_from(take_varint(&mut bytes)?).map_err(|_| CodecError::Short)?;
        let (coded, rest) = bytes.split_at_checked(length).ok_or(CodecError::Short)?;
        bytes = rest;
        for (row, value) in values::decode(coded, count)?.into_iter().enumerate() {
            numbers[row * columns + index] = value;
        }
    }
    let histogram = |(row, numbers): (usize, &[f64])| {
        let bits = hints.get(row / 4).map_or(shared, |byte| byte >> (2 * (row % 4)));
        Histogram {
            sum: numbers[0],
            count: numbers[1],
            zero_count: numbers[2],
            reset_hint: hint_of(bits),
            integer,
            ..layout.histogram(&numbers[SCALARS..])
        }
    };
    Ok(numbers.chunks_exact(columns).enumerate().map(histogram).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::tests::valid;
    use proptest::prelude::*;

    fn check(histograms: &[(i64, Histogram)]) -> usize {
        let (mut rest, mut bytes) = (histograms, 0);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(run(rest));
            for effort in [Effort::Quick, Effort::Thorough] {
                let coded = encode(chunk, effort);
                let back = decode(&coded, chunk.len()).unwrap();
                assert!(back.iter().zip(chunk).all(|(back, (_, histogram))| back.same(histogram)));
                assert_eq!(back.len(), chunk.len());
                bytes += if effort == Effort::Quick { coded.len() } else { 0 };
            }
            rest = after;
        }
        bytes
    }

    #[test]
    fn a_histogram_of_steady_load_costs_few_bytes() {
        let at = |time: i64| {
            let mut histogram = Histogram { schema: 3, integer: true, ..Histogram::default() };
            for index in 0..60 {
                let count = (time * i64::from(index % 7)) as f64;
                histogram.positive.push(index, count);
                histogram.count += count;
            }
            histogram.sum = histogram.count / 4.0;
            (time, histogram)
        };
        let histograms: Vec<_> = (0..240).map(at).collect();
        let bytes = check(&histograms);
        assert!(bytes / 240 < 6, "{bytes} bytes for 240 histograms of 60 buckets");
    }

    #[test]
    fn another_layout_begins_another_chunk() {
        let with = |buckets: i32, integer| {
            let mut histogram = Histogram { integer, ..Histogram::default() };
            (0..buckets).for_each(|index| histogram.positive.push(index, 1.0));
            (i64::from(buckets), histogram)
        };
        assert_eq!(run(&[]), 0);
        assert_eq!(run(&[with(1, true), with(1, true), with(2, true), with(2, true)]), 2);
        assert_eq!(run(&[with(1, true), with(1, false)]), 1);
        let wide: Vec<_> = (0..100).map(|_| with(8000, true)).collect();
        assert_eq!(run(&wide), CHUNK_NUMBERS_MAX / 8003);
    }

    proptest! {
        #[test]
        fn any_histograms_come_back(
            histograms in prop::collection::vec(valid(), 1..4), times in 1usize..9, hints: bool,
        ) {
            let many = histograms.iter().flat_map(|histogram| (0..times).map(move |n| {
                let mut histogram = histogram.clone();
                histogram.sum += n as f64;
                if hints && n % 2 == 1 {
                    histogram.reset_hint = crate::histogram::ResetHint::Gauge;
                }
                (n as i64, histogram)
            }));
            check(&many.collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, count in 0usize..200) {
            let _ = decode(&bytes, count);
        }

        #[test]
        fn no_change_of_a_byte_makes_the_decoder_panic(histogram in valid(), at: prop::sample::Index, with: u8) {
            let mut bytes = encode(&[(0, histogram.clone()), (1, histogram)], Effort::Quick);
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = decode(&bytes, 2);
        }
    }
}

//! The hot codec: samples appended one at a time, after Facebook's Gorilla (Pelkonen et al., VLDB 2015).
//!
//! Times as delta of deltas in milliseconds (1, 16, 20, 24 or 68 bits), values as XOR with the one
//! before. A regular series that does not change costs 2 bits a sample. Times must ascend strictly.

use super::CodecError;
use super::bits::{BitReader, BitWriter};
use crate::protobuf::{unzigzag, zigzag};

/// No XOR window yet.
const NO_WINDOW: u8 = 0xff;

/// Widths of the delta-of-delta classes after their prefix of 1, 2, 3 and 4 one-bits.
const CLASSES: [u8; 4] = [14, 17, 20, 64];

/// A chunk under construction.
#[derive(Clone, Debug, Default)]
pub struct HotChunk {
    bits: BitWriter,
    count: u32,
    last_time: i64,
    last_delta: i64,
    xor: Xor,
}

impl HotChunk {
    /// Appends a sample. `time` must be greater than [`HotChunk::last_time`].
    #[inline]
    pub fn append(&mut self, time: i64, value: f64) {
        if self.count == 0 {
            self.bits.put(time.cast_unsigned(), 64);
        } else {
            let delta = time.wrapping_sub(self.last_time);
            put_class(zigzag(delta.wrapping_sub(self.last_delta)), &mut self.bits);
            self.last_delta = delta;
        }
        self.xor.put(value.to_bits(), &mut self.bits);
        self.last_time = time;
        self.count += 1;
    }

    /// Samples in it.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The newest sample's time, or `None` when it is empty.
    pub fn last_time(&self) -> Option<i64> {
        (self.count > 0).then_some(self.last_time)
    }

    /// Bytes of memory that the coded samples take.
    pub fn memory(&self) -> usize {
        self.bits.capacity()
    }

    /// Appends all samples to `times` and `values`.
    ///
    /// # Errors
    /// None for a chunk that [`HotChunk::append`] made; the type is that of the bit reader.
    pub fn decode(&self, times: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(self.bits.len());
        self.bits.copy_to(&mut bytes);
        let mut bits = BitReader::new(&bytes);
        let (mut time, mut delta, mut xor) = (0i64, 0i64, Xor::default());
        for index in 0..self.count {
            if index == 0 {
                time = bits.get(64).ok_or(CodecError::Short)?.cast_signed();
            } else {
                delta = delta.wrapping_add(unzigzag(get_class(&mut bits)?));
                time = time.wrapping_add(delta);
            }
            times.push(time);
            values.push(f64::from_bits(xor.get(&mut bits)?));
        }
        Ok(())
    }
}

#[inline]
fn put_class(number: u64, bits: &mut BitWriter) {
    if number == 0 {
        return bits.put(0, 1);
    }
    match CLASSES.iter().position(|&width| number >> (width - 1) <= 1) {
        Some(3) | None => {
            bits.put(0b1111, 4);
            bits.put(number, 64);
        }
        Some(class) => {
            // `class` + 1 ones and a zero, then the number.
            bits.put((2 << (class + 1)) - 2, class as u8 + 2);
            bits.put(number, CLASSES[class]);
        }
    }
}

#[inline]
fn get_class(bits: &mut BitReader<'_>) -> Result<u64, CodecError> {
    let mut ones = 0;
    while ones < 4 && bits.get(1).ok_or(CodecError::Short)? == 1 {
        ones += 1;
    }
    if ones == 0 {
        return Ok(0);
    }
    bits.get(CLASSES[ones - 1]).ok_or(CodecError::Short)
}

/// The value half: XOR with the value before, within a window of significant bits that is kept while
/// it fits.
#[derive(Clone, Debug)]
pub(super) struct Xor {
    last: u64,
    leading: u8,
    trailing: u8,
    started: bool,
}

impl Default for Xor {
    fn default() -> Xor {
        Xor { last: 0, leading: NO_WINDOW, trailing: 0, started: false }
    }
}

impl Xor {
    #[inline]
    pub(super) fn put(&mut self, value: u64, bits: &mut BitWriter) {
        if !self.started {
            (self.started, self.last) = (true, value);
            return bits.put(value, 64);
        }
        let xor = self.last ^ value;
        self.last = value;
        if xor == 0 {
            return bits.put(0, 1);
        }
        // 5 bits hold the leading zeros.
        let (leading, trailing) = (xor.leading_zeros().min(31) as u8, xor.trailing_zeros() as u8);
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            bits.put(0b10, 2);
            bits.put(xor >> self.trailing, 64 - self.leading - self.trailing);
            return;
        }
        (self.leading, self.trailing) = (leading, trailing);
        let width = 64 - leading - trailing;
        bits.put(0b11, 2);
        bits.put(leading.into(), 5);
        bits.put(u64::from(width - 1), 6);
        bits.put(xor >> trailing, width);
    }

    #[inline]
    pub(super) fn get(&mut self, bits: &mut BitReader<'_>) -> Result<u64, CodecError> {
        let mut take = |count| bits.get(count).ok_or(CodecError::Short);
        if !self.started {
            self.started = true;
            self.last = take(64)?;
            return Ok(self.last);
        }
        if take(1)? == 0 {
            return Ok(self.last);
        }
        if take(1)? == 1 {
            self.leading = take(5)? as u8;
            let width = take(6)? as u8 + 1;
            self.trailing = 64u8.checked_sub(self.leading + width).ok_or(CodecError::Range("XOR window"))?;
        } else if self.leading == NO_WINDOW {
            return Err(CodecError::Range("XOR window"));
        }
        self.last ^= take(64 - self.leading - self.trailing)? << self.trailing;
        Ok(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(samples: &[(i64, u64)]) -> usize {
        let mut chunk = HotChunk::default();
        for &(time, bits) in samples {
            chunk.append(time, f64::from_bits(bits));
        }
        let (mut times, mut values) = (Vec::new(), Vec::new());
        chunk.decode(&mut times, &mut values).unwrap();
        let back: Vec<_> = times.into_iter().zip(values.into_iter().map(f64::to_bits)).collect();
        assert_eq!(back, samples);
        chunk.bits.len()
    }

    #[test]
    fn a_steady_series_costs_two_bits_a_sample() {
        let samples: Vec<_> = (0..1000).map(|n| (1_700_000_000_000 + n * 5000, 7f64.to_bits())).collect();
        assert!(check(&samples) < 16 + 1000 * 2 / 8 + 8);
    }

    #[test]
    fn every_class_of_deltas_and_every_nan_comes_back() {
        let steps = [1, 1, 8000, 1, 60_000, 1, 500_000, 1, 1 << 40, i64::MAX / 2];
        let mut time = -5;
        let samples: Vec<_> = steps
            .iter()
            .zip([0x7ff0000000000002u64, 0x7ff8000000000001, 0, 1 << 63, u64::MAX, 1, 2, 3, 4, 5])
            .map(|(step, bits)| {
                time += step;
                (time, bits)
            })
            .collect();
        check(&samples);
    }

    proptest! {
        #[test]
        fn any_ascending_samples_come_back(
            steps in prop::collection::vec((prop_oneof![1i64..20_000, 1i64..1 << 45], any::<u64>()), 1..200),
            start in -(1i64 << 45)..1 << 45,
        ) {
            let mut time = start;
            let samples: Vec<_> = steps.into_iter().map(|(step, bits)| { time += step; (time, bits) }).collect();
            check(&samples);
        }
    }
}

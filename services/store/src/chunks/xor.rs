//! A chunk of floats: the number of samples (2 bytes, big endian), then bits. Times as differences of differences,
//! values by XOR.

use super::bits::{Xor, fits, put};
use crate::codec::bits::BitWriter;
use crate::protobuf::{put_varint, zigzag};

/// The chunk's bytes; at least one sample, and at most 65,535.
pub(super) fn encode(times: &[i64], values: &[f64]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    let mut bytes = Vec::with_capacity(10);
    let mut put_bytes = |number: u64, bits: &mut BitWriter| {
        bytes.clear();
        put_varint(number, &mut bytes);
        bytes.iter().for_each(|byte| bits.put((*byte).into(), 8));
    };
    put_bytes(zigzag(times[0]), &mut bits);
    bits.put(values[0].to_bits(), 64);
    let (mut xor, mut step) = (Xor::after(values[0]), 0i64);
    for index in 1..times.len() {
        let next = times[index].wrapping_sub(times[index - 1]);
        if index == 1 {
            put_bytes(next.cast_unsigned(), &mut bits);
        } else {
            put_change(next.wrapping_sub(step), &mut bits);
        }
        step = next;
        xor.put(values[index], &mut bits);
    }
    let mut out = (times.len() as u16).to_be_bytes().to_vec();
    bits.copy_to(&mut out);
    out
}

fn put_change(change: i64, bits: &mut BitWriter) {
    let (mark, marked, width) = match change {
        0 => return bits.put(0, 1),
        _ if fits(change, 14) => (0b10, 2, 14),
        _ if fits(change, 17) => (0b110, 3, 17),
        _ if fits(change, 20) => (0b1110, 4, 20),
        _ => (0b1111, 4, 64),
    };
    bits.put(mark, marked);
    put(change.cast_unsigned(), width, bits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bits::BitReader;
    use proptest::prelude::*;

    /// Reads a chunk by the format's own rules.
    fn decode(chunk: &[u8]) -> Vec<(i64, u64)> {
        let count = u16::from_be_bytes([chunk[0], chunk[1]]);
        let mut bits = BitReader::new(&chunk[2..]);
        let mut take = |count: u8| bits.get(count).unwrap();
        fn varint(take: &mut impl FnMut(u8) -> u64) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = take(8);
                value |= (byte & 0x7f) << shift;
                if byte < 0x80 {
                    return value;
                }
                shift += 7;
            }
        }
        let mut time = crate::protobuf::unzigzag(varint(&mut take));
        let mut value = take(64);
        let (mut step, mut window) = (0i64, (0, 0));
        let mut all = vec![(time, value)];
        for index in 1..count {
            if index == 1 {
                step = varint(&mut take).cast_signed();
            } else {
                let mut ones = 0;
                while ones < 4 && take(1) == 1 {
                    ones += 1;
                }
                let width = [0, 14, 17, 20, 64][ones];
                let read = take(width);
                // As Prometheus reads it: what is above the half is below zero.
                let half = if width == 64 || width == 0 { u64::MAX } else { 1 << (width - 1) };
                let change = if read > half { read.wrapping_sub(1 << width) } else { read };
                step = step.wrapping_add(change.cast_signed());
            }
            time = time.wrapping_add(step);
            if take(1) == 1 {
                if take(1) == 1 {
                    let leading = take(5) as u8;
                    let width = match take(6) as u8 {
                        0 => 64,
                        width => width,
                    };
                    window = (width, 64 - leading - width);
                }
                value ^= take(window.0) << window.1;
            }
            all.push((time, value));
        }
        all
    }

    #[test]
    fn the_first_samples_are_written_as_prometheus_writes_them() {
        // Count, time 1,000 as a zigzag varint, 1.0, step 15,000 as a varint, then one zero bit each for step and value.
        let expected = [&[0, 3, 0xd0, 0x0f][..], &1f64.to_be_bytes(), &[0x98, 0x75], &[0]].concat();
        assert_eq!(encode(&[1_000, 16_000, 31_000], &[1.0; 3]), expected);
    }

    proptest! {
        #[test]
        fn chunks_come_back(
            start in -1_000_000_000_000i64..2_000_000_000_000,
            steps in prop::collection::vec(prop_oneof![Just(15_000i64), 1i64..20_000, 1i64..1_000_000_000_000], 0..119),
            seed in prop::collection::vec(prop_oneof![any::<u64>(), Just(0x7ff0000000000002), (0u32..9).prop_map(|n| f64::from(n).to_bits())], 120),
        ) {
            let times: Vec<i64> = std::iter::once(start).chain(steps.iter().scan(start, |time, step| {
                *time += step;
                Some(*time)
            })).collect();
            let values: Vec<f64> = times.iter().zip(&seed).map(|(_, bits)| f64::from_bits(*bits)).collect();
            let expected: Vec<_> = times.iter().copied().zip(seed).collect();
            prop_assert_eq!(decode(&encode(&times, &values)), expected);
        }
    }
}

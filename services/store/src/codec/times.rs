//! The times of a closed chunk.
//!
//! Bytes: a tag, then 0: zigzag varints of the first time and the step of a perfectly regular series;
//! 1: packed integers; 2: pco.

use super::{CodecError, Effort, checked_count, ints, pco_bytes, pco_numbers};
use crate::protobuf::{put_varint, unzigzag, varint, zigzag};

const REGULAR: u8 = 0;
const PACKED: u8 = 1;
const PCO: u8 = 2;

/// Codes the times of one chunk: at least one, at most [`super::CHUNK_SAMPLES_MAX`], ascending.
pub fn encode(times: &[i64], effort: Effort) -> Vec<u8> {
    let first = times.first().copied().unwrap_or(0);
    let step = times.get(1).map_or(0, |second| second.wrapping_sub(first));
    if times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step) {
        let mut out = vec![REGULAR];
        put_varint(zigzag(first), &mut out);
        put_varint(zigzag(step), &mut out);
        return out;
    }
    let packed = ints::encode(times);
    let (tag, coded) = match pco_bytes(times, effort) {
        Some(pco) if pco.len() < packed.len() => (PCO, pco),
        _ => (PACKED, packed),
    };
    let mut out = vec![tag];
    out.extend_from_slice(&coded);
    out
}

/// The `count` times that `bytes` hold.
///
/// # Errors
/// [`CodecError`] when they are not what [`encode`] makes.
pub fn decode(bytes: &[u8], count: usize) -> Result<Vec<i64>, CodecError> {
    let count = checked_count(count)?;
    let (&tag, rest) = bytes.split_first().ok_or(CodecError::Short)?;
    match tag {
        REGULAR => {
            let (first, length) = varint(rest).map_err(|_| CodecError::Short)?;
            let (step, _) = varint(&rest[length..]).map_err(|_| CodecError::Short)?;
            let (first, step) = (unzigzag(first), unzigzag(step));
            Ok((0..count as i64).map(|n| first.wrapping_add(step.wrapping_mul(n))).collect())
        }
        PACKED => ints::decode(rest, count),
        PCO => pco_numbers(rest, count),
        other => Err(CodecError::Tag(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ascending_times_come_back(steps in prop::collection::vec(prop_oneof![Just(5000i64), 4990i64..5010, 1i64..1 << 40], 1..300), start: i32) {
            let mut time = i64::from(start);
            let times: Vec<i64> = steps.into_iter().map(|step| { time += step; time }).collect();
            for effort in [Effort::Quick, Effort::Thorough] {
                prop_assert_eq!(&decode(&encode(&times, effort), times.len()).unwrap(), &times);
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, count in 0usize..200) {
            let _ = decode(&bytes, count);
        }
    }
}

//! Integers as they are, as deltas or as deltas of deltas: the smallest value and a fixed width above it.
//!
//! Bytes: order (0, 1 or 2), then `order` zigzag varints (the first number, the first delta), the
//! smallest of what follows as a zigzag varint, the width in bits, and the rest at that width.

use super::CodecError;
use super::bits::{BitReader, BitWriter};
use crate::protobuf::{put_varint, unzigzag, varint, zigzag};

/// Codes at least one number; always possible.
pub fn encode(numbers: &[i64]) -> Vec<u8> {
    let mut best = pack(numbers.to_vec(), Vec::new(), 0);
    let (mut rest, mut heads) = (numbers.to_vec(), Vec::new());
    for order in 1..=2u8.min(numbers.len().saturating_sub(1) as u8) {
        heads.push(rest[0]);
        rest = rest.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        let packed = pack(rest.clone(), heads.clone(), order);
        if packed.len() < best.len() {
            best = packed;
        }
    }
    best
}

fn pack(rest: Vec<i64>, heads: Vec<i64>, order: u8) -> Vec<u8> {
    let low = rest.iter().copied().min().unwrap_or(0);
    let widest = rest.iter().map(|n| n.wrapping_sub(low).cast_unsigned()).max().unwrap_or(0);
    let width = (64 - widest.leading_zeros()) as u8;
    let mut out = vec![order];
    for head in heads.into_iter().chain([low]) {
        put_varint(zigzag(head), &mut out);
    }
    out.push(width);
    let mut bits = BitWriter::default();
    for number in rest {
        bits.put(number.wrapping_sub(low).cast_unsigned(), width);
    }
    bits.copy_to(&mut out);
    out
}

/// The `count` numbers that `bytes` hold.
///
/// # Errors
/// [`CodecError`] when they are not what [`encode`] makes.
pub fn decode(bytes: &[u8], count: usize) -> Result<Vec<i64>, CodecError> {
    let (&order, mut rest) = bytes.split_first().ok_or(CodecError::Short)?;
    if order > 2 || usize::from(order) > count {
        return Err(CodecError::Range("order"));
    }
    let mut next = || -> Result<i64, CodecError> {
        let (value, length) = varint(rest).map_err(|_| CodecError::Short)?;
        rest = &rest[length..];
        Ok(unzigzag(value))
    };
    let heads = (0..order).map(|_| next()).collect::<Result<Vec<_>, _>>()?;
    let low = next()?;
    let (&width, packed) = rest.split_first().ok_or(CodecError::Short)?;
    if width > 64 {
        return Err(CodecError::Range("width"));
    }
    let mut bits = BitReader::new(packed);
    let mut numbers = Vec::with_capacity(count);
    for _ in usize::from(order)..count {
        let above = bits.get(width).ok_or(CodecError::Short)?;
        numbers.push(low.wrapping_add(above.cast_signed()));
    }
    for head in heads.into_iter().rev() {
        let mut sum = head;
        numbers.insert(0, head);
        for number in &mut numbers[1..] {
            sum = sum.wrapping_add(*number);
            *number = sum;
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_counter_that_grows_evenly_needs_no_bits() {
        let numbers: Vec<i64> = (0..1000).map(|n| 1_000_000 + n * 37).collect();
        let bytes = encode(&numbers);
        assert!(bytes.len() < 10, "{}", bytes.len());
        assert_eq!(decode(&bytes, 1000).unwrap(), numbers);
    }

    proptest! {
        #[test]
        fn any_numbers_come_back(numbers in prop::collection::vec(prop_oneof![any::<i64>(), -100i64..100], 1..100)) {
            prop_assert_eq!(decode(&encode(&numbers), numbers.len()).unwrap(), numbers);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, count in 0usize..200) {
            let _ = decode(&bytes, count);
        }
    }
}

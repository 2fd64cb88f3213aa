//! The aggregates of a closed chunk of a tier: five columns, each coded as the values of a float series are.

use super::histogram_stream::take_varint;
use super::{CodecError, Effort, checked_count, values};
use crate::protobuf::put_varint;
use crate::tiers::Aggregate;

/// Codes the aggregates of one chunk; their times are coded apart.
pub fn encode(aggregates: &[Aggregate], effort: Effort) -> Vec<u8> {
    let mut out = Vec::new();
    for column in 0..5 {
        let numbers: Vec<f64> = aggregates.iter().map(|aggregate| aggregate.numbers[column]).collect();
        let coded = values::encode(&numbers, effort);
        put_varint(coded.len() as u64, &mut out);
        out.extend_from_slice(&coded);
    }
    out
}

/// The aggregates that `bytes` hold, one for each time.
///
/// # Errors
/// [`CodecError`] when they are not what [`encode`] makes.
pub fn decode(mut bytes: &[u8], times: &[i64]) -> Result<Vec<Aggregate>, CodecError> {
    let count = checked_count(times.len())?;
    let mut aggregates: Vec<Aggregate> =
        times.iter().map(|time| Aggregate { time: *time, numbers: [0.0; 5] }).collect();
    for column in 0..5 {
        let length = usize::try_from(take_varint(&mut bytes)?).map_err(|_| CodecError::Short)?;
        let (coded, rest) = bytes.split_at_checked(length).ok_or(CodecError::Short)?;
        bytes = rest;
        for (aggregate, number) in aggregates.iter_mut().zip(values::decode(coded, count)?) {
            aggregate.numbers[column] = number;
        }
    }
    Ok(aggregates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_aggregates_come_back(numbers in prop::collection::vec(prop::array::uniform5(any::<u64>()), 1..100)) {
            let times: Vec<i64> = (0..numbers.len() as i64).collect();
            let aggregate = |(time, bits): (usize, &[u64; 5])| Aggregate { time: time as i64, numbers: bits.map(f64::from_bits) };
            let aggregates: Vec<_> = numbers.iter().enumerate().map(aggregate).collect();
            for effort in [Effort::Quick, Effort::Thorough] {
                let back = decode(&encode(&aggregates, effort), &times).unwrap();
                prop_assert_eq!(back.iter().map(|a| a.numbers.map(f64::to_bits)).collect::<Vec<_>>(), numbers.clone());
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, count in 0i64..200) {
            let _ = decode(&bytes, &(0..count).collect::<Vec<_>>());
        }
    }
}

//! The codecs of chunks: by the first byte values, times, histograms or aggregates; the second is their number.
#![no_main]

use vakt_store::codec::{CHUNK_SAMPLES_MAX, Effort, aggregates, histograms, times, values};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [first, second, third, bytes @ ..] = data else { return };
    let count = usize::from(u16::from_le_bytes([*second, *third])) % (CHUNK_SAMPLES_MAX + 2);
    match first % 4 {
        0 => {
            if let Ok(read) = values::decode(bytes, count) {
                let again = values::decode(&values::encode(&read, Effort::Quick), count).expect("own bytes");
                assert!(read.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
        1 => {
            if let Ok(read) = times::decode(bytes, count) {
                let again = times::decode(&times::encode(&read, Effort::Quick), count).expect("own bytes");
                assert_eq!(read, again);
            }
        }
        2 => {
            if let Ok(read) = histograms::decode(bytes, count) {
                assert_eq!(read.len(), count);
            }
        }
        _ => {
            let ends: Vec<i64> = (0..count as i64).map(|n| n * 60_000).collect();
            if let Ok(read) = aggregates::decode(bytes, &ends) {
                assert_eq!(read.len(), count);
            }
        }
    }
});

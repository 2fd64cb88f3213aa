//! Several requests as one: protobuf's repeated fields may stand one after the other, so the unpacked bodies do.

use crate::queue::Record;

/// Samples of a request that is put together; Prometheus itself sends 2,000, receivers take 10,000.
pub const SAMPLES_MAX: u64 = 5_000;

/// Packed bytes that are put together; what they unpack to stays far below what receivers take.
pub const BYTES_MAX: u64 = 256 << 10;

/// Whether so many samples and packed bytes are enough for one request.
pub fn is_enough(samples: u64, bytes: u64) -> bool {
    samples >= SAMPLES_MAX || bytes >= BYTES_MAX
}

/// One body with all that the records have, in their order; a single one stays as it is.
///
/// # Errors
/// When a body is not what snappy packs, which store has seen to.
pub fn join(records: &[Record]) -> Result<Vec<u8>, snap::Error> {
    if let [one] = records {
        return Ok(one.body.clone());
    }
    let mut all = Vec::new();
    for record in records {
        all.extend_from_slice(&snap::raw::Decoder::new().decompress_vec(&record.body)?);
    }
    snap::raw::Encoder::new().compress_vec(&all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vakt_wire::remote_write::{TimeSeries, encode};

    #[test]
    fn joined_requests_are_what_one_request_with_all_series_is() {
        let series = |name: &str, time_ms: i64| TimeSeries {
            labels: vec![("__name__".into(), name.into())],
            samples: vec![(1.5, time_ms)],
        };
        let (one, other) = (series("a", 1), series("b", 2));
        let record = |series: &TimeSeries| Record {
            samples: 1,
            time_ms: 0,
            body: encode(std::slice::from_ref(series)).unwrap(),
        };
        let joined = join(&[record(&one), record(&other)]).unwrap();
        let unpack = |body: &[u8]| snap::raw::Decoder::new().decompress_vec(body).unwrap();
        assert_eq!(unpack(&joined), unpack(&encode(&[one, other]).unwrap()));
    }
}

//! Prometheus remote-write 1.0, the sending half: samples to a snappy-compressed protobuf body.
//!
//! The format is prometheus/prompb `remote.proto` and `types.proto`; the body goes with
//! `Content-Encoding: snappy`, `Content-Type: application/x-protobuf` and
//! `X-Prometheus-Remote-Write-Version: 0.1.0`.

/// One series with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSeries {
    /// Label names and values, `__name__` included; [`encode`] sends them sorted by name.
    pub labels: Vec<(String, String)>,
    /// (value, milliseconds since the epoch), oldest first.
    pub samples: Vec<(f64, i64)>,
}

/// The request body for these series.
///
/// # Errors
/// When the encoded request would exceed snappy's 4 GiB block, which no bounded batch does.
pub fn encode(series: &[TimeSeries]) -> Result<Vec<u8>, snap::Error> {
    let mut request = Vec::with_capacity(series.len() * 128);
    let mut one = Vec::with_capacity(512);
    for series in series {
        one.clear();
        time_series(series, &mut one);
        field(1, &one, &mut request);
    }
    snap::raw::Encoder::new().compress_vec(&request)
}

fn time_series(series: &TimeSeries, out: &mut Vec<u8>) {
    let mut labels: Vec<_> = series.labels.iter().collect();
    labels.sort();
    let mut inner = Vec::with_capacity(64);
    for (name, value) in labels {
        inner.clear();
        field(1, name.as_bytes(), &mut inner);
        field(2, value.as_bytes(), &mut inner);
        field(1, &inner, out);
    }
    for (value, timestamp_ms) in &series.samples {
        inner.clear();
        inner.push(1 << 3 | 1); // field 1, fixed64
        inner.extend_from_slice(&value.to_le_bytes());
        inner.push(2 << 3); // field 2, varint
        varint(timestamp_ms.cast_unsigned(), &mut inner);
        field(2, &inner, out);
    }
}

/// A length-delimited field.
fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Protobuf's variable-length number: seven bits a byte, the lowest first; at most ten bytes.
pub fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_encoded_as_prompb_says() {
        let series = TimeSeries {
            labels: vec![("job".into(), "x".into()), ("__name__".into(), "up".into())],
            samples: vec![(1.0, 1000)],
        };
        let raw = snap::raw::Decoder::new().decompress_vec(&encode(&[series]).unwrap()).unwrap();
        let expected = b"\x0a\x27\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01x\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xe8\x07";
        assert_eq!(raw[..2], [0x0a, raw.len() as u8 - 2]);
        assert_eq!(raw[2..], expected[2..]);
    }
}

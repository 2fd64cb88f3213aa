//! A request as it goes on to others: remote-write 1.0, whatever form it came in. Exemplars and descriptions stay here.

use super::WriteRequest;
use crate::histogram::{Buckets, Histogram, ResetHint};
use crate::protobuf::{ProtobufError, put_varint, zigzag};

/// The packed body.
///
/// # Errors
/// [`ProtobufError`] when a series' labels are broken: such a series is not stored either.
pub fn encode(request: &WriteRequest) -> Result<Vec<u8>, ProtobufError> {
    encode_part(request, |_| true, |_| true)
}

/// The packed body of the series, by their index, and the times that are wanted.
///
/// # Errors
/// As [`encode`], for series that are wanted.
pub fn encode_part(
    request: &WriteRequest,
    series_wanted: impl Fn(usize) -> bool,
    time_wanted: impl Fn(i64) -> bool,
) -> Result<Vec<u8>, ProtobufError> {
    let (mut all, mut series, mut inner) = (Vec::new(), Vec::new(), Vec::new());
    for (_, frame) in request.frames.iter().enumerate().filter(|(index, _)| series_wanted(*index)) {
        series.clear();
        for (name, value) in request.labels(frame)? {
            inner.clear();
            bytes(1, name, &mut inner);
            bytes(2, value, &mut inner);
            bytes(1, &inner, &mut series);
        }
        let labels_end = series.len();
        let samples = &request.samples[frame.samples.clone()];
        for (time, value) in samples.iter().filter(|(time, _)| time_wanted(*time)) {
            inner.clear();
            fixed(1, *value, &mut inner);
            number(2, time.cast_unsigned(), &mut inner);
            bytes(2, &inner, &mut series);
        }
        let histograms = &request.histograms[frame.histograms.clone()];
        for (time, value) in histograms.iter().filter(|(time, _)| time_wanted(*time)) {
            inner.clear();
            histogram(*time, value, &mut inner);
            bytes(4, &inner, &mut series);
        }
        if series.len() > labels_end {
            bytes(1, &series, &mut all);
        }
    }
    // Fails past 4 GiB alone; a request has 32 MiB of labels and 3 million samples.
    Ok(snap::raw::Encoder::new().compress_vec(&all).unwrap_or_default())
}

fn histogram(time: i64, histogram: &Histogram, out: &mut Vec<u8>) {
    if histogram.integer {
        number(1, histogram.count as u64, out);
    } else {
        fixed(2, histogram.count, out);
    }
    fixed(3, histogram.sum, out);
    number(4, zigzag(histogram.schema.into()), out);
    fixed(5, histogram.zero_threshold, out);
    if histogram.integer {
        number(6, histogram.zero_count as u64, out);
    } else {
        fixed(7, histogram.zero_count, out);
    }
    side(8, &histogram.negative, histogram.integer, out);
    side(11, &histogram.positive, histogram.integer, out);
    let hint = match histogram.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    number(14, hint, out);
    number(15, time.cast_unsigned(), out);
    packed_floats(16, &histogram.custom_bounds, out);
}

/// Spans are field `first`, differences of counts the next one, absolute counts the one after.
fn side(first: u64, buckets: &Buckets, integer: bool, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    for span in &buckets.spans {
        inner.clear();
        number(1, zigzag(span.offset.into()), &mut inner);
        number(2, span.length.into(), &mut inner);
        bytes(first, &inner, out);
    }
    if !integer {
        return packed_floats(first + 2, &buckets.counts, out);
    }
    inner.clear();
    let mut before = 0;
    for count in &buckets.counts {
        let count = *count as i64;
        put_varint(zigzag(count - before), &mut inner);
        before = count;
    }
    if !inner.is_empty() {
        bytes(first + 1, &inner, out);
    }
}

fn packed_floats(field: u64, values: &[f64], out: &mut Vec<u8>) {
    let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    if !packed.is_empty() {
        bytes(field, &packed, out);
    }
}

fn bytes(field: u64, content: &[u8], out: &mut Vec<u8>) {
    put_varint(field << 3 | 2, out);
    put_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn fixed(field: u64, value: f64, out: &mut Vec<u8>) {
    put_varint(field << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    put_varint(field << 3, out);
    put_varint(value, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Span;

    fn read_back(request: &WriteRequest) -> WriteRequest {
        let mut body = snap::raw::Decoder::new().decompress_vec(&encode(request).unwrap()).unwrap();
        let mut read = WriteRequest::default();
        read.read_remote_write(&mut body).unwrap();
        read
    }

    #[test]
    fn what_goes_on_is_what_came_bit_for_bit() {
        let mut request = WriteRequest::default();
        request.begin([(&b"__name__"[..], &b"up"[..]), (b"n", b"1")]).unwrap();
        request.float(1_000, f64::from_bits(0x7ff0_0000_0000_0002)).unwrap();
        request.float(-5, -0.0).unwrap();
        request.begin([(&b"__name__"[..], &b"h"[..])]).unwrap();
        let integer = Histogram {
            schema: 3,
            integer: true,
            count: 9.0,
            sum: 1.5,
            zero_count: 2.0,
            zero_threshold: 0.001,
            reset_hint: ResetHint::NotReset,
            positive: Buckets {
                spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
                counts: vec![3.0, 1.0, 2.0],
            },
            negative: Buckets { spans: vec![Span { offset: 0, length: 1 }], counts: vec![1.0] },
            ..Histogram::default()
        };
        let float = Histogram {
            integer: false,
            count: 2.5,
            zero_count: 0.5,
            positive: Buckets { spans: vec![Span { offset: 1, length: 1 }], counts: vec![2.0] },
            negative: Buckets::default(),
            reset_hint: ResetHint::Gauge,
            ..integer.clone()
        };
        for (time, histogram) in [(7, integer), (8, float)] {
            request.histogram(time, histogram).unwrap();
        }
        assert_eq!(request.refused, (0, None));
        let read = read_back(&request);
        let bits = |all: &[(i64, f64)]| all.iter().map(|(t, v)| (*t, v.to_bits())).collect::<Vec<_>>();
        assert_eq!(bits(&read.samples), bits(&request.samples));
        assert_eq!(read.histograms, request.histograms);
        for (one, other) in read.frames.iter().zip(&request.frames) {
            assert_eq!(read.labels(one).unwrap(), request.labels(other).unwrap());
        }
    }
}

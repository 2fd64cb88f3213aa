//! Floats and native histograms of one series, in the order they arrived.
//!
//! For each: the zigzag varint of its time minus that of the one before, a byte 0 and the 8 bytes of a float, or a byte 1
//! and a histogram as [`histogram_stream`] writes it.

use crate::codec::histogram_stream;
use crate::histogram::Histogram;
use crate::protobuf::{put_varint, unzigzag, varint, zigzag};
use crate::samples::{Samples, Value};

const FLOAT: u8 = 0;
const HISTOGRAM: u8 = 1;

/// Samples of both kinds.
#[derive(Clone, Debug, Default)]
pub(super) struct Mixed {
    bytes: Vec<u8>,
    last_time: i64,
    writer: histogram_stream::Writer,
}

impl Mixed {
    /// Takes a float; returns the bytes of memory that it took.
    pub(super) fn float(&mut self, time: i64, value: f64) -> usize {
        let before = self.bytes.capacity();
        self.time(time);
        self.bytes.push(FLOAT);
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
        self.bytes.capacity() - before
    }

    /// Takes a histogram; returns the bytes of memory that it took.
    pub(super) fn histogram(&mut self, time: i64, histogram: &Histogram) -> usize {
        let before = self.bytes.capacity();
        self.time(time);
        self.bytes.push(HISTOGRAM);
        self.writer.put(histogram, &mut self.bytes);
        self.bytes.capacity() - before
    }

    fn time(&mut self, time: i64) {
        put_varint(zigzag(time.wrapping_sub(self.last_time)), &mut self.bytes);
        self.last_time = time;
    }

    /// All samples, in order of time.
    pub(super) fn samples(&self) -> Samples {
        let (mut rest, mut time, mut reader) =
            (self.bytes.as_slice(), 0i64, histogram_stream::Reader::default());
        let mut arrivals = Vec::new();
        while !rest.is_empty() {
            let Some(value) = take(&mut rest, &mut time, &mut reader) else {
                // What was written here reads back; a bit flip in memory is the only way here.
                tracing::error!("hot histograms are broken, the later ones are left out");
                break;
            };
            arrivals.push((time, value));
        }
        Samples::from_mixed_arrivals(arrivals)
    }
}

fn take(rest: &mut &[u8], time: &mut i64, reader: &mut histogram_stream::Reader) -> Option<Value> {
    let (delta, length) = varint(rest).ok()?;
    *time = time.wrapping_add(unzigzag(delta));
    let (&kind, after) = rest[length..].split_first()?;
    *rest = after;
    if kind == FLOAT {
        let (bits, after) = rest.split_first_chunk::<8>()?;
        *rest = after;
        return Some(Value::Float(f64::from_bits(u64::from_le_bytes(*bits))));
    }
    reader.take(rest).ok().map(|histogram| Value::Histogram(Box::new(histogram)))
}

//! Prometheus remote-write 1.0, the receiving half: a snappy-compressed protobuf body to samples.
//!
//! The format is prometheus/prompb `remote.proto` and `types.proto`. A request is read whole before
//! anything of it is stored, so a malformed one changes nothing. Labels stay the sender's bytes:
//! [`crate::series::Registry::find`] looks them up as they are. Exemplars and metadata are skipped, native
//! histograms counted.

use std::ops::Range;

use crate::protobuf::{Fields, ProtobufError, Value, varint};
use crate::series::{Pairs, RawPair};

/// Largest unpacked request. Prometheus sends 2,000 samples (some 400 KiB) at a time.
pub const UNPACKED_BYTES_MAX: usize = 32 << 20;

/// Largest packed request; snappy's worst case adds a sixth.
pub const PACKED_BYTES_MAX: usize = UNPACKED_BYTES_MAX / 6 * 7;

/// Why a request is malformed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not snappy's block format.
    #[error("body is not snappy: {0}")]
    Snappy(#[from] snap::Error),
    /// More than [`UNPACKED_BYTES_MAX`].
    #[error("body unpacks to {0} bytes; at most {UNPACKED_BYTES_MAX} are taken")]
    TooLarge(usize),
    /// Not a remote-write request.
    #[error("body is no remote-write 1.0 request: {part}: {source}")]
    Protobuf {
        /// Which part of it.
        part: &'static str,
        /// What is wrong there.
        source: ProtobufError,
    },
}

/// One series of a request.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its labels as the sender wrote them, when they stand together as they should.
    labels: Option<Range<usize>>,
    /// The whole message.
    message: Range<usize>,
    /// Its samples in [`WriteRequest::samples`].
    pub samples: Range<usize>,
}

/// A request that was read. Reuse one: its memory is kept.
#[derive(Default)]
pub struct WriteRequest {
    unpacked: Vec<u8>,
    /// The series in the sender's order.
    pub frames: Vec<Frame>,
    /// (milliseconds since the epoch, value) of all series.
    pub samples: Vec<(i64, f64)>,
    /// Native histogram samples, which are not stored.
    pub histograms: u64,
}

impl WriteRequest {
    /// Reads a packed body.
    ///
    /// # Errors
    /// [`RequestError`] says what is wrong with it.
    pub fn read(&mut self, body: &[u8]) -> Result<(), RequestError> {
        let length = snap::raw::decompress_len(body)?;
        if length > UNPACKED_BYTES_MAX {
            return Err(RequestError::TooLarge(length));
        }
        self.unpacked.resize(length, 0);
        snap::raw::Decoder::new().decompress(body, &mut self.unpacked)?;
        self.frames.clear();
        self.samples.clear();
        self.histograms = 0;
        let unpacked = std::mem::take(&mut self.unpacked);
        let outcome = self.read_request(&unpacked);
        self.unpacked = unpacked;
        outcome
    }

    fn read_request(&mut self, request: &[u8]) -> Result<(), RequestError> {
        let wrong = |part| move |source| RequestError::Protobuf { part, source };
        let mut fields = Fields::new(request);
        while let Some((number, value)) = fields.next().map_err(wrong("request"))? {
            match (number, value) {
                (1, Value::Bytes(message)) => {
                    let end = request.len() - fields.rest().len();
                    self.read_series(message, end - message.len()).map_err(wrong("time series"))?;
                }
                (1, _) => return Err(wrong("request")(ProtobufError::Field(1))),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_series(&mut self, message: &[u8], start: usize) -> Result<(), ProtobufError> {
        let (mut labels_end, mut labels_over, mut apart) = (leading_labels(message), false, false);
        let first = self.samples.len();
        let mut fields = Fields::new(&message[labels_end..]);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(_)) if labels_over => apart = true,
                (1, Value::Bytes(_)) => labels_end = message.len() - fields.rest().len(),
                (2, Value::Bytes(sample)) => {
                    labels_over = true;
                    self.samples.push(match usual_sample(sample) {
                        Some(sample) => sample,
                        None => read_sample(sample)?,
                    });
                }
                (4, Value::Bytes(_)) => {
                    labels_over = true;
                    self.histograms += 1;
                }
                (1 | 2 | 4, _) => return Err(ProtobufError::Field(number)),
                _ => labels_over = true,
            }
        }
        let labels = (!apart).then_some(start..start + labels_end);
        let message = start..start + message.len();
        self.frames.push(Frame { labels, message, samples: first..self.samples.len() });
        Ok(())
    }

    /// A series' labels as bytes that may be a canonical key, or `None` when they stand apart.
    #[inline]
    pub fn key(&self, frame: &Frame) -> Option<&[u8]> {
        frame.labels.clone().map(|range| &self.unpacked[range])
    }

    /// A series' labels, however they stand.
    ///
    /// # Errors
    /// [`ProtobufError`] when one is broken.
    pub fn labels(&self, frame: &Frame) -> Result<Vec<RawPair<'_>>, ProtobufError> {
        let mut all = Vec::new();
        let mut fields = Fields::new(&self.unpacked[frame.message.clone()]);
        let mut before = fields.rest();
        while let Some((number, _)) = fields.next()? {
            if number == 1 {
                let field = &before[..before.len() - fields.rest().len()];
                all.extend(Pairs::new(field).next_pair()?);
            }
            before = fields.rest();
        }
        Ok(all)
    }
}

/// The length of the run of labels that a series begins with, as far as each is shorter than 128 bytes; the general
/// reader goes on from there.
#[inline]
fn leading_labels(message: &[u8]) -> usize {
    let mut end = 0;
    while let Some(&[0x0a, length @ 0..=0x7f]) = message.get(end..end + 2) {
        let next = end + 2 + usize::from(length);
        if next > message.len() {
            break;
        }
        end = next;
    }
    end
}

/// A sample in the form that every sender gives it: value, then time. `None` for any other.
#[inline]
fn usual_sample(sample: &[u8]) -> Option<(i64, f64)> {
    let (&[0x09, ref value @ .., 0x10], time) = sample.split_first_chunk::<10>()? else { return None };
    let value = u64::from_le_bytes(*value);
    let (time, length) = varint(time).ok()?;
    (length + 10 == sample.len()).then_some((time.cast_signed(), f64::from_bits(value)))
}

/// A sample: 1 is the value (fixed64), 2 the time (varint); protobuf leaves zeros out.
#[inline]
fn read_sample(sample: &[u8]) -> Result<(i64, f64), ProtobufError> {
    let (mut time, mut value) = (0i64, 0f64);
    let mut fields = Fields::new(sample);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            (2, Value::Varint(number)) => time = number.cast_signed(),
            (1 | 2, _) => return Err(ProtobufError::Field(number)),
            _ => {}
        }
    }
    Ok((time, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vakt_wire::remote_write::{TimeSeries, encode};

    fn packed(raw: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(raw).unwrap()
    }

    #[test]
    fn what_our_own_sender_writes_is_read() {
        let series = |name: &str, samples: &[(f64, i64)]| TimeSeries {
            labels: vec![("job".into(), "x".into()), ("__name__".into(), name.into())],
            samples: samples.to_vec(),
        };
        let body = encode(&[series("a", &[(1.5, 1000), (0.0, -5)]), series("b", &[(2.0, 0)])]).unwrap();
        let mut request = WriteRequest::default();
        request.read(&body).unwrap();
        assert_eq!(request.samples, [(1000, 1.5), (-5, 0.0), (0, 2.0)]);
        assert_eq!(request.frames.len(), 2);
        let labels = request.labels(&request.frames[1]).unwrap();
        assert_eq!(labels, [(&b"__name__"[..], &b"b"[..]), (b"job", b"x")]);
        assert_eq!(request.key(&request.frames[1]).unwrap()[..12], *b"\x0a\x0d\x0a\x08__name__");
    }

    #[test]
    fn labels_that_stand_apart_are_still_gathered() {
        // label, sample, label
        let series = b"\x0a\x06\x0a\x01b\x12\x012\x12\x02\x10\x07\x0a\x06\x0a\x01a\x12\x011";
        let mut raw = vec![0x0a, series.len() as u8];
        raw.extend_from_slice(series);
        let mut request = WriteRequest::default();
        request.read(&packed(&raw)).unwrap();
        assert_eq!(request.key(&request.frames[0]), None);
        let labels = request.labels(&request.frames[0]).unwrap();
        assert_eq!(labels, [(&b"b"[..], &b"2"[..]), (b"a", b"1")]);
        assert_eq!(request.samples, [(7, 0.0)]);
    }

    #[test]
    fn a_malformed_request_says_what_is_wrong() {
        let check = |body: &[u8], expected: &str| {
            let said = WriteRequest::default().read(body).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        };
        check(b"\xff\xff\xff\xff\xff\xff", "body is not snappy");
        check(b"\xff\xff\xff\x7f", "at most 33554432 are taken");
        check(&packed(b"\x0a\x05\x0a"), "request: message ends inside a field");
        check(&packed(b"\x0a\x02\x12\x07"), "time series: message ends inside a field");
        check(&packed(b"\x0a\x04\x12\x02\x08\x01"), "time series: field 1 has the wrong wire type");
        check(&packed(b"\x08\x01"), "request: field 1 has the wrong wire type");
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(raw: Vec<u8>) {
            let mut request = WriteRequest::default();
            let _ = request.read(&raw);
            if request.read(&packed(&raw)).is_ok() {
                for frame in &request.frames {
                    let _ = (request.key(frame), request.labels(frame));
                }
            }
        }
    }
}

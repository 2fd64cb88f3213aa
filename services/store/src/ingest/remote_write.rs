//! Prometheus remote-write 1.0: protobuf to samples.
//!
//! The format is prometheus/prompb `remote.proto` and `types.proto`. Labels stay the sender's bytes:
//! [`crate::series::Registry::find`] looks them up as they are.

use super::histogram::{self, Broken};
use super::request::{Metadata, RequestError, WriteRequest, kind, text};
use crate::protobuf::{Fields, ProtobufError, Value, varint};
use crate::series::Pairs;

fn wrong(part: &'static str) -> impl FnOnce(ProtobufError) -> RequestError {
    move |source| RequestError::Protobuf { form: "remote-write 1.0", part, source }
}

impl WriteRequest {
    /// Reads the unpacked body that `bytes` holds.
    ///
    /// # Errors
    /// [`RequestError`] says what is wrong with it.
    pub fn read_remote_write(&mut self, unpacked: &mut Vec<u8>) -> Result<(), RequestError> {
        self.clear();
        std::mem::swap(&mut self.bytes, unpacked);
        let body = std::mem::take(&mut self.bytes);
        let outcome = self.read_request(&body);
        self.bytes = body;
        outcome
    }

    fn read_request(&mut self, request: &[u8]) -> Result<(), RequestError> {
        let mut fields = Fields::new(request);
        while let Some((number, value)) = fields.next().map_err(wrong("request"))? {
            match (number, value) {
                (1, Value::Bytes(message)) => {
                    let end = request.len() - fields.rest().len();
                    self.read_series(message, end - message.len())?;
                }
                (3, Value::Bytes(message)) => {
                    let metadata = read_metadata(message).map_err(wrong("metadata"))?;
                    self.describe(metadata);
                }
                (1 | 3, _) => return Err(wrong("request")(ProtobufError::Field(number))),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_series(&mut self, message: &[u8], start: usize) -> Result<(), RequestError> {
        const PART: &str = "time series";
        let (mut labels_end, mut labels_over, mut apart) = (leading_labels(message), false, false);
        self.begin_at(None, start..start + message.len())?;
        let mut fields = Fields::new(&message[labels_end..]);
        while let Some((number, value)) = fields.next().map_err(wrong(PART))? {
            match (number, value) {
                (1, Value::Bytes(_)) if labels_over => apart = true,
                (1, Value::Bytes(_)) => labels_end = message.len() - fields.rest().len(),
                (2, Value::Bytes(sample)) => {
                    labels_over = true;
                    let (time, value) = match usual_sample(sample) {
                        Some(sample) => sample,
                        None => read_sample(sample).map_err(wrong(PART))?,
                    };
                    self.float(time, value)?;
                }
                (3, Value::Bytes(exemplar)) => {
                    labels_over = true;
                    let (time, value, labels) = read_exemplar(exemplar).map_err(wrong("exemplar"))?;
                    self.exemplar(time, value, labels);
                }
                (4, Value::Bytes(message)) => {
                    labels_over = true;
                    self.read_histogram(message, "remote-write 1.0")?;
                }
                (1..=4, _) => return Err(wrong(PART)(ProtobufError::Field(number))),
                _ => labels_over = true,
            }
        }
        if let (false, Some(frame)) = (apart, self.frames.last_mut()) {
            frame.place_labels(start..start + labels_end);
        }
        Ok(())
    }

    /// Reads a histogram of either version into the series begun last.
    pub(super) fn read_histogram(&mut self, message: &[u8], form: &'static str) -> Result<(), RequestError> {
        match histogram::read(message) {
            Ok((time, histogram)) => self.histogram(time, histogram),
            Err(Broken::Message(source)) => Err(RequestError::Protobuf { form, part: "histogram", source }),
            Err(Broken::Content(reason)) => {
                self.refuse(1, reason);
                Ok(())
            }
        }
    }
}

/// What a metric is about: 1 type, 2 name, 4 help, 5 unit.
fn read_metadata(message: &[u8]) -> Result<Metadata, ProtobufError> {
    let mut metadata = Metadata { kind: kind(0), ..Metadata::default() };
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Varint(number)) => metadata.kind = kind(number),
            (2, Value::Bytes(name)) => metadata.name = text(name),
            (4, Value::Bytes(help)) => metadata.help = text(help),
            (5, Value::Bytes(unit)) => metadata.unit = text(unit),
            (1 | 2 | 4 | 5, _) => return Err(ProtobufError::Field(number)),
            _ => {}
        }
    }
    Ok(metadata)
}

/// An exemplar: 1 labels, 2 value, 3 time.
fn read_exemplar(message: &[u8]) -> Result<(i64, f64, Vec<(String, String)>), ProtobufError> {
    let (mut time, mut observed, mut labels) = (0, 0.0, Vec::new());
    let mut fields = Fields::new(message);
    let mut before = fields.rest();
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(_)) => {
                let field = &before[..before.len() - fields.rest().len()];
                labels.extend(Pairs::new(field).next_pair()?.map(|(name, value)| (text(name), text(value))));
            }
            (2, Value::Fixed64(bits)) => observed = f64::from_bits(bits),
            (3, Value::Varint(number)) => time = number.cast_signed(),
            (1..=3, _) => return Err(ProtobufError::Field(number)),
            _ => {}
        }
        before = fields.rest();
    }
    Ok((time, observed, labels))
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
pub(super) fn usual_sample(sample: &[u8]) -> Option<(i64, f64)> {
    let (&[0x09, ref value @ .., 0x10], time) = sample.split_first_chunk::<10>()? else { return None };
    let value = u64::from_le_bytes(*value);
    let (time, length) = varint(time).ok()?;
    (length + 10 == sample.len()).then_some((time.cast_signed(), f64::from_bits(value)))
}

/// A sample: 1 is the value (fixed64), 2 the time (varint); protobuf leaves zeros out.
#[inline]
pub(super) fn read_sample(sample: &[u8]) -> Result<(i64, f64), ProtobufError> {
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
    use crate::histogram::Histogram;
    use crate::ingest::body::Packing;
    use crate::ingest::histogram::tests::message;
    use proptest::prelude::*;
    use vakt_wire::remote_write::{TimeSeries, encode};

    fn read(body: &[u8]) -> Result<WriteRequest, RequestError> {
        let (mut request, mut unpacked) = (WriteRequest::default(), Vec::new());
        Packing::Snappy.unpack(body, &mut unpacked)?;
        request.read_remote_write(&mut unpacked).map(|()| request)
    }

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
        let request = read(&body).unwrap();
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
        let request = read(&packed(&raw)).unwrap();
        assert_eq!(request.key(&request.frames[0]), None);
        let labels = request.labels(&request.frames[0]).unwrap();
        assert_eq!(labels, [(&b"b"[..], &b"2"[..]), (b"a", b"1")]);
        assert_eq!(request.samples, [(7, 0.0)]);
    }

    #[test]
    fn a_malformed_request_says_what_is_wrong() {
        let check = |body: &[u8], expected: &str| {
            let said = read(body).err().unwrap().to_string();
            assert!(said.contains(expected), "{said}");
        };
        check(b"\xff\xff\xff\xff\xff\xff", "body is not snappy");
        check(b"\xff\xff\xff\x7f", "more than 33554432 bytes");
        check(&packed(b"\x0a\x05\x0a"), "request: message ends inside a field");
        check(&packed(b"\x0a\x02\x12\x07"), "time series: message ends inside a field");
        check(&packed(b"\x0a\x04\x12\x02\x08\x01"), "time series: field 1 has the wrong wire type");
        check(&packed(b"\x08\x01"), "request: field 1 has the wrong wire type");
    }

    #[test]
    fn histograms_exemplars_and_metadata_are_read() {
        let histogram = Histogram { sum: 4.5, integer: true, ..Histogram::default() };
        let exemplar = b"\x0a\x06\x0a\x01t\x12\x017\x11\0\0\0\0\0\0\xf0\x3f\x18\x05";
        let mut raw = Vec::new();
        let field = |number: u8, bytes: &[u8], out: &mut Vec<u8>| {
            out.extend([number << 3 | 2, bytes.len() as u8]);
            out.extend_from_slice(bytes);
        };
        let mut series = b"\x0a\x06\x0a\x01a\x12\x011".to_vec();
        field(3, exemplar, &mut series);
        field(4, &message(9, &histogram), &mut series);
        field(4, &message(10, &Histogram { schema: 40, ..histogram.clone() }), &mut series);
        field(1, &series, &mut raw);
        field(3, b"\x08\x01\x12\x01m\x22\x04help\x2a\x01s", &mut raw);
        let request = read(&packed(&raw)).unwrap();
        assert_eq!(request.histograms, [(9, histogram)]);
        assert_eq!(request.frames[0].histograms, 0..1);
        assert_eq!(request.refused.0, 1);
        assert!(request.refused.1.as_ref().unwrap().contains("schema 40"));
        assert_eq!((request.exemplars[0].time, request.exemplars[0].value), (5, 1.0));
        assert_eq!(request.exemplars[0].labels, [("t".to_owned(), "7".to_owned())]);
        let metadata = &request.metadata[0];
        assert_eq!(
            (&*metadata.name, metadata.kind, &*metadata.help, &*metadata.unit),
            ("m", "counter", "help", "s")
        );
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(raw: Vec<u8>) {
            let _ = read(&raw);
            if let Ok(request) = read(&packed(&raw)) {
                for frame in &request.frames {
                    let _ = (request.key(frame), request.labels(frame));
                }
            }
        }
    }
}

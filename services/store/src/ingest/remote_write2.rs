//! Prometheus remote-write 2.0: `io.prometheus.write.v2.Request`, in which all text stands once in a table of symbols
//! (prometheus.io/docs/specs/prw/remote_write_spec_2_0).
//!
//! When a counter began (`start_timestamp`, before that `created_timestamp`) is not kept: Prometheus itself uses it only to
//! invent a zero, behind a feature flag.

use super::remote_write::{read_sample, usual_sample};
use super::request::{Metadata, RequestError, WriteRequest, kind, text};
use crate::protobuf::{Fields, ProtobufError, Value, varint};
use crate::series::{LABELS_MAX, RawPair};

const FORM: &str = "remote-write 2.0";

/// Symbols of one request: 16 MiB of slices. Each takes 2 bytes on the wire at least.
const SYMBOLS_MAX: usize = 1 << 20;

fn wrong(part: &'static str) -> impl FnOnce(ProtobufError) -> RequestError {
    move |source| RequestError::Protobuf { form: FORM, part, source }
}

/// The texts of a request by number. Number 0 is the empty text.
struct Symbols<'a>(Vec<&'a [u8]>);

impl<'a> Symbols<'a> {
    fn get(&self, number: u64) -> Result<&'a [u8], RequestError> {
        let found = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        found.copied().ok_or(RequestError::Symbol { symbol: number, symbols: self.0.len() })
    }
}

impl WriteRequest {
    /// Reads an unpacked body of version 2.0.
    ///
    /// # Errors
    /// [`RequestError`] says what is wrong with it.
    pub fn read_remote_write2(&mut self, body: &[u8]) -> Result<(), RequestError> {
        self.clear();
        let (mut symbols, mut series) = (Symbols(Vec::new()), 0);
        let mut fields = Fields::new(body);
        while let Some((number, value)) = fields.next().map_err(wrong("request"))? {
            match (number, value) {
                (4, Value::Bytes(_)) if symbols.0.len() >= SYMBOLS_MAX => {
                    return Err(RequestError::TooMany { what: "symbols", max: SYMBOLS_MAX });
                }
                (4, Value::Bytes(symbol)) => symbols.0.push(symbol),
                (5, Value::Bytes(_)) => series += 1,
                // A request of version 1.0 has its series here.
                (1 | 3, Value::Bytes(_)) => return Err(wrong("request")(ProtobufError::Field(number))),
                (4 | 5, _) => return Err(wrong("request")(ProtobufError::Field(number))),
                _ => {}
            }
        }
        // The table may stand behind the series, so they are read in a second pass.
        self.frames.reserve(series.min(super::request::SERIES_MAX));
        let mut fields = Fields::new(body);
        while let Some((number, value)) = fields.next().map_err(wrong("request"))? {
            if let (5, Value::Bytes(message)) = (number, value) {
                self.read_series2(message, &symbols)?;
            }
        }
        Ok(())
    }

    fn read_series2(&mut self, message: &[u8], symbols: &Symbols<'_>) -> Result<(), RequestError> {
        const PART: &str = "time series";
        // Labels first: the samples are added to a series that has begun.
        let labels = labels_of(message, symbols)?;
        self.begin(labels.iter().copied())?;
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next().map_err(wrong(PART))? {
            match (number, value) {
                (2, Value::Bytes(sample)) => {
                    let (time, value) = match usual_sample(sample) {
                        Some(sample) => sample,
                        None => read_sample(sample).map_err(wrong("sample"))?,
                    };
                    self.float(time, value)?;
                }
                (3, Value::Bytes(message)) => self.read_histogram(message, FORM)?,
                (4, Value::Bytes(message)) => self.read_exemplar2(message, symbols)?,
                (5, Value::Bytes(message)) => {
                    let name =
                        labels.iter().find(|(name, _)| *name == b"__name__").map_or(&b""[..], |pair| pair.1);
                    let metadata = metadata(message, name, symbols)?;
                    self.describe(metadata);
                }
                (2..=5, _) => return Err(wrong(PART)(ProtobufError::Field(number))),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_exemplar2(&mut self, message: &[u8], symbols: &Symbols<'_>) -> Result<(), RequestError> {
        let (mut time, mut observed) = (0, 0.0);
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next().map_err(wrong("exemplar"))? {
            match (number, value) {
                (2, Value::Fixed64(bits)) => observed = f64::from_bits(bits),
                (3, Value::Varint(number)) => time = number.cast_signed(),
                (2 | 3, _) => return Err(wrong("exemplar")(ProtobufError::Field(number))),
                _ => {}
            }
        }
        let labels = labels_of(message, symbols)?;
        self.exemplar(time, observed, labels.iter().map(|(name, value)| (text(name), text(value))).collect());
        Ok(())
    }
}

/// The labels of a series or an exemplar: field 1, pairs of symbols, packed or one by one.
fn labels_of<'a>(message: &[u8], symbols: &Symbols<'a>) -> Result<Vec<RawPair<'a>>, RequestError> {
    let mut references = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next().map_err(wrong("labels"))? {
        match (number, value) {
            (1, Value::Varint(reference)) => references.push(reference),
            (1, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    let (reference, length) = varint(packed).map_err(wrong("labels"))?;
                    packed = &packed[length..];
                    references.push(reference);
                }
            }
            (1, _) => return Err(wrong("labels")(ProtobufError::Field(1))),
            _ => {}
        }
        // One more than a series may have, so that it is refused for that reason and not cut.
        references.truncate(2 * (LABELS_MAX + 1));
    }
    let (pairs, rest) = references.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong("labels")(ProtobufError::Short));
    }
    pairs.iter().map(|[name, value]| Ok((symbols.get(*name)?, symbols.get(*value)?))).collect()
}

/// What a series' metric is about: 1 type, 3 help, 4 unit.
fn metadata(message: &[u8], name: &[u8], symbols: &Symbols<'_>) -> Result<Metadata, RequestError> {
    let mut metadata = Metadata { name: text(name), kind: kind(0), ..Metadata::default() };
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next().map_err(wrong("metadata"))? {
        match (number, value) {
            (1, Value::Varint(number)) => metadata.kind = kind(number),
            (3, Value::Varint(help)) => metadata.help = text(symbols.get(help)?),
            (4, Value::Varint(unit)) => metadata.unit = text(symbols.get(unit)?),
            (1 | 3 | 4, _) => return Err(wrong("metadata")(ProtobufError::Field(number))),
            _ => {}
        }
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;
    use crate::ingest::histogram::tests::message;
    use crate::series::canonical;
    use proptest::prelude::*;

    fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend([number << 3 | 2, bytes.len() as u8]);
        out.extend_from_slice(bytes);
    }

    fn request(series: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        field(5, series, &mut body);
        for symbol in ["", "__name__", "m_seconds", "job", "x", "trace", "7", "what it is", "s"] {
            field(4, symbol.as_bytes(), &mut body);
        }
        body
    }

    #[test]
    fn a_request_is_read_though_its_table_stands_last() {
        let histogram = Histogram { sum: 4.5, integer: true, ..Histogram::default() };
        let mut series = vec![0x0a, 4, 1, 2, 3, 4];
        field(2, b"\x09\0\0\0\0\0\0\xf0\x3f\x10\x05", &mut series);
        field(3, &message(9, &histogram), &mut series);
        field(4, b"\x0a\x02\x05\x06\x11\0\0\0\0\0\0\xf0\x3f\x18\x08", &mut series);
        field(5, &[0x08, 2, 0x18, 7, 0x20, 8], &mut series);
        let mut read = WriteRequest::default();
        read.read_remote_write2(&request(&series)).unwrap();
        let labels = canonical(&read.labels(&read.frames[0]).unwrap()).unwrap();
        assert_eq!(labels, [("__name__", "m_seconds"), ("job", "x")]);
        assert_eq!((&*read.samples, &*read.histograms), (&[(5, 1.0)][..], &[(9, histogram)][..]));
        let exemplar = &read.exemplars[0];
        assert_eq!((exemplar.time, exemplar.value, exemplar.frame), (8, 1.0, 0));
        assert_eq!(exemplar.labels, [("trace".to_owned(), "7".to_owned())]);
        let about = &read.metadata[0];
        assert_eq!(
            (&*about.name, about.kind, &*about.help, &*about.unit),
            ("m_seconds", "gauge", "what it is", "s")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |series: &[u8], expected: &str| {
            let said = WriteRequest::default().read_remote_write2(&request(series)).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        };
        check(&[0x0a, 2, 1, 40], "symbol 40, of which there are 9");
        check(&[0x0a, 1, 1], "labels: message ends inside a field");
        check(&[0x12, 1, 1], "sample");
        let said = WriteRequest::default().read_remote_write2(b"\x0a\x00").unwrap_err().to_string();
        assert!(said.contains("no remote-write 2.0 request"), "{said}");
    }

    #[test]
    fn a_series_with_too_many_labels_is_refused_for_that() {
        let mut series = vec![0x0a, 180];
        series[1] = 0x80 | 52;
        series.push(1);
        series.extend([1u8, 2].repeat(90));
        let mut body = Vec::new();
        body.push(5 << 3 | 2);
        crate::protobuf::put_varint(series.len() as u64, &mut body);
        body.extend_from_slice(&series);
        body.extend_from_slice(&request(&[]));
        let mut read = WriteRequest::default();
        read.read_remote_write2(&body).unwrap();
        let labels = read.labels(&read.frames[0]).unwrap();
        assert_eq!(canonical(&labels), Err(crate::series::LabelError::TooMany));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(raw: Vec<u8>, series: Vec<u8>) {
            let mut read = WriteRequest::default();
            let _ = read.read_remote_write2(&raw);
            if series.len() < 200 && read.read_remote_write2(&request(&series)).is_ok() {
                for frame in &read.frames {
                    let _ = (read.key(frame), read.labels(frame));
                }
            }
        }
    }
}

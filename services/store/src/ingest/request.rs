//! One write request, whatever form it came in.

use std::ops::Range;

use super::body::{BodyError, UNPACKED_BYTES_MAX};
use crate::histogram::Histogram;
use crate::protobuf::{Fields, ProtobufError, put_varint};
use crate::series::{Pairs, RawPair};

/// Series of one request. Prometheus sends 2,000 at most; a bulk import is cut by its client. At 80 bytes a
/// frame this bounds what a body of empty series can take.
pub const SERIES_MAX: usize = 400_000;

/// Floats of one request: 48 MiB. The smallest sample on the wire has 2 bytes. Together with the bounds below and 32 MiB of
/// labels a request stays below the log's largest record (18 bytes a float, 10 a bucket, 20 a series there).
pub const SAMPLES_MAX: usize = 3 << 20;

/// Native histograms of one request: some 25 MB without their buckets.
pub const HISTOGRAMS_MAX: usize = 100_000;

/// Buckets, spans and bounds of all histograms of one request: 16 MiB. The smallest bucket on the wire has 1 byte.
pub const BUCKETS_MAX: usize = 2 << 20;

/// Exemplars and descriptions of one request that are looked at; further ones are left out.
pub const NOTES_MAX: usize = 10_000;

/// Why a request is malformed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The body cannot be unpacked.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// More of something than a request may hold.
    #[error("request holds more than {max} {what}; send it in parts")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// Not the message that it should be.
    #[error("body is no {form} request: {part}: {source}")]
    Protobuf {
        /// Remote-write 1.0, ...
        form: &'static str,
        /// Which part of it.
        part: &'static str,
        /// What is wrong there.
        source: ProtobufError,
    },
    /// A reference to a symbol that is not in the table.
    #[error("body refers to symbol {symbol}, of which there are {symbols}")]
    Symbol {
        /// The reference.
        symbol: u64,
        /// Symbols in the table.
        symbols: usize,
    },
    /// Text that is none of the format, or a parameter of the request.
    #[error("{0}")]
    Text(String),
}

/// One series of a request.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its labels as the sender wrote them, when they stand together as they should.
    labels: Option<Range<usize>>,
    /// The whole message.
    message: Range<usize>,
    /// Its floats in [`WriteRequest::samples`].
    pub samples: Range<usize>,
    /// Its histograms in [`WriteRequest::histograms`].
    pub histograms: Range<usize>,
}

impl Frame {
    /// Says where its labels stand together.
    pub(super) fn place_labels(&mut self, labels: Range<usize>) {
        self.labels = Some(labels);
    }
}

/// What a metric is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The metric family's name.
    pub name: String,
    /// Prometheus' word for its type: counter, gauge, histogram, ...
    pub kind: &'static str,
    /// Its description.
    pub help: String,
    /// Its unit.
    pub unit: String,
}

/// An exemplar: one observation that a sample stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The series' index in [`WriteRequest::frames`].
    pub frame: usize,
    /// Milliseconds since the epoch.
    pub time: i64,
    /// What was observed.
    pub value: f64,
    /// Mostly the id of a trace.
    pub labels: Vec<(String, String)>,
}

/// A request that was read. Reuse one: its memory is kept.
#[derive(Default)]
pub struct WriteRequest {
    /// Label bytes lie here.
    pub(super) bytes: Vec<u8>,
    /// The series in the sender's order.
    pub frames: Vec<Frame>,
    /// (milliseconds since the epoch, value) of all series.
    pub samples: Vec<(i64, f64)>,
    /// Native histograms of all series with their times.
    pub histograms: Vec<(i64, Histogram)>,
    /// What was said about metrics.
    pub metadata: Vec<Metadata>,
    /// Exemplars of all series.
    pub exemplars: Vec<Observed>,
    /// Samples that were given up while reading, because no series can hold them, and why the first of them was.
    pub refused: (u64, Option<String>),
    buckets: usize,
}

impl WriteRequest {
    /// Forgets what was read; the memory is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
        self.samples.clear();
        self.histograms.clear();
        self.metadata.clear();
        self.exemplars.clear();
        self.refused = (0, None);
        self.buckets = 0;
    }

    /// Samples that it has memory for, its largest column taken.
    pub fn capacity(&self) -> usize {
        self.samples.capacity().max(self.histograms.capacity()).max(self.frames.capacity())
    }

    /// Samples of both kinds.
    pub fn len(&self) -> usize {
        self.samples.len() + self.histograms.len()
    }

    /// Whether it holds no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins a series whose labels are written here, in the order given.
    pub(crate) fn begin<'a>(
        &mut self,
        labels: impl IntoIterator<Item = RawPair<'a>>,
    ) -> Result<(), RequestError> {
        let start = self.bytes.len();
        for (name, value) in labels {
            if self.bytes.len() + name.len() + value.len() > UNPACKED_BYTES_MAX {
                return Err(RequestError::TooMany { what: "bytes of labels", max: UNPACKED_BYTES_MAX });
            }
            let varint_bytes =
                |length: usize| (64 - (length as u64 | 1).leading_zeros() as usize).div_ceil(7);
            let inner = name.len() + value.len() + varint_bytes(name.len()) + varint_bytes(value.len()) + 2;
            self.bytes.push(0x0a);
            put_varint(inner as u64, &mut self.bytes);
            for (tag, bytes) in [(0x0a, name), (0x12, value)] {
                self.bytes.push(tag);
                put_varint(bytes.len() as u64, &mut self.bytes);
                self.bytes.extend_from_slice(bytes);
            }
        }
        let labels = start..self.bytes.len();
        self.begin_at(Some(labels.clone()), labels)
    }

    /// Begins a series whose labels lie in [`WriteRequest::bytes`] already.
    pub(super) fn begin_at(
        &mut self,
        labels: Option<Range<usize>>,
        message: Range<usize>,
    ) -> Result<(), RequestError> {
        if self.frames.len() >= SERIES_MAX {
            return Err(RequestError::TooMany { what: "series", max: SERIES_MAX });
        }
        let samples = self.samples.len()..self.samples.len();
        let histograms = self.histograms.len()..self.histograms.len();
        self.frames.push(Frame { labels, message, samples, histograms });
        Ok(())
    }

    /// Adds a float to the series begun last.
    #[inline]
    pub(crate) fn float(&mut self, time: i64, value: f64) -> Result<(), RequestError> {
        if self.samples.len() >= SAMPLES_MAX {
            return Err(RequestError::TooMany { what: "samples", max: SAMPLES_MAX });
        }
        self.samples.push((time, value));
        if let Some(frame) = self.frames.last_mut() {
            frame.samples.end = self.samples.len();
        }
        Ok(())
    }

    /// Adds a histogram to the series begun last; one that breaks a rule is refused and counted.
    pub(crate) fn histogram(&mut self, time: i64, histogram: Histogram) -> Result<(), RequestError> {
        self.buckets += histogram.heap_bytes() / 8;
        if self.histograms.len() >= HISTOGRAMS_MAX || self.buckets > BUCKETS_MAX {
            return Err(RequestError::TooMany { what: "histograms", max: HISTOGRAMS_MAX });
        }
        if let Err(error) = histogram.validate() {
            self.refuse(1, error);
            return Ok(());
        }
        self.histograms.push((time, histogram));
        if let Some(frame) = self.frames.last_mut() {
            frame.histograms.end = self.histograms.len();
        }
        Ok(())
    }

    /// Counts samples that cannot be stored.
    pub(super) fn refuse(&mut self, samples: u64, reason: impl std::fmt::Display) {
        self.refused.0 += samples;
        self.refused.1.get_or_insert_with(|| reason.to_string());
    }

    /// Adds an exemplar of the series begun last.
    pub(super) fn exemplar(&mut self, time: i64, value: f64, labels: Vec<(String, String)>) {
        if self.exemplars.len() < NOTES_MAX
            && let Some(frame) = self.frames.len().checked_sub(1)
        {
            self.exemplars.push(Observed { frame, time, value, labels });
        }
    }

    /// Adds what is said about a metric.
    pub(super) fn describe(&mut self, metadata: Metadata) {
        if self.metadata.len() < NOTES_MAX && !metadata.name.is_empty() {
            self.metadata.push(metadata);
        }
    }

    /// A series' labels as bytes that may be a canonical key, or `None` when they stand apart.
    #[inline]
    pub fn key(&self, frame: &Frame) -> Option<&[u8]> {
        frame.labels.clone().map(|range| &self.bytes[range])
    }

    /// A series' labels, however they stand.
    ///
    /// # Errors
    /// [`ProtobufError`] when one is broken.
    pub fn labels(&self, frame: &Frame) -> Result<Vec<RawPair<'_>>, ProtobufError> {
        let mut all = Vec::new();
        let mut fields = Fields::new(&self.bytes[frame.message.clone()]);
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

/// Prometheus' word for a type as remote-write numbers it, in both versions.
pub(super) fn kind(number: u64) -> &'static str {
    let words = ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];
    usize::try_from(number).ok().and_then(|number| words.get(number)).unwrap_or(&words[0])
}

/// Text of a request, which need not be UTF-8 where nothing is decided by it.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{canonical, encode};

    #[test]
    fn labels_written_here_are_the_key_when_they_are_sorted() {
        let (long, mut request) = ("v".repeat(300), WriteRequest::default());
        let labels = [("__name__", "up"), ("a", long.as_str()), ("b", "")];
        request.begin(labels.map(|(n, v)| (n.as_bytes(), v.as_bytes()))).unwrap();
        let mut key = Vec::new();
        encode(labels.into_iter(), &mut key);
        assert_eq!(request.key(&request.frames[0]).unwrap(), key);
        let pairs = request.labels(&request.frames[0]).unwrap();
        assert_eq!(canonical(&pairs).unwrap(), labels[..2]);
    }

    #[test]
    fn what_a_request_may_hold_is_bounded() {
        let mut request = WriteRequest::default();
        request.begin([(&b"a"[..], &b"b"[..])]).unwrap();
        let wide = Histogram { custom_bounds: vec![0.0; BUCKETS_MAX / 2 + 1], ..Histogram::default() };
        request.histogram(0, wide.clone()).unwrap();
        assert_eq!(request.refused.0, 1);
        let said = request.histogram(0, wide).unwrap_err().to_string();
        assert!(said.contains("more than 100000 histograms"), "{said}");
        let label = vec![0; UNPACKED_BYTES_MAX / 2];
        request.begin([(&b"a"[..], label.as_slice())]).unwrap();
        let said = request.begin([(&b"a"[..], label.as_slice())]).unwrap_err().to_string();
        assert!(said.contains("bytes of labels"), "{said}");
    }
}

//! `POST /api/v1/read`: Prometheus' remote-read, answered with samples or with a stream of chunks ([`super::read_stream`]):
//! the first of what the client lists.

use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use vakt_wire::http::{Request, Response, full, read, text};

use super::Api;
use crate::engine::Engine;
use crate::histogram::{Buckets, Histogram, ResetHint};
use crate::promql::{QueryError, Selection, Track};
use crate::protobuf::{Fields, ProtobufError, Value, put_varint, varint as read_varint, zigzag};
use crate::series::{Labels, MatchOp, Matcher};

/// Packed and unpacked bytes of a request: some matchers.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Queries of one request; Prometheus sends one.
const QUERIES_MAX: usize = 64;

/// Bytes of an answer before it is packed. Prometheus' client takes 50 million samples, which are twenty times as much;
/// who wants more asks for less time.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One query.
pub(super) struct Query {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) matchers: Vec<Matcher>,
}

/// What is asked for, and how it is to be answered.
struct Asked {
    queries: Vec<Query>,
    streamed: bool,
}

/// The kinds of answers, by protobuf's numbers: samples, which is meant when none is listed, and chunks.
const SAMPLES: u64 = 0;
const STREAMED_XOR_CHUNKS: u64 = 1;

impl Api {
    pub(super) async fn remote_read(&self, request: Request) -> Response {
        let body = match read(request.body, REQUEST_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let Asked { queries, streamed } = match asked(&body) {
            Ok(asked) => asked,
            Err(reason) => return text(StatusCode::BAD_REQUEST, format!("{reason}\n")),
        };
        if streamed {
            return self.stream_chunks(queries).await;
        }
        match self.ask(Ok(queries), |engine, queries| answer(engine, queries)).await {
            Ok((body, _)) => {
                let mut response = hyper::Response::new(full(body));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
                response
            }
            Err(error @ QueryError::Internal(_)) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
            }
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
    }
}

/// How many queries a remote-read request has, as it comes, packed; for fuzzing.
///
/// # Errors
/// What is wrong with it.
pub fn queries_of(packed: &[u8]) -> Result<usize, String> {
    asked(packed).map(|asked| asked.queries.len())
}

fn asked(packed: &[u8]) -> Result<Asked, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("body is no remote-read request: {error}");
    let length = snap::raw::decompress_len(packed).map_err(|error| wrong(&error))?;
    if length > REQUEST_BYTES_MAX {
        return Err(format!("body has {length} bytes unpacked; at most {REQUEST_BYTES_MAX} are read"));
    }
    let body = snap::raw::Decoder::new().decompress_vec(packed).map_err(|error| wrong(&error))?;
    let mut fields = Fields::new(&body);
    let (mut all, mut kinds) = (Vec::new(), Vec::new());
    while let Some((number, value)) = fields.next().map_err(|error| wrong(&error))? {
        match (number, value) {
            (2, Value::Varint(kind)) => kinds.push(kind),
            (2, Value::Bytes(packed)) => kinds.extend(numbers(packed).map_err(|error| wrong(&error))?),
            _ => {}
        }
        if let (1, Value::Bytes(message)) = (number, value) {
            if all.len() >= QUERIES_MAX {
                return Err(format!("request has more than {QUERIES_MAX} queries"));
            }
            let (from, to, matchers) = query(message).map_err(|error| wrong(&error))?;
            let matchers = matchers
                .into_iter()
                .map(|(op, name, value)| Matcher::new(op, &name, &value))
                .collect::<Result<_, _>>()?;
            all.push(Query { from, to, matchers });
        }
    }
    let known = kinds.into_iter().find(|kind| [SAMPLES, STREAMED_XOR_CHUNKS].contains(kind));
    Ok(Asked { queries: all, streamed: known == Some(STREAMED_XOR_CHUNKS) })
}

fn numbers(mut packed: &[u8]) -> Result<Vec<u64>, ProtobufError> {
    let mut all = Vec::new();
    while !packed.is_empty() {
        let (number, length) = read_varint(packed)?;
        all.push(number);
        packed = &packed[length..];
    }
    Ok(all)
}

type Raw = (MatchOp, String, String);

fn query(message: &[u8]) -> Result<(i64, i64, Vec<Raw>), ProtobufError> {
    let (mut from, mut to, mut matchers) = (0, 0, Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Varint(time)) => from = time as i64,
            (2, Value::Varint(time)) => to = time as i64,
            (3, Value::Bytes(message)) => matchers.push(matcher(message)?),
            _ => {}
        }
    }
    Ok((from, to, matchers))
}

fn matcher(message: &[u8]) -> Result<Raw, ProtobufError> {
    let mut all = (MatchOp::Equal, String::new(), String::new());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Varint(1)) => all.0 = MatchOp::NotEqual,
            (1, Value::Varint(2)) => all.0 = MatchOp::Regex,
            (1, Value::Varint(3)) => all.0 = MatchOp::NotRegex,
            (2, Value::Bytes(text)) => all.1 = String::from_utf8_lossy(text).into_owned(),
            (3, Value::Bytes(text)) => all.2 = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    Ok(all)
}

fn answer(engine: &Engine, queries: &[Query]) -> Result<Vec<u8>, QueryError> {
    let mut out = Vec::new();
    for query in queries {
        let mut result = Vec::new();
        let mut snapshot = engine.select(&query.matchers, query.from, query.to);
        let mut order: Vec<usize> = (0..snapshot.len()).collect();
        order.sort_by(|&a, &b| snapshot.labels(a).cmp(snapshot.labels(b)));
        for index in order {
            let track = Selection::read(&mut snapshot, index, query.from, query.to)?;
            if !track.is_empty() {
                message(1, &series(snapshot.labels(index), &track), &mut result);
            }
            if out.len() + result.len() > ANSWER_BYTES_MAX {
                return Err(QueryError::execution(format!(
                    "answer would have more than {ANSWER_BYTES_MAX} bytes; ask for less time or fewer series"
                )));
            }
        }
        message(1, &result, &mut out);
    }
    let packed = snap::raw::Encoder::new().compress_vec(&out);
    packed.map_err(|error| QueryError::Internal(format!("answer cannot be packed: {error}")))
}

pub(super) fn message(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(super) fn varint(number: u64, value: u64, out: &mut Vec<u8>) {
    put_varint(number << 3, out);
    put_varint(value, out);
}

fn double(number: u64, value: f64, out: &mut Vec<u8>) {
    put_varint(number << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// The labels of a series, as the first field of several messages.
pub(super) fn label_fields(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    for (name, value) in labels {
        let mut label = Vec::with_capacity(name.len() + value.len() + 8);
        message(1, name.as_bytes(), &mut label);
        message(2, value.as_bytes(), &mut label);
        message(1, &label, &mut out);
    }
    out
}

fn series(labels: &Labels, track: &Track) -> Vec<u8> {
    let mut out = label_fields(labels);
    out.reserve(track.len() * 20);
    let mut sample = Vec::with_capacity(24);
    for (&time, &value) in track.times.iter().zip(&track.values) {
        sample.clear();
        double(1, value, &mut sample);
        varint(2, time as u64, &mut sample);
        message(2, &sample, &mut out);
    }
    for (time, histogram) in &track.histograms {
        message(4, &of_histogram(*time, histogram), &mut out);
    }
    out
}

/// A histogram with float counts, which hold those of the integer kind exactly.
fn of_histogram(time: i64, histogram: &Histogram) -> Vec<u8> {
    let mut out = Vec::new();
    double(2, histogram.count, &mut out);
    double(3, histogram.sum, &mut out);
    varint(4, zigzag(histogram.schema.into()), &mut out);
    double(5, histogram.zero_threshold, &mut out);
    double(7, histogram.zero_count, &mut out);
    side(8, 10, &histogram.negative, &mut out);
    side(11, 13, &histogram.positive, &mut out);
    let hint = match histogram.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    varint(14, hint, &mut out);
    varint(15, time as u64, &mut out);
    doubles(16, &histogram.custom_bounds, &mut out);
    out
}

fn side(spans: u64, counts: u64, buckets: &Buckets, out: &mut Vec<u8>) {
    for span in &buckets.spans {
        let mut inside = Vec::new();
        varint(1, zigzag(span.offset.into()), &mut inside);
        varint(2, span.length.into(), &mut inside);
        message(spans, &inside, out);
    }
    doubles(counts, &buckets.counts, out);
}

fn doubles(number: u64, values: &[f64], out: &mut Vec<u8>) {
    if !values.is_empty() {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        message(number, &bytes, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_body_is_read_or_refused_and_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = asked(&body);
            let packed = snap::raw::Encoder::new().compress_vec(&body).unwrap();
            let _ = asked(&packed);
        }
    }

    #[test]
    fn a_request_of_prometheus_is_understood() {
        let mut matcher = Vec::new();
        varint(1, 2, &mut matcher);
        message(2, b"job", &mut matcher);
        message(3, b"a|b", &mut matcher);
        let mut query = Vec::new();
        varint(1, 5, &mut query);
        varint(2, 9, &mut query);
        message(3, &matcher, &mut query);
        let mut body = Vec::new();
        message(1, &query, &mut body);
        let pack = |body: &[u8]| snap::raw::Encoder::new().compress_vec(body).unwrap();
        let asked_for = asked(&pack(&body)).unwrap();
        assert!(!asked_for.streamed);
        let read = asked_for.queries;
        assert_eq!((read[0].from, read[0].to), (5, 9));
        assert_eq!(read[0].matchers, [Matcher::new(MatchOp::Regex, "job", "a|b").unwrap()]);
        let streamed = |more: &[u8]| asked(&pack(&[&body, more].concat())).unwrap().streamed;
        // Packed, as Prometheus lists what it takes; the first that is known counts.
        assert!(streamed(&[2 << 3 | 2, 2, 1, 0]));
        assert!(!streamed(&[2 << 3 | 2, 2, 0, 1]));
        assert!(streamed(&[2 << 3, 9, 2 << 3, 1]));
        assert!(asked(&pack(&[2 << 3 | 2, 1, 0x80])).is_err());
    }
}

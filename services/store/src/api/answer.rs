//! Answers in Prometheus' JSON, to the byte.

use super::number::{number, timestamp};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;
use vakt_wire::http::{Response, full};

use crate::histogram::Histogram;
use crate::promql::{Grid, QueryError, Track, Value, is_absent};
use crate::series::Labels;

/// What a question gave: JSON, and what was told besides.
#[derive(Debug, Default)]
pub struct Answer {
    /// The value of `data`.
    pub data: Vec<u8>,
    /// What may make it wrong.
    pub warnings: Vec<String>,
    /// What may surprise.
    pub infos: Vec<String>,
}

impl From<Vec<u8>> for Answer {
    fn from(data: Vec<u8>) -> Answer {
        Answer { data, ..Answer::default() }
    }
}

/// Notes of one kind that an answer lists; of the rest it tells how many they are (Prometheus' bound).
const NOTES_MAX: usize = 10;

/// `{"status":"success","data":…}`, with warnings and infos when there are any.
pub fn success(answer: &Answer) -> Response {
    let mut body = Vec::with_capacity(answer.data.len() + 40);
    body.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    body.extend_from_slice(&answer.data);
    for (name, notes) in [("warnings", &answer.warnings), ("infos", &answer.infos)] {
        if notes.is_empty() {
            continue;
        }
        let mut listed = notes.iter().take(NOTES_MAX).cloned().collect::<Vec<_>>();
        if notes.len() > NOTES_MAX {
            let (more, kind) = (notes.len() - NOTES_MAX, name.trim_end_matches('s'));
            listed.push(format!("{more} more {kind} annotations omitted"));
        }
        body.extend_from_slice(format!(",\"{name}\":{}", json!(listed)).as_bytes());
    }
    body.push(b'}');
    of_json(StatusCode::OK, body)
}

/// An error in Prometheus' form, with the status that goes with its kind.
pub fn failure(error: &QueryError) -> Response {
    let (status, kind) = match error {
        QueryError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
        QueryError::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
        QueryError::Timeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        QueryError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    failed(status, kind, &error.to_string())
}

/// An error of this kind in Prometheus' form.
pub(super) fn failed(status: StatusCode, kind: &str, error: &str) -> Response {
    let body = json!({ "status": "error", "errorType": kind, "error": error });
    of_json(status, body.to_string().into_bytes())
}

fn of_json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = hyper::Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The data of an instant query.
pub fn instant(value: &Value, time: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    match value {
        Value::Scalar(values) => {
            out.extend_from_slice(b"{\"resultType\":\"scalar\",\"result\":");
            point(time, values.first().copied().unwrap_or(f64::NAN), &mut out);
        }
        Value::Text(text) => {
            out.extend_from_slice(b"{\"resultType\":\"string\",\"result\":[");
            timestamp(time, &mut out);
            out.push(b',');
            string(text, &mut out);
            out.push(b']');
        }
        Value::Vector(columns) => {
            out.extend_from_slice(b"{\"resultType\":\"vector\",\"result\":[");
            for (index, column) in columns.iter().enumerate() {
                comma(index, &mut out);
                out.extend_from_slice(b"{\"metric\":");
                labels(&column.labels, &mut out);
                match column.histogram(0) {
                    Some(histogram) => {
                        out.extend_from_slice(b",\"histogram\":");
                        super::histogram_json::point(time, histogram, &mut out);
                    }
                    None => {
                        out.extend_from_slice(b",\"value\":");
                        point(time, column.values[0], &mut out);
                    }
                }
                out.push(b'}');
            }
            out.push(b']');
        }
        Value::Matrix(series) => return raw(series),
    }
    out.push(b'}');
    out
}

/// The data of a range query; a scalar is one series without labels.
pub fn range(value: &Value, grid: Grid) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.extend_from_slice(b"{\"resultType\":\"matrix\",\"result\":[");
    match value {
        Value::Scalar(values) => {
            let points = grid.times().zip(values.iter().copied());
            row(&Labels::empty(), points, std::iter::empty(), &mut out);
        }
        Value::Vector(columns) => {
            let heads = Heads::of(grid);
            for (index, column) in columns.iter().enumerate() {
                comma(index, &mut out);
                if column.histograms.is_empty() {
                    out.extend_from_slice(b"{\"metric\":");
                    labels(&column.labels, &mut out);
                    out.extend_from_slice(b",\"values\":[");
                    heads.points(&column.values, &mut out);
                    out.extend_from_slice(b"]}");
                    continue;
                }
                let points = grid.times().zip(column.values.iter().copied());
                let histograms = grid.times().zip(&column.histograms);
                let histograms = histograms.filter_map(|(time, place)| Some((time, &**place.as_ref()?)));
                row(&column.labels, points, histograms, &mut out);
            }
        }
        Value::Text(_) | Value::Matrix(_) => {}
    }
    out.extend_from_slice(b"]}");
    out
}

/// The data of an instant query for a range selector.
fn raw(series: &[(Labels, Track)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.extend_from_slice(b"{\"resultType\":\"matrix\",\"result\":[");
    for (index, (labels, track)) in series.iter().enumerate() {
        comma(index, &mut out);
        let points = track.times.iter().copied().zip(track.values.iter().copied());
        let histograms = track.histograms.iter().map(|(time, histogram)| (*time, &**histogram));
        row(labels, points, histograms, &mut out);
    }
    out.extend_from_slice(b"]}");
    out
}

/// A series; floats and histograms have a list each, which is left out when it is empty and the other is not.
fn row<'a>(
    of: &Labels,
    points: impl Iterator<Item = (i64, f64)>,
    histograms: impl Iterator<Item = (i64, &'a Histogram)>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"metric\":");
    labels(of, out);
    let mut histograms = histograms.peekable();
    let mut points = points.filter(|(_, value)| !is_absent(*value)).peekable();
    if points.peek().is_some() || histograms.peek().is_none() {
        out.extend_from_slice(b",\"values\":[");
        for (index, (time, value)) in points.enumerate() {
            comma(index, out);
            point(time, value, out);
        }
        out.push(b']');
    }
    if histograms.peek().is_some() {
        out.extend_from_slice(b",\"histograms\":[");
        for (index, (time, histogram)) in histograms.enumerate() {
            comma(index, out);
            super::histogram_json::point(time, histogram, out);
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// A set of labels as a JSON object.
pub fn labels(labels: &Labels, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in labels.iter().enumerate() {
        comma(index, out);
        string(name, out);
        out.push(b':');
        string(value, out);
    }
    out.push(b'}');
}

/// A list of texts as JSON.
pub fn texts(list: impl Iterator<Item = impl AsRef<str>>) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, text) in list.enumerate() {
        comma(index, &mut out);
        string(text.as_ref(), &mut out);
    }
    out.push(b']');
    out
}

pub(super) fn comma(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

fn point(time: i64, value: f64, out: &mut Vec<u8>) {
    out.push(b'[');
    timestamp(time, out);
    out.extend_from_slice(b",\"");
    number(value, out);
    out.extend_from_slice(b"\"]");
}

/// How each point of a grid begins, `[TIME,"`: the same in every row.
struct Heads {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Heads {
    fn of(grid: Grid) -> Heads {
        let mut heads = Heads { text: Vec::new(), ends: vec![0] };
        for time in grid.times() {
            heads.text.push(b'[');
            timestamp(time, &mut heads.text);
            heads.text.extend_from_slice(b",\"");
            heads.ends.push(heads.text.len());
        }
        heads
    }

    /// The points of a row that are there, between commas.
    fn points(&self, values: &[f64], out: &mut Vec<u8>) {
        let there = self.ends.windows(2).zip(values).filter(|(_, value)| !is_absent(**value));
        for (index, (ends, value)) in there.enumerate() {
            comma(index, out);
            out.extend_from_slice(&self.text[ends[0]..ends[1]]);
            number(*value, out);
            out.extend_from_slice(b"\"]");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::Column;

    #[test]
    fn an_instant_vector_is_prometheus_json() {
        let labels: Labels = [("__name__", "up"), ("job", "a\"b")].into_iter().collect();
        let value = Value::Vector(vec![Column::floats(labels, vec![1.0])]);
        assert_eq!(
            String::from_utf8(instant(&value, 1_500)).unwrap(),
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a\"b"},"value":[1.500,"1"]}]}"#
        );
        assert_eq!(
            String::from_utf8(range(&value, Grid::instant(-2_050))).unwrap(),
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a\"b"},"values":[[-2.050,"1"]]}]}"#
        );
    }
}

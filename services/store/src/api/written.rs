//! The answers to who pushes samples: each protocol has its own.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::json;
use vakt_wire::http::{Response, empty, full, text};

use super::write::Form;
use crate::engine::Report;
use crate::protobuf::put_varint;

/// What remote-write 2.0 must be told about what was written.
const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// How a sender is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// Text: remote-write and the imports.
    Plain,
    /// OTLP's messages, in protobuf.
    Otlp,
    /// The same in JSON.
    OtlpJson,
}

impl Voice {
    /// For a request to this path; its form is `None` when it is one of none.
    pub(super) fn of(path: &str, form: Option<&Form>) -> Voice {
        match form {
            Some(Form::OtlpJson) => Voice::OtlpJson,
            Some(Form::Otlp) => Voice::Otlp,
            None if path.contains("/otlp/") || path.contains("/opentelemetry/") => Voice::Otlp,
            _ => Voice::Plain,
        }
    }

    /// What was stored is durable.
    pub(super) fn acknowledged(self, report: &Report) -> Response {
        match self {
            Voice::Plain => acknowledged(report),
            Voice::Otlp => message("application/x-protobuf", partial_success(report)),
            Voice::OtlpJson => message("application/json", partial_success_json(report)),
        }
    }

    /// Nothing is promised.
    pub(super) fn refused(self, status: StatusCode, reason: &str) -> Response {
        // OTLP has the codes of gRPC: unavailable, or an argument that is invalid.
        let code = if status == StatusCode::SERVICE_UNAVAILABLE { 14 } else { 3 };
        let mut response = match self {
            Voice::Plain => text(status, format!("{reason}\n")),
            Voice::Otlp => {
                let mut said = vec![0x08, code];
                put_text(2, reason, &mut said);
                message("application/x-protobuf", said)
            }
            Voice::OtlpJson => message(
                "application/json",
                json!({ "code": code, "message": reason }).to_string().into_bytes(),
            ),
        };
        *response.status_mut() = status;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn acknowledged(report: &Report) -> Response {
    let mut response = match &report.reason {
        None => {
            let mut response = hyper::Response::new(empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Some(reason) => {
            let (stored, dropped) = (report.accepted + report.histograms, report.dropped);
            text(StatusCode::BAD_REQUEST, format!("{stored} samples stored, {dropped} dropped: {reason}\n"))
        }
    };
    for (name, count) in WRITTEN.into_iter().zip([report.accepted, report.histograms, report.exemplars]) {
        response.headers_mut().insert(name, HeaderValue::from(count));
    }
    response
}

/// The message ExportMetricsServiceResponse, empty when all was stored.
fn partial_success(report: &Report) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(reason) = &report.reason {
        // Field 1 of it: 1 rejected points, 2 why.
        let mut partial = vec![0x08];
        put_varint(report.dropped, &mut partial);
        put_text(2, reason, &mut partial);
        all.push(0x0a);
        put_varint(partial.len() as u64, &mut all);
        all.extend_from_slice(&partial);
    }
    all
}

/// The same in JSON, where 64-bit integers are text.
fn partial_success_json(report: &Report) -> Vec<u8> {
    let partial = match &report.reason {
        None => json!({}),
        Some(reason) => {
            json!({ "rejectedDataPoints": report.dropped.to_string(), "errorMessage": reason })
        }
    };
    json!({ "partialSuccess": partial }).to_string().into_bytes()
}

fn put_text(field: u8, text: &str, out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn message(kind: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = hyper::Response::new(full(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn otlp_is_told_what_was_refused_in_its_own_form() {
        let report = Report { dropped: 3, reason: Some("no".into()), ..Report::default() };
        assert_eq!(partial_success(&report), [0x0a, 6, 0x08, 3, 0x12, 2, b'n', b'o']);
        let said = String::from_utf8(partial_success_json(&report)).unwrap();
        assert_eq!(said, r#"{"partialSuccess":{"errorMessage":"no","rejectedDataPoints":"3"}}"#);
        assert_eq!(partial_success(&Report::default()), [0; 0]);
        assert_eq!(partial_success_json(&Report::default()), br#"{"partialSuccess":{}}"#);
    }
}

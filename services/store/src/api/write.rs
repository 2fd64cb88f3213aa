//! What pushes samples: remote-write 1.0 and 2.0 (`POST /api/v1/write`), OTLP (`/api/v1/otlp/v1/metrics`), and the two
//! imports (`/api/v1/import/prometheus`, `/api/v1/import/csv`).
//!
//! 204 (OTLP: 200) means durable. 400 means that at least one sample was not stored and will not be when sent again;
//! what could be stored is durable then. 415 means that the sender should use another form. 503 means that nothing is
//! promised and the sender should try again.

use std::sync::PoisonError;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::sync::oneshot;
use vakt_wire::form::pairs;
use vakt_wire::http::{Request, Response, empty, full, read, text};

use super::Api;
use crate::engine::{Report, WriteError};
use crate::ingest::body::{BodyError, PACKED_BYTES_MAX, Packing};
use crate::ingest::{CsvForm, RequestError, TextForm, WriteRequest};
use crate::protobuf::put_varint;
use crate::wal::WalError;

/// The memory of an unusually large request is given back above this many samples, or bytes.
const KEPT_SAMPLES_MAX: usize = 100_000;
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What remote-write 2.0 must be told about what was written.
const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// What takes samples. The two last are where VictoriaMetrics has OTLP.
pub(super) const PATHS: [&str; 6] = [
    "/api/v1/write",
    "/api/v1/import/prometheus",
    "/api/v1/import/csv",
    "/api/v1/otlp/v1/metrics",
    "/opentelemetry/v1/metrics",
    "/opentelemetry/api/v1/push",
];

type Durable = oneshot::Receiver<Result<(), WalError>>;

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Form(String),
    #[error(transparent)]
    Malformed(#[from] RequestError),
    #[error(transparent)]
    Later(#[from] WriteError),
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        match error {
            BodyError::Unknown(_) => Refusal::Form(error.to_string()),
            other => Refusal::Malformed(other.into()),
        }
    }
}

/// The memory in which requests are read.
#[derive(Default)]
pub(super) struct Intake {
    request: WriteRequest,
    unpacked: Vec<u8>,
}

/// The form of a request's body.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    RemoteWrite,
    RemoteWrite2,
    Otlp,
    Text(TextForm),
    Csv(CsvForm),
}

impl Form {
    /// OTLP has a JSON form too, which is not taken.
    fn of_otlp(kind: Option<&str>) -> Result<Form, Refusal> {
        let protobuf = kind.is_none_or(|kind| kind.split(';').next() == Some("application/x-protobuf"));
        let want = "send application/x-protobuf";
        if protobuf {
            Ok(Form::Otlp)
        } else {
            Err(Refusal::Form(format!("content-type {kind:?} is not taken; {want}")))
        }
    }

    /// Text, or CSV where the query has a format.
    fn of_import(request: &Request, csv: bool, now: i64) -> Result<Form, Refusal> {
        let (mut now, mut extra, mut format) = (now, Vec::new(), None);
        let bad = |what: String| Refusal::Malformed(RequestError::Text(what));
        for (name, value) in pairs(request.uri().query().unwrap_or_default()) {
            match name.as_str() {
                "timestamp" => {
                    let millis = value
                        .parse()
                        .map_err(|_| bad(format!("timestamp {value:?} is no number of milliseconds")));
                    now = millis?;
                }
                "extra_label" => match value.split_once('=') {
                    Some((label, value)) => extra.push((label.to_owned(), value.to_owned())),
                    None => return Err(bad(format!("extra_label {value:?} is not name=value"))),
                },
                "format" => format = Some(value),
                _ => {}
            }
        }
        if !csv {
            let open_metrics =
                request.header("content-type").is_some_and(|kind| kind.contains("openmetrics"));
            return Ok(Form::Text(TextForm { now, open_metrics, extra }));
        }
        let format = format
            .ok_or_else(|| bad("no format is given; example: format=1:time:unix_s,2:metric:load".into()))?;
        let mut form = CsvForm::of(&format).map_err(bad)?;
        (form.now, form.extra) = (now, extra);
        Ok(Form::Csv(form))
    }

    /// The form that `POST /api/v1/write` has by its content type.
    fn of_remote_write(kind: Option<&str>) -> Result<Form, Refusal> {
        let kind = kind.unwrap_or("application/x-protobuf");
        let mut parts = kind.split(';').map(str::trim);
        if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/x-protobuf")) {
            let want = "send application/x-protobuf, remote-write 1.0 or 2.0";
            return Err(Refusal::Form(format!("content-type {kind:?} is not taken; {want}")));
        }
        match parts.find_map(|part| part.strip_prefix("proto=")) {
            None | Some("prometheus.WriteRequest") => Ok(Form::RemoteWrite),
            Some("io.prometheus.write.v2.Request") => Ok(Form::RemoteWrite2),
            Some(other) => {
                let known = "prometheus.WriteRequest and io.prometheus.write.v2.Request are";
                Err(Refusal::Form(format!("message {other} is not taken; {known}")))
            }
        }
    }

    fn read(&self, intake: &mut Intake) -> Result<(), RequestError> {
        match self {
            Form::RemoteWrite => intake.request.read_remote_write(&mut intake.unpacked),
            Form::RemoteWrite2 => intake.request.read_remote_write2(&intake.unpacked),
            Form::Otlp => intake.request.read_otlp(&intake.unpacked),
            Form::Text(form) => intake.request.read_text(&intake.unpacked, form),
            Form::Csv(form) => intake.request.read_csv(&intake.unpacked, form),
        }
    }
}

impl Api {
    /// Takes a request to one of [`PATHS`].
    pub(super) async fn push(&self, path: &str, request: Request) -> Response {
        let kind = request.header("content-type");
        let form = match path {
            "/api/v1/write" => Form::of_remote_write(kind),
            "/api/v1/import/prometheus" => Form::of_import(&request, false, self.engine.now()),
            "/api/v1/import/csv" => Form::of_import(&request, true, self.engine.now()),
            _ => Form::of_otlp(kind),
        };
        let absent = if path == "/api/v1/write" { Packing::Snappy } else { Packing::Plain };
        match form {
            Ok(form) => self.take_in(request, form, absent).await,
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// Takes a body of this form; `absent` is its packing when it names none.
    async fn take_in(&self, request: Request, form: Form, absent: Packing) -> Response {
        let packing = match Packing::of(request.header("content-encoding"), absent) {
            Ok(packing) => packing,
            Err(error) => return self.refuse(&error.into()),
        };
        let body = match read(request.body, PACKED_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let taken = self.take(&body, &form, packing);
        drop(body);
        let (report, durable) = match taken {
            Ok(taken) => taken,
            Err(refusal) => return self.refuse(&refusal),
        };
        match durable.await {
            Ok(Ok(())) if form == Form::Otlp => partial_success(&report),
            Ok(Ok(())) => acknowledged(&report),
            Ok(Err(error)) => later(&error),
            Err(_) => later(&"the write-ahead log ended"),
        }
    }

    /// Reads and takes a request; nothing here waits.
    fn take(&self, body: &[u8], form: &Form, packing: Packing) -> Result<(Report, Durable), Refusal> {
        let mut intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        packing.unpack(body, &mut intake.unpacked)?;
        form.read(&mut intake)?;
        let (sender, durable) = oneshot::channel();
        // The receiver is gone when the client is; its samples are stored all the same.
        let report = self.engine.write(&intake.request, Box::new(move |outcome| drop(sender.send(outcome))));
        if intake.request.capacity() > KEPT_SAMPLES_MAX || intake.unpacked.capacity() > KEPT_BYTES_MAX {
            *intake = Intake::default();
        }
        Ok((report?, durable))
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        let status = match refusal {
            Refusal::Form(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::Later(_) => return later(refusal),
        };
        self.engine.counters().bad_requests.add(1);
        text(status, format!("{refusal}\n"))
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

/// OTLP's answer: the message ExportMetricsServiceResponse, empty when all was stored.
fn partial_success(report: &Report) -> Response {
    let mut message = Vec::new();
    if let Some(reason) = &report.reason {
        // Field 1 of it: 1 rejected points, 2 why.
        let mut partial = vec![0x08];
        put_varint(report.dropped, &mut partial);
        partial.push(0x12);
        put_varint(reason.len() as u64, &mut partial);
        partial.extend_from_slice(reason.as_bytes());
        message.push(0x0a);
        put_varint(partial.len() as u64, &mut message);
        message.extend_from_slice(&partial);
    }
    let mut response = hyper::Response::new(full(message));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response
}

fn later(reason: &dyn std::fmt::Display) -> Response {
    tracing::warn!(%reason, "write is put off");
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_says_which_version_it_is() {
        let check = |kind, expected: Option<Form>| {
            assert_eq!(Form::of_remote_write(kind).ok(), expected, "{kind:?}");
        };
        check(None, Some(Form::RemoteWrite));
        check(Some("application/x-protobuf"), Some(Form::RemoteWrite));
        check(Some("application/x-protobuf;proto=prometheus.WriteRequest"), Some(Form::RemoteWrite));
        check(Some("application/x-protobuf; proto=io.prometheus.write.v2.Request"), Some(Form::RemoteWrite2));
        check(Some("application/x-protobuf;proto=io.prometheus.write.v3.Request"), None);
        check(Some("application/json"), None);
    }
}

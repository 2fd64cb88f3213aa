//! What pushes samples: remote-write 1.0 and 2.0 (`POST /api/v1/write`), OTLP (`/api/v1/otlp/v1/metrics`), and the two
//! imports (`/api/v1/import/prometheus`, `/api/v1/import/csv`).
//!
//! 204 (OTLP: 200) means durable. 400 means that at least one sample was not stored and will not be when sent again;
//! what could be stored is durable then. 415 means that the sender should use another form. 503 means that nothing is
//! promised and the sender should try again.

use std::sync::PoisonError;

use hyper::StatusCode;
use tokio::sync::oneshot;
use vakt_wire::form::pairs;
use vakt_wire::http::{CallError, Peer, Request, Response, read};

use super::Api;
use super::written::Voice;
use crate::engine::{Report, WriteError};
use crate::ingest::body::{BodyError, PACKED_BYTES_MAX, Packing};
use crate::ingest::{CsvForm, Deltas, RequestError, TextForm, WriteRequest, onward};
use crate::wal::WalError;

/// The memory of an unusually large request is given back above this many samples, or bytes.
const KEPT_SAMPLES_MAX: usize = 100_000;
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What takes samples. The two last are where VictoriaMetrics has OTLP.
pub(super) const PATHS: [&str; 6] = [
    "/api/v1/write",
    "/api/v1/import/prometheus",
    "/api/v1/import/csv",
    "/api/v1/otlp/v1/metrics",
    "/opentelemetry/v1/metrics",
    "/opentelemetry/api/v1/push",
];

/// A body of remote-write 1.0, packed by snappy, and its samples.
type Onward = (Vec<u8>, u64);

type Durable = oneshot::Receiver<Result<(), WalError>>;

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Form(String),
    #[error(transparent)]
    Malformed(#[from] RequestError),
    #[error(transparent)]
    Body(vakt_wire::http::BodyError),
    #[error(transparent)]
    Later(#[from] WriteError),
    #[error(transparent)]
    Onward(#[from] CallError),
    #[error("the write-ahead log ended")]
    Ended,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Form(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Malformed(_) | Refusal::Body(_) => StatusCode::BAD_REQUEST,
            Refusal::Later(_) | Refusal::Onward(_) | Refusal::Ended => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
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
    OtlpJson,
    Text(TextForm),
    Csv(CsvForm),
}

impl Form {
    /// OTLP has a form in protobuf and one in JSON.
    fn of_otlp(kind: Option<&str>) -> Result<Form, Refusal> {
        let name = kind.unwrap_or("application/x-protobuf").split(';').next().unwrap_or_default().trim();
        match name.to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Ok(Form::Otlp),
            "application/json" => Ok(Form::OtlpJson),
            _ => {
                let want = "send application/x-protobuf or application/json";
                Err(Refusal::Form(format!("content-type {name:?} is not taken; {want}")))
            }
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

    fn read(&self, intake: &mut Intake, deltas: &mut Deltas) -> Result<(), RequestError> {
        match self {
            Form::RemoteWrite => intake.request.read_remote_write(&mut intake.unpacked),
            Form::RemoteWrite2 => intake.request.read_remote_write2(&intake.unpacked),
            Form::Otlp => intake.request.read_otlp(&intake.unpacked, deltas),
            Form::OtlpJson => intake.request.read_otlp_json(&intake.unpacked, deltas),
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
        let form = match form {
            Ok(form) => form,
            Err(refusal) => return self.refuse(&refusal, Voice::of(path, None)),
        };
        let voice = Voice::of(path, Some(&form));
        match self.take_in(request, &form, absent).await {
            Ok(report) => voice.acknowledged(&report),
            Err(refusal) => self.refuse(&refusal, voice),
        }
    }

    /// Takes a body of this form; `absent` is its packing when it names none.
    async fn take_in(&self, request: Request, form: &Form, absent: Packing) -> Result<Report, Refusal> {
        let packing = Packing::of(request.header("content-encoding"), absent)?;
        let source = source_of(request.peer);
        let body = read(request.body, PACKED_BYTES_MAX).await.map_err(Refusal::Body)?;
        let taken = self.take(&body, form, packing, &source);
        drop(body);
        let (report, durable, onward) = taken?;
        durable.await.map_err(|_| Refusal::Ended)?.map_err(WriteError::from)?;
        if let (Some(forwarder), Some((body, samples))) = (&self.forwarder, onward) {
            forwarder.hand_over(body, samples).await?;
        }
        Ok(report)
    }

    /// Reads and takes a request; nothing here waits.
    fn take(
        &self,
        body: &[u8],
        form: &Form,
        packing: Packing,
        source: &str,
    ) -> Result<(Report, Durable, Option<Onward>), Refusal> {
        // A body that would be put off is not read: deltas would be added up for nothing.
        self.engine.admits()?;
        let mut intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        packing.unpack(body, &mut intake.unpacked)?;
        {
            let mut deltas = self.deltas.lock().unwrap_or_else(PoisonError::into_inner);
            deltas.at(self.engine.now());
            form.read(&mut intake, &mut deltas)?;
        }
        let (sender, durable) = oneshot::channel();
        // The receiver is gone when the client is; its samples are stored all the same.
        let report =
            self.engine.write(&intake.request, source, Box::new(move |outcome| drop(sender.send(outcome))));
        let onward = match &report {
            Ok(report) if self.forwarder.is_some() && report.stored() > 0 => {
                Some(onward_of(&intake.request, report, body, form, packing))
            }
            _ => None,
        };
        if intake.request.capacity() > KEPT_SAMPLES_MAX || intake.unpacked.capacity() > KEPT_BYTES_MAX {
            *intake = Intake::default();
        }
        Ok((report?, durable, onward))
    }

    fn refuse(&self, refusal: &Refusal, voice: Voice) -> Response {
        let status = refusal.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(reason = %refusal, "write is put off");
        } else {
            self.engine.counters().bad_requests.add(1);
        }
        voice.refused(status, &refusal.to_string())
    }
}

/// What goes on to engines elsewhere: a body of remote-write 1.0 with what was stored, as it came where it is one and all was.
fn onward_of(request: &WriteRequest, report: &Report, body: &[u8], form: &Form, packing: Packing) -> Onward {
    let body = if *form == Form::RemoteWrite && packing == Packing::Snappy && report.dropped == 0 {
        body.to_vec()
    } else {
        let part =
            onward::encode_part(request, |series| report.has_series(series), |time| report.has_time(time));
        // Labels that cannot be read are not stored.
        part.unwrap_or_default()
    };
    (body, report.stored())
}

/// Who sends, as limits tell sources apart: an address, or a service of this box.
fn source_of(peer: Peer) -> String {
    match peer {
        Peer::Unix { uid } => format!("uid {uid}"),
        Peer::Tcp(address) => address.ip().to_canonical().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn otlp_is_taken_in_protobuf_and_in_json() {
        let check = |kind, expected: Option<Form>| {
            assert_eq!(Form::of_otlp(kind).ok(), expected, "{kind:?}");
        };
        check(None, Some(Form::Otlp));
        check(Some("application/x-protobuf; charset=utf-8"), Some(Form::Otlp));
        check(Some("Application/JSON; charset=utf-8"), Some(Form::OtlpJson));
        check(Some("text/plain"), None);
    }

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

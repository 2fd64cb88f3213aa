//! `POST /api/v1/write`: Prometheus remote-write 1.0.
//!
//! 204 means durable. 400 means that at least one sample was not stored and will not be when sent again; what could
//! be stored is durable then. 503 means that nothing is promised and the sender should try again.

use std::sync::PoisonError;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use tokio::sync::oneshot;
use vakt_wire::http::{Request, Response, empty, read, text};

use super::Api;
use crate::engine::{Report, WriteError};
use crate::remote_write::{PACKED_BYTES_MAX, RequestError, WriteRequest};
use crate::wal::WalError;

/// The memory of an unusually large request is given back above this many samples.
const KEPT_SAMPLES_MAX: usize = 100_000;

type Durable = oneshot::Receiver<Result<(), WalError>>;

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Malformed(#[from] RequestError),
    #[error(transparent)]
    Later(#[from] WriteError),
}

impl Api {
    pub(super) async fn write(&self, request: Request) -> Response {
        if let Some(kind) = request.header("content-type").filter(|kind| kind.contains("write.v2")) {
            let reason = format!("{kind}: remote-write 2.0 is not supported, send 1.0\n");
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
        }
        let body = match read(request.body, PACKED_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let taken = self.take(&body);
        drop(body);
        let (report, durable) = match taken {
            Ok(taken) => taken,
            Err(error @ Refusal::Malformed(_)) => {
                self.engine.counters().bad_requests.add(1);
                return text(StatusCode::BAD_REQUEST, format!("{error}\n"));
            }
            Err(error @ Refusal::Later(_)) => return later(&error),
        };
        match durable.await {
            Ok(Ok(())) => acknowledged(&report),
            Ok(Err(error)) => later(&error),
            Err(_) => later(&"the write-ahead log ended"),
        }
    }

    /// Reads and takes a request; nothing here waits.
    fn take(&self, body: &[u8]) -> Result<(Report, Durable), Refusal> {
        let mut request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        request.read(body)?;
        let (sender, durable) = oneshot::channel();
        // The receiver is gone when the client is; its samples are stored all the same.
        let report = self.engine.write(&request, Box::new(move |outcome| drop(sender.send(outcome))));
        if request.samples.capacity() > KEPT_SAMPLES_MAX {
            *request = WriteRequest::default();
        }
        Ok((report?, durable))
    }
}

fn acknowledged(report: &Report) -> Response {
    match &report.reason {
        None => {
            let mut response = hyper::Response::new(empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Some(reason) => {
            let (accepted, dropped) = (report.accepted, report.dropped);
            text(StatusCode::BAD_REQUEST, format!("{accepted} samples stored, {dropped} dropped: {reason}\n"))
        }
    }
}

fn later(reason: &dyn std::fmt::Display) -> Response {
    tracing::warn!(%reason, "write is put off");
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

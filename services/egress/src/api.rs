//! The HTTP API: `POST /api/v1/write?samples=N` for store, `GET /v1/forwards` for web, `/metrics`, `/health`; and for web
//! Prometheus' queries, which go to the engine of `[read_from]`.
//!
//! 204 means that the request is on the disk, or that there is no place to write to.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use vakt_wire::http::{Handler, Peer, Request, Response, empty, error, full, json, read, text};
use vakt_wire::role::{Role, permits};

use crate::queue::{Appender, BODY_BYTES_MAX, Queue, QueueError, Record};
use crate::read::{Answer, QUERY_BYTES_MAX, Query, Reader, is_query};
use crate::send::{Place, Standing};

/// Answers the API's requests.
#[derive(Debug)]
pub struct Api {
    /// The queue.
    pub queue: Arc<Queue>,
    /// Appends to it.
    pub appender: Appender,
    /// All places.
    pub places: Vec<Arc<Place>>,
    /// What the pages read from.
    pub reader: Option<Reader>,
}

impl Handler for Api {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        match (request.method(), request.path()) {
            (&Method::POST, "/api/v1/write") if allowed(request.peer, &[Role::Store]) => {
                self.write(request).await
            }
            (&Method::GET, "/v1/forwards") if allowed(request.peer, &[Role::Web, Role::Init]) => {
                json(StatusCode::OK, &self.standings())
            }
            (&Method::GET, "/metrics") if allowed(request.peer, &[Role::Web, Role::Collector]) => {
                text(StatusCode::OK, self.metrics())
            }
            (&Method::GET | &Method::POST, path) if is_query(path) => {
                if !allowed(request.peer, &[Role::Web]) {
                    return error(StatusCode::FORBIDDEN, "web reads here");
                }
                self.read(request).await
            }
            (&Method::GET, "/health") => text(StatusCode::OK, "ok"),
            (_, "/api/v1/write" | "/v1/forwards" | "/metrics") => {
                error(StatusCode::FORBIDDEN, "store writes here, web and collector read")
            }
            (_, path) => error(StatusCode::NOT_FOUND, format!("no such page: {path}")),
        }
    }
}

impl Api {
    async fn write(&self, request: Request) -> Response {
        // store knows how many, and nobody has to unpack the body here.
        let samples = request.uri().query().and_then(|query| query.strip_prefix("samples=")?.parse().ok());
        let Some(samples) = samples else {
            return error(
                StatusCode::BAD_REQUEST,
                "the query does not say how many samples; example: ?samples=290",
            );
        };
        let body = match read(request.body, BODY_BYTES_MAX).await {
            Ok(body) => body,
            Err(reason) => return error(StatusCode::BAD_REQUEST, reason),
        };
        if !self.places.is_empty() {
            let record = Record { samples, time_ms: now_ms(), body: body.into() };
            match self.appender.append(record).await {
                Ok(()) => {}
                Err(reason @ QueueError::TooLarge(_)) => return error(StatusCode::PAYLOAD_TOO_LARGE, reason),
                Err(reason) => {
                    tracing::error!(%reason, "a request is not queued");
                    return error(StatusCode::SERVICE_UNAVAILABLE, reason);
                }
            }
        }
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert("x-vakt-places", HeaderValue::from(self.places.len()));
        response
    }

    async fn read(&self, request: Request) -> Response {
        let Some(reader) = &self.reader else {
            return error(StatusCode::NOT_FOUND, "no engine to read from; it is [read_from] of the config");
        };
        let method = request.method().clone();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let kind = request.head.headers.get(CONTENT_TYPE).cloned();
        let body = match read(request.body, QUERY_BYTES_MAX).await {
            Ok(body) => body,
            Err(reason) => return error(StatusCode::BAD_REQUEST, reason),
        };
        match reader.ask(&Query { method, target, kind, body }).await {
            Ok(Answer { status, body }) => {
                let mut response = Response::new(full(body));
                *response.status_mut() = status;
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
            Err(reason) => {
                tracing::warn!(reason, "a page's query has no answer");
                let said = json!({ "status": "error", "errorType": "unavailable", "error": reason });
                json(StatusCode::BAD_GATEWAY, &said)
            }
        }
    }

    fn standings(&self) -> Vec<Standing> {
        self.places.iter().map(|place| place.standing(&self.queue)).collect()
    }

    fn metrics(&self) -> String {
        type Figure = (&'static str, &'static str, &'static str, fn(&Standing) -> f64);
        const FIGURES: [Figure; 6] = [
            ("vakt_egress_sent_samples_total", "counter", "Samples that the place acknowledged.", |s| {
                s.sent_samples as f64
            }),
            (
                "vakt_egress_refused_samples_total",
                "counter",
                "Samples that the place refused for good.",
                |s| s.refused_samples as f64,
            ),
            ("vakt_egress_lost_samples_total", "counter", "Samples dropped before they were sent.", |s| {
                s.lost_samples as f64
            }),
            ("vakt_egress_pending_samples", "gauge", "Samples that wait for the place.", |s| {
                s.pending_samples as f64
            }),
            ("vakt_egress_pending_bytes", "gauge", "Bytes that wait for the place.", |s| {
                s.pending_bytes as f64
            }),
            ("vakt_egress_up", "gauge", "Whether the place takes samples.", |s| {
                f64::from(u8::from(s.error.is_none()))
            }),
        ];
        let standings = self.standings();
        let mut text = String::new();
        for (name, kind, help, value) in FIGURES {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for standing in &standings {
                let _ = writeln!(text, "{name}{{place=\"{}\"}} {}", standing.name, value(standing));
            }
        }
        let _ = writeln!(
            text,
            "# HELP vakt_egress_queue_bytes Bytes of the queue.\n# TYPE vakt_egress_queue_bytes gauge\n\
             vakt_egress_queue_bytes {}",
            self.queue.bytes()
        );
        text
    }
}

/// Over TCP only where the operator asked for it, and then from this machine only.
fn allowed(peer: Peer, roles: &[Role]) -> bool {
    match peer {
        Peer::Unix { uid } => permits(uid, rustix::process::geteuid().as_raw(), roles),
        Peer::Tcp(address) => address.ip().is_loopback(),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

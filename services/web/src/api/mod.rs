//! The public API: requests of programs, answered or passed on to the store and the log service.
//!
//! A program shows a bearer token of the machine config with the route's scope; a browser that is
//! signed in may read (GET) with its cookie, and administer the store with a form of ours ([`store_admin`]). Bodies and answers are streamed, bounded by
//! [`WRITE_BYTES_MAX`] and [`QUERY_BYTES_MAX`]; hop-by-hop headers and cookies stay here.

mod backup;
mod config;
mod reset;
mod sbom;
mod store_admin;
mod token;
mod update;

use std::io;

use http_body_util::{BodyExt, Limited};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use vakt_wire::config::Scope;
use vakt_wire::http::{Body, CallError, Request, Response, json};

use crate::app::{App, Caller};
use crate::routes::{Endpoint, Route};
use crate::{audit, backend};

pub use token::{Refusal, scope_name};

/// Bytes of a pushed body.
pub const WRITE_BYTES_MAX: usize = 64 << 20;
/// Bytes of a query sent as a form.
pub const QUERY_BYTES_MAX: usize = 1 << 20;

/// Headers that are passed on; all others end here.
const PASSED_ON: [HeaderName; 6] =
    [ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT];
/// Headers of answers that are passed back; the last ones tell who pushes when to come again and what was written.
const PASSED_BACK: [HeaderName; 6] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    RETRY_AFTER,
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// Passes a request on, if its caller may.
pub async fn answer(app: &App, route: &Route, scope: Scope, caller: &Caller, request: Request) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let cookie_alone = caller.session.is_some() && request.header("authorization").is_none();
    if route.endpoint == Endpoint::StoreAdmin && cookie_alone {
        return store_admin::by_form(app, route, caller, request).await;
    }
    let cookie_reads = caller.session.is_some() && reads;
    let mut by = String::new();
    if !cookie_reads || request.header("authorization").is_some() {
        match token::check(&app.tokens, request.header("authorization"), scope) {
            Ok(name) => by = format!("token {name}"),
            Err(refusal) => {
                audit::decided("token", refusal.token(), caller.address, false, refusal.reason());
                return refused(&refusal, scope);
            }
        }
    }
    if route.endpoint == Endpoint::Config {
        return config::answer(app, &by, caller, request).await;
    }
    if matches!(route.endpoint, Endpoint::Backup | Endpoint::Restore) {
        return backup::answer(app, route.endpoint, &by, caller, request).await;
    }
    if route.endpoint == Endpoint::Reset {
        return reset::answer(app, &by, caller, request).await;
    }
    if route.endpoint == Endpoint::Updates {
        return update::answer(app, &by, caller, request).await;
    }
    if route.endpoint == Endpoint::Sbom {
        return sbom::answer().await;
    }
    if route.endpoint == Endpoint::StoreAdmin {
        audit::decided(store_admin::EVENT, &by, caller.address, true, "");
    }
    pass_on(app, route, request).await
}

fn refused(refusal: &Refusal, scope: Scope) -> Response {
    let (status, kind) = match refusal {
        Refusal::Scope { .. } => (StatusCode::FORBIDDEN, "forbidden"),
        _ => (StatusCode::UNAUTHORIZED, "unauthorized"),
    };
    let mut response = problem(status, kind, refusal.reason());
    if let Ok(value) = HeaderValue::from_str(&refusal.challenge(scope)) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// An error in the shape of Prometheus' API.
fn problem(status: StatusCode, kind: &str, message: &str) -> Response {
    json(status, &serde_json::json!({ "status": "error", "errorType": kind, "error": message }))
}

async fn pass_on(app: &App, route: &Route, request: Request) -> Response {
    let is_write =
        matches!(route.access, crate::routes::Access::Program(Scope::MetricsWrite | Scope::LogsWrite));
    let bytes_max = if is_write { WRITE_BYTES_MAX } else { QUERY_BYTES_MAX };
    let declared = request.header("content-length").and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|declared| declared > bytes_max) {
        let message = format!("body is larger than {bytes_max} bytes");
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &message);
    }
    let body = Limited::new(request.body, bytes_max).map_err(io::Error::other).boxed();
    send_on(app, route, &request.head, body).await
}

/// Sends a request on with a body that is bounded, and hands the answer back.
async fn send_on(app: &App, route: &Route, head: &Parts, body: Body) -> Response {
    let (service, client) = match route.endpoint {
        Endpoint::Log => ("log", &app.backends.raw_log),
        Endpoint::StoreAdmin => ("store", &app.backends.admin_store),
        _ => ("store", &app.backends.raw_store),
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut onward = hyper::Request::builder().method(head.method.clone()).uri(target);
    for (name, value) in &head.headers {
        if PASSED_ON.contains(name) || name.as_str().starts_with("x-prometheus-") {
            onward = onward.header(name, value);
        }
    }
    let Ok(onward) = onward.body(body) else {
        return problem(StatusCode::BAD_REQUEST, "bad_data", "the request cannot be passed on");
    };
    match client.open(onward).await {
        Ok(answer) => pass_back(answer),
        Err(error) => unanswered(service, &error),
    }
}

fn pass_back(answer: hyper::Response<hyper::body::Incoming>) -> Response {
    let (head, body) = answer.into_parts();
    let mut response = Response::new(body.map_err(io::Error::other).boxed());
    *response.status_mut() = head.status;
    for name in PASSED_BACK {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn unanswered(service: &str, error: &CallError) -> Response {
    let status = match error {
        CallError::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    problem(status, "unavailable", &backend::unavailable(service, error))
}

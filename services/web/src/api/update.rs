//! `/api/vakt/v1/update`: the update service for `vaktctl` and other programs. An archive is passed on as
//! it comes; update decides about it.

use std::io;

use http_body_util::{BodyExt, Limited};
use hyper::{Method, StatusCode};
use serde_json::{Value, json as object};
use vakt_wire::http::{CallError, Request, Response, error, json};

use crate::app::{App, Caller};
use crate::handlers::updates::UPLOAD_BYTES_MAX;
use crate::{audit, backend};

/// Answers a program that `by` names; an empty name is somebody who is signed in and reads.
pub async fn answer(app: &App, by: &str, caller: &Caller, request: Request) -> Response {
    let update = &app.backends.update;
    let path = request.path().replacen("/api/vakt", "", 1);
    if request.method() == Method::POST {
        audit::decided("update", by, caller.address, true, "");
    }
    let answered = match (request.method().clone(), path.as_str()) {
        (Method::POST, "/v1/update/archive") => {
            let archive = Limited::new(request.body, UPLOAD_BYTES_MAX as usize).map_err(io::Error::other);
            update.take(archive.boxed()).await
        }
        (method, path) => update.raw(method, path).await,
    };
    match answered {
        Ok(said) => json(StatusCode::OK, &said),
        Err(CallError::Refused { status, body, .. }) if status.is_client_error() => {
            json(status, &serde_json::from_str::<Value>(&body).unwrap_or_else(|_| object!({ "error": body })))
        }
        Err(reason) => error(StatusCode::BAD_GATEWAY, backend::unavailable("update", &reason)),
    }
}

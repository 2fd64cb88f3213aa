//! `/api/vakt/v1/config`: the machine config for `vaktctl` and other programs. init decides; here it
//! is only said who asks.

use hyper::{Method, StatusCode};
use serde_json::{Value, json as object};
use vakt_wire::http::{CallError, Request, Response, error, json, read};

use crate::app::{App, Caller};
use crate::{audit, backend};

/// A document of the largest size, escaped as JSON.
const BODY_BYTES_MAX: usize = 2 * vakt_wire::config::BYTES_MAX;

/// Answers a program that `by` names; an empty name is somebody who is signed in and reads.
pub async fn answer(app: &App, by: &str, caller: &Caller, request: Request) -> Response {
    let path = request.path().replacen("/api/vakt", "", 1);
    let method = request.method().clone();
    let mut body = Vec::new();
    if method == Method::POST {
        audit::decided("config", by, caller.address, true, "");
        let sent = match read(request.body, BODY_BYTES_MAX).await {
            Ok(sent) => sent,
            Err(reason) => return error(StatusCode::PAYLOAD_TOO_LARGE, reason),
        };
        let mut wish: Value = match serde_json::from_slice(&sent) {
            Ok(wish) => wish,
            Err(reason) => {
                return error(StatusCode::BAD_REQUEST, format_args!("the body is no JSON: {reason}"));
            }
        };
        let Some(fields) = wish.as_object_mut() else {
            return error(
                StatusCode::BAD_REQUEST,
                "the body is no JSON object; example: {\"text\":\"version = 2\"}",
            );
        };
        // Who it was is for the token to say.
        fields.insert("by".into(), by.into());
        body = wish.to_string().into_bytes();
    }
    match app.backends.config.raw(method, &path, body).await {
        Ok(answer) => {
            json(StatusCode::OK, &serde_json::from_slice::<Value>(&answer).unwrap_or_else(|_| object!({})))
        }
        Err(CallError::Refused { status, body, .. }) if status.is_client_error() => {
            let said = serde_json::from_str::<Value>(&body).unwrap_or_else(|_| object!({ "error": body }));
            json(status, &said)
        }
        Err(reason) => error(StatusCode::BAD_GATEWAY, backend::unavailable("init", &reason)),
    }
}

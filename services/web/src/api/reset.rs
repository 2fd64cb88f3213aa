//! `POST /api/vakt/v1/reset`: a reset for `vaktctl` and other programs, with `{"kind","name"}`.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json as object};
use vakt_wire::http::{CallError, Request, Response, error, json, read};

use crate::app::{App, Caller};
use crate::{audit, backend};

/// Two short words.
const BODY_BYTES_MAX: usize = 4 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    kind: String,
    name: String,
}

/// Answers a program that `by` names: 202, and the box restarts.
pub async fn answer(app: &App, by: &str, caller: &Caller, request: Request) -> Response {
    let body = match read(request.body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(reason) => return error(StatusCode::PAYLOAD_TOO_LARGE, reason),
    };
    let wish: Wish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(reason) => {
            let example = "example: {\"kind\":\"settings\",\"name\":\"vakt\"}";
            return error(
                StatusCode::BAD_REQUEST,
                format_args!("the body asks for no reset: {reason}; {example}"),
            );
        }
    };
    let taken = app.backends.init.reset(&wish.kind, by, &wish.name).await;
    audit::decided("reset", by, caller.address, taken.is_ok(), "");
    match taken {
        Ok(()) => json(StatusCode::ACCEPTED, &object!({})),
        Err(CallError::Refused { status, body, .. }) if status.is_client_error() => {
            json(status, &serde_json::from_str::<Value>(&body).unwrap_or_else(|_| object!({ "error": body })))
        }
        Err(reason) => error(StatusCode::BAD_GATEWAY, backend::unavailable("init", &reason)),
    }
}

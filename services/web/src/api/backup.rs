//! `POST /api/vakt/v1/backup` and `/restore`, for `vaktctl` and other programs. The passphrase is a header, in hex, so that
//! the body of a restore is the file alone.

use std::io;

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use serde_json::{Value, json as object};
use vakt_wire::http::{CallError, Request, Response, error, json};

use crate::app::{App, Caller};
use crate::handlers::backup::name_file;
use crate::routes::Endpoint;
use crate::{audit, backend, random};

/// The header that holds the passphrase.
pub const PASSPHRASE: &str = "x-vakt-passphrase";

/// A backup's bound, as init has it.
const FILE_BYTES_MAX: usize = 64 << 20;

/// Answers a program that `by` names.
pub async fn answer(app: &App, endpoint: Endpoint, by: &str, caller: &Caller, request: Request) -> Response {
    let passphrase =
        request.header(PASSPHRASE).and_then(random::from_hex).and_then(|text| String::from_utf8(text).ok());
    let Some(passphrase) = passphrase else {
        return error(
            StatusCode::BAD_REQUEST,
            format_args!("the header {PASSPHRASE} must hold the passphrase in hex"),
        );
    };
    let init = &app.backends.init;
    let event = if endpoint == Endpoint::Backup { "backup" } else { "restore" };
    let answered = if endpoint == Endpoint::Backup {
        init.backup(&passphrase, by).await.map(|mut response| {
            name_file(&mut response, &app.box_name);
            response
        })
    } else {
        let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) else {
            return error(StatusCode::LENGTH_REQUIRED, "send the file with its Content-Length");
        };
        let body = Limited::new(request.body, FILE_BYTES_MAX).map_err(io::Error::other).boxed();
        init.restore(&passphrase, by, body, length).await.map(|said| json(StatusCode::OK, &said))
    };
    audit::decided(event, by, caller.address, answered.is_ok(), "");
    match answered {
        Ok(response) => response,
        Err(CallError::Refused { status, body, .. }) if status.is_client_error() => {
            json(status, &serde_json::from_str::<Value>(&body).unwrap_or_else(|_| object!({ "error": body })))
        }
        Err(reason) => error(StatusCode::BAD_GATEWAY, backend::unavailable("init", &reason)),
    }
}

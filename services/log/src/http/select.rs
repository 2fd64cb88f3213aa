//! `/select/logsql/…`: queries in, NDJSON out.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use vakt_wire::form;
use vakt_wire::http::{Request, Response, error, full, json, read};

use super::Service;
use crate::query::{self, Arguments, RunError};
use crate::time;

/// Bytes of a form body: the query and a few small arguments.
const FORM_BYTES_MAX: usize = 64 << 10;

/// Runs a query in its turn.
pub async fn select(service: &Service, request: Request) -> Response {
    let Ok(_place) = service.waiting.try_acquire() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "too many queries are waiting; come back");
    };
    let is_hits = request.path().ends_with("/hits");
    let mut pairs = form::pairs(request.uri().query().unwrap_or_default());
    match read(request.body, FORM_BYTES_MAX).await {
        Ok(body) => pairs.extend(form::pairs(&String::from_utf8_lossy(&body))),
        Err(reason) => return error(StatusCode::PAYLOAD_TOO_LARGE, reason),
    }
    let arguments = Arguments::new(pairs);
    // The semaphore is never closed.
    let Ok(turn) = service.queries.clone().acquire_owned().await else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the service stops");
    };
    let shelf = service.shelf.clone();
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let now_ns = time::now();
        if is_hits {
            query::hits(&shelf, &arguments, now_ns).map(|answer| json(StatusCode::OK, &answer))
        } else {
            query::query(&shelf, &arguments, now_ns).map(|answer| ndjson(answer.ndjson()))
        }
    });
    let metrics = service.shelf.metrics();
    metrics.queries.add(1);
    match work.await {
        Ok(Ok(response)) => response,
        Ok(Err(refused)) => {
            metrics.queries_failed.add(1);
            let status = match refused {
                RunError::Syntax(_) | RunError::Argument { .. } => StatusCode::BAD_REQUEST,
                RunError::Bound(_) => StatusCode::UNPROCESSABLE_ENTITY,
            };
            error(status, refused)
        }
        Err(broken) => {
            metrics.queries_failed.add(1);
            tracing::error!(%broken, "a query broke off");
            error(StatusCode::INTERNAL_SERVER_ERROR, "the query broke off; the service's log says why")
        }
    }
}

fn ndjson(bytes: Vec<u8>) -> Response {
    let mut response = hyper::Response::new(full(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/stream+json"));
    response
}

//! The collector's own HTTP surface: health, its metrics, the state of its sources.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use vakt_wire::http::{Handler, Peer, Request, Response, error, json as answer, text};
use vakt_wire::role::{Role, permits};

use crate::board::Board;
use crate::exposition::{CONTENT_TYPE as OPENMETRICS, openmetrics};
use crate::family::Family;
use crate::outbox::Outbox;

/// The handler.
pub struct Api {
    /// The sources' states.
    pub board: Arc<Board>,
    /// What waits for the store.
    pub outbox: Arc<Outbox>,
}

/// The collector about itself.
pub fn own_families(board: &Board, outbox: &Outbox) -> Vec<Family> {
    let mut families = Vec::from(outbox.families());
    families.extend(board.families());
    families
}

impl Handler for Api {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let allowed: &[Role] = match request.path() {
            "/v1/sources" => &[Role::Web],
            _ => &Role::ALL,
        };
        let own = rustix::process::geteuid().as_raw();
        if matches!(request.peer, Peer::Unix { uid } if !permits(uid, own, allowed)) {
            return error(StatusCode::FORBIDDEN, "this user may not do that");
        }
        match (request.method(), request.path()) {
            (&Method::GET, "/health") => text(StatusCode::OK, "ok\n"),
            (&Method::GET, "/v1/sources") => {
                answer(StatusCode::OK, &json!({ "sources": self.board.entries() }))
            }
            (&Method::GET, "/metrics") => {
                let mut response =
                    text(StatusCode::OK, openmetrics(&own_families(&self.board, &self.outbox)));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
                response
            }
            (method, path) => error(StatusCode::NOT_FOUND, format_args!("{method} {path}: not here")),
        }
    }
}

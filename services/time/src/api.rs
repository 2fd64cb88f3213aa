//! The HTTP API, read-only: `GET /v1/time` ([`crate::board::Standing`]), `/metrics`, `/health`.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use vakt_wire::http::{Handler, Peer, Request, Response, error, json, text};
use vakt_wire::role::{Role, permits};

use crate::board::{Board, metrics};
use crate::wall::Wall;

/// Answers the API's requests.
#[derive(Debug)]
pub struct Api {
    /// How the clock is.
    pub board: Arc<Board>,
    /// The clock itself.
    pub wall: Arc<Wall>,
}

impl Handler for Api {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        if !allowed(request.peer) {
            return error(StatusCode::FORBIDDEN, "this socket is for web, collector and init");
        }
        if request.method() != Method::GET {
            return error(StatusCode::METHOD_NOT_ALLOWED, "everything here is read with GET");
        }
        match request.path() {
            "/v1/time" => json(StatusCode::OK, &self.board.get()),
            "/metrics" => text(StatusCode::OK, metrics(&self.board.get(), self.wall.look().await.as_ref())),
            "/health" => text(StatusCode::OK, "ok"),
            path => error(StatusCode::NOT_FOUND, format!("no such page: {path}")),
        }
    }
}

/// Over TCP only where the operator asked for it, and then from this machine only.
fn allowed(peer: Peer) -> bool {
    match peer {
        Peer::Unix { uid } => {
            permits(uid, rustix::process::geteuid().as_raw(), &[Role::Web, Role::Probe, Role::Init])
        }
        Peer::Tcp(address) => address.ip().is_loopback(),
    }
}

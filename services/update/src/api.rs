//! The HTTP API for the pages.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/update` | 200, [`crate::board::State`]: phase, repository, available, checked, last |
//! | `POST /v1/update/check` | 202; looks at the repository |
//! | `POST /v1/update/install` | 202; installs the repository's newest version |
//! | `PUT /v1/update/archive` | a tar as the body; 200 `{"staged":VERSION}`, or 422, 500, 503 with `{"error","kind"}` |
//! | `GET /health` | 200 `ok` |
//! | `GET /metrics` | Prometheus text |
//!
//! What is begun while another check or install runs is answered with 409.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;
use vakt_wire::http::{Handler, Peer, Request, Response, error, json as json_answer, text};
use vakt_wire::role::{Role, permits};

use crate::board::{Outcome, Phase};
use crate::install::{Turn, Updater};

/// Answers the API's requests.
#[derive(Debug)]
pub struct Api {
    /// Does the work.
    pub updater: Arc<Updater>,
}

impl Handler for Api {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        if !allowed(request.peer, request.method()) {
            return error(
                StatusCode::FORBIDDEN,
                "updates are begun by web, and read by init and collector too",
            );
        }
        match (request.method(), request.path()) {
            (&Method::GET, "/v1/update") => json_answer(StatusCode::OK, &self.updater.board.state()),
            (&Method::POST, "/v1/update/check") => {
                self.begin(|updater, turn| async move { updater.check(turn).await })
            }
            (&Method::POST, "/v1/update/install") => {
                self.begin(|updater, turn| async move { updater.install(turn).await })
            }
            (&Method::PUT, "/v1/update/archive") => self.upload(request).await,
            (&Method::GET, "/health") => text(StatusCode::OK, "ok"),
            (&Method::GET, "/metrics") => text(StatusCode::OK, self.metrics()),
            (method, path) => error(StatusCode::NOT_FOUND, format!("no such request: {method} {path}")),
        }
    }
}

/// Over TCP only where the operator asked for it, and then from this machine only.
fn allowed(peer: Peer, method: &Method) -> bool {
    let readers: &[Role] = &[Role::Web, Role::Init, Role::Collector];
    let roles = if *method == Method::GET { readers } else { &readers[..1] };
    match peer {
        Peer::Unix { uid } => permits(uid, rustix::process::geteuid().as_raw(), roles),
        Peer::Tcp(address) => address.ip().is_loopback(),
    }
}

fn busy() -> Response {
    error(StatusCode::CONFLICT, "a check or an install is under way; wait for it to end")
}

impl Api {
    /// Begins work that goes on behind the answer.
    fn begin<W>(&self, work: impl FnOnce(Arc<Updater>, Turn) -> W) -> Response
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let Some(turn) = self.updater.turn() else { return busy() };
        // Before the answer, so that whoever looks next sees that something is under way.
        self.updater.board.phase(Phase::Checking);
        tokio::spawn(work(self.updater.clone(), turn));
        json_answer(StatusCode::ACCEPTED, &json!({ "begun": true }))
    }

    async fn upload(&self, request: Request) -> Response {
        let Some(turn) = self.updater.turn() else { return busy() };
        let updater = self.updater.clone();
        // In a task of its own: when the caller goes away, that is an end that is told, and no work that stops.
        let ended = tokio::spawn(async move { updater.upload(turn, request.body).await }).await;
        match ended {
            Ok(Ok(version)) => json_answer(StatusCode::OK, &json!({ "staged": version })),
            Ok(Err(refusal)) => json_answer(
                refusal.status(),
                &json!({ "error": refusal.to_string(), "kind": refusal.kind() }),
            ),
            Err(gone) => error(StatusCode::INTERNAL_SERVER_ERROR, format!("the install ended early: {gone}")),
        }
    }

    fn metrics(&self) -> String {
        let state = self.updater.board.state();
        let last = |outcome| u8::from(state.last.as_ref().is_some_and(|last| last.outcome == outcome));
        format!(
            "# TYPE vakt_update_busy gauge\nvakt_update_busy {}\n\
             # TYPE vakt_update_check_ok gauge\nvakt_update_check_ok {}\n\
             # TYPE vakt_update_newer_available gauge\nvakt_update_newer_available {}\n\
             # TYPE vakt_update_last_install gauge\nvakt_update_last_install{{outcome=\"staged\"}} {}\n\
             vakt_update_last_install{{outcome=\"refused\"}} {}\nvakt_update_last_install{{outcome=\"interrupted\"}} {}\n",
            u8::from(state.phase != Phase::Idle),
            u8::from(state.checked.as_ref().is_some_and(|checked| checked.refused.is_none())),
            u8::from(state.available.as_ref().is_some_and(|available| available.newer == Some(true))),
            last(Outcome::Staged),
            last(Outcome::Refused),
            last(Outcome::Interrupted),
        )
    }
}

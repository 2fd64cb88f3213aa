//! The collector's own HTTP surface: health, its metrics, the state of its sources.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use vakt_wire::http::{Client, Handler, Peer, Request, Response, error, json as answer, text};
use vakt_wire::role::{Role, permits};

use crate::board::{Board, Entry};
use crate::exposition::{CONTENT_TYPE as OPENMETRICS, openmetrics};
use crate::family::{Family, label};
use crate::outbox::Outbox;
use crate::serve::Scope;

/// What a process knows of itself.
#[derive(Clone)]
pub struct Own {
    /// The sources' states.
    pub board: Arc<Board>,
    /// What waits for the store.
    pub outbox: Arc<Outbox>,
    /// What it measures, which tells its series from those of the other process of a box.
    pub watch: Scope,
}

impl Own {
    /// The process about itself. Where another one watches the rest, each row says of which it is.
    pub fn families(&self) -> Vec<Family> {
        let mut families = Vec::from(self.outbox.families());
        families.extend(self.board.families());
        let watch = match self.watch {
            Scope::All => return families,
            Scope::Local => "local",
            Scope::Remote => "remote",
        };
        let rows = families.iter_mut().flat_map(|family| &mut family.rows);
        rows.for_each(|row| row.labels.push(label("watch", watch)));
        families
    }
}

/// The handler.
pub struct Api {
    /// This process.
    pub own: Own,
    /// The process that watches this machine, where this one does not.
    pub local: Option<Client>,
}

/// What `/v1/sources` answers.
#[derive(Debug, Serialize, Deserialize)]
struct Sources {
    sources: Vec<Entry>,
}

impl Api {
    /// Every source by name, the other process' too; one more that says so when that one does not answer.
    async fn sources(&self) -> Sources {
        let mut sources = self.own.board.entries();
        if let Some(local) = &self.local {
            match local.get::<Sources>("/v1/sources").await {
                Ok(theirs) => sources.extend(theirs.sources),
                Err(error) => sources.push(Entry {
                    name: "local".into(),
                    last_success: None,
                    duration_s: 0.0,
                    error: Some(error.to_string()),
                }),
            }
            sources.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Sources { sources }
    }
}

impl Handler for Api {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let allowed: &[Role] = match request.path() {
            "/v1/sources" => &[Role::Web, Role::Collector],
            _ => &Role::ALL,
        };
        let own = rustix::process::geteuid().as_raw();
        if matches!(request.peer, Peer::Unix { uid } if !permits(uid, own, allowed)) {
            return error(StatusCode::FORBIDDEN, "this user may not do that");
        }
        match (request.method(), request.path()) {
            (&Method::GET, "/health") => text(StatusCode::OK, "ok\n"),
            (&Method::GET, "/v1/sources") => answer(StatusCode::OK, &self.sources().await),
            (&Method::GET, "/metrics") => {
                let mut response = text(StatusCode::OK, openmetrics(&self.own.families()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
                response
            }
            (method, path) => error(StatusCode::NOT_FOUND, format_args!("{method} {path}: not here")),
        }
    }
}

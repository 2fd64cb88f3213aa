//! The HTTP side: who may call what, and the endpoints.

mod insert;
mod select;

use std::sync::Arc;

use hyper::{Method, StatusCode};
use tokio::sync::Semaphore;
use vakt_wire::http::{Handler, Peer, Request, Response, error, text};
use vakt_wire::role::{Role, permits};

use crate::intake::Intake;
use crate::metrics::Gauges;
use crate::shelf::Shelf;
use crate::{intake::Batch, ring::Ring};

/// Queries that run at a time; each may hold an answer of 16 MiB.
const QUERIES_MAX: usize = 2;
/// Queries that wait for their turn; further ones are told to come back.
const QUERIES_WAITING_MAX: usize = 16;

/// The endpoints' surroundings.
#[derive(Debug)]
pub struct Service {
    /// Where inserts go.
    pub intake: Arc<Intake>,
    /// The ring before the writer, for the metrics.
    pub write_ring: Arc<Ring<Batch>>,
    /// What is queried.
    pub shelf: Arc<Shelf>,
    /// Turns for queries.
    queries: Arc<Semaphore>,
    /// Turns, and places to wait for them.
    waiting: Semaphore,
    own_uid: u32,
}

impl Service {
    /// The endpoints over these parts.
    pub fn new(intake: Arc<Intake>, write_ring: Arc<Ring<Batch>>, shelf: Arc<Shelf>) -> Service {
        Service {
            intake,
            write_ring,
            shelf,
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            waiting: Semaphore::new(QUERIES_MAX + QUERIES_WAITING_MAX),
            own_uid: rustix::process::geteuid().as_raw(),
        }
    }

    fn metrics(&self) -> Response {
        let sizes = self.shelf.sizes();
        let gauges = Gauges {
            receive_slots: self.intake.lanes.items(),
            write_slots: self.write_ring.rows(),
            in_flight_bytes: self.intake.gate.bytes(),
            hot_rows: sizes.hot_rows,
            blocks: sizes.blocks,
            blocks_bytes: sizes.blocks_bytes,
        };
        text(StatusCode::OK, self.intake.metrics.text(gauges))
    }
}

/// Which roles may call a path over a unix socket; `None` for a path that is not there. Over TCP,
/// which only a person at the command line turns on, everybody may.
pub fn allowed(path: &str) -> Option<&'static [Role]> {
    match path {
        "/health" | "/metrics" => Some(&Role::ALL),
        "/insert/jsonline" => Some(&[Role::Web, Role::Collector, Role::Repair]),
        "/select/logsql/query" | "/select/logsql/hits" => Some(&[Role::Web, Role::Repair]),
        _ => None,
    }
}

impl Handler for Service {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let path = request.path().to_owned();
        let Some(roles) = allowed(&path) else {
            return error(StatusCode::NOT_FOUND, format!("no such path: {path}"));
        };
        if let Peer::Unix { uid } = request.peer
            && !permits(uid, self.own_uid, roles)
        {
            tracing::warn!(uid, path, "refused a caller");
            return error(StatusCode::FORBIDDEN, format!("uid {uid} may not use {path}"));
        }
        let method = request.method().clone();
        match (path.as_str(), &method) {
            ("/health", &Method::GET) => text(StatusCode::OK, "OK"),
            ("/metrics", &Method::GET) => self.metrics(),
            ("/insert/jsonline", &Method::POST) => insert::jsonline(&self.intake, request).await,
            ("/select/logsql/query" | "/select/logsql/hits", &Method::GET | &Method::POST) => {
                select::select(&self, request).await
            }
            _ => error(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not take {method}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_and_repair_may_query() {
        let may = |path, role: Role| permits(role.uid(), Role::Log.uid(), allowed(path).unwrap());
        assert!(may("/select/logsql/query", Role::Web));
        assert!(!may("/select/logsql/query", Role::Store));
        assert!(may("/insert/jsonline", Role::Collector));
        assert!(!may("/insert/jsonline", Role::Network));
        assert!(Role::ALL.into_iter().all(|role| may("/health", role)));
        assert_eq!(allowed("/other"), None);
    }
}

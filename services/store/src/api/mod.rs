//! The HTTP surface: Prometheus' API, the catalog, and what the store says about itself.
//!
//! **Who may call.** Over a unix socket SO_PEERCRED decides ([`permission`]). Over TCP (only when the operator
//! gave a TCP address with `--listen`) the metrics API is open to whoever reaches the address, as Prometheus' own
//! is; the catalog, which holds sessions and password hashes, is never served over TCP.

mod answer;
mod catalog;
mod form;
mod histogram_json;
mod metrics;
pub mod permission;
mod query;
mod write;

use std::sync::{Arc, Mutex};

use hyper::{Method, StatusCode};
use tokio::sync::Semaphore;
use vakt_wire::http::{Handler, Request, Response, error, text};

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::forward::Forwarder;

use permission::Area;

/// Queries that run at a time, each on its own thread; further ones wait their turn.
pub const QUERIES_MAX: usize = 2;

/// Catalog calls that run at a time: redb has one writer.
const CATALOG_CALLS_MAX: usize = 2;

/// The handler of every request.
pub struct Api {
    engine: Arc<Engine>,
    catalog: Result<Arc<Catalog>, String>,
    /// The memory of the request that is being read; reading never waits, so one is enough.
    intake: Mutex<write::Intake>,
    queries: Arc<Semaphore>,
    catalog_calls: Arc<Semaphore>,
    /// Engines elsewhere that get what was stored as well.
    forwarder: Option<Forwarder>,
    own_uid: u32,
}

impl Api {
    /// Serves this engine and this catalog; when the catalog could not be opened its reason is given
    /// to callers, and metrics are served all the same.
    pub fn new(engine: Arc<Engine>, catalog: Result<Catalog, String>) -> Api {
        Api {
            engine,
            catalog: catalog.map(Arc::new),
            intake: Mutex::default(),
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            catalog_calls: Arc::new(Semaphore::new(CATALOG_CALLS_MAX)),
            forwarder: None,
            own_uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// Hands what is stored to this egress as well.
    pub fn forwarding(mut self, forwarder: Option<Forwarder>) -> Api {
        self.forwarder = forwarder;
        self
    }

    async fn route(self: Arc<Self>, request: Request) -> Response {
        let path = request.path().to_owned();
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let query = get || request.method() == Method::POST;
        match path.as_str() {
            _ if write::PATHS.contains(&path.as_str()) && request.method() == Method::POST => {
                self.push(&path, request).await
            }
            "/api/v1/query" if query => self.instant(request).await,
            "/api/v1/query_range" if query => self.range(request).await,
            "/api/v1/series" if query => self.series(request).await,
            "/api/v1/labels" if query => self.labels(request).await,
            "/api/v1/status/buildinfo" if get => answer::build_info(),
            "/api/v1/metadata" if get => answer::success(&b"{}".to_vec().into()),
            "/health" | "/-/healthy" | "/-/ready" if get => self.health(),
            "/metrics" if get => self.metrics(),
            _ => {
                if let Some(label) = form::label_of_path(&path).filter(|_| get) {
                    return self.label_values(request, label).await;
                }
                if path.starts_with(catalog::PREFIX) {
                    return self.catalog(request).await;
                }
                let known = matches!(
                    path.as_str(),
                    "/api/v1/query" | "/api/v1/query_range" | "/api/v1/series" | "/api/v1/labels"
                );
                let known = known || write::PATHS.contains(&path.as_str());
                let status = if known { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NOT_FOUND };
                error(status, format_args!("{} {path}: not here", request.method()))
            }
        }
    }

    fn health(&self) -> Response {
        match &self.catalog {
            Ok(_) => text(StatusCode::OK, "ok\n"),
            Err(reason) => text(StatusCode::OK, format!("degraded: catalog: {reason}\n")),
        }
    }
}

impl Handler for Api {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let area = Area::of(request.method(), request.path());
        if let Err(reason) = area.permits(request.peer, self.own_uid) {
            tracing::warn!(peer = ?request.peer, path = request.path(), reason, "request refused");
            return error(StatusCode::FORBIDDEN, reason);
        }
        self.route(request).await
    }
}

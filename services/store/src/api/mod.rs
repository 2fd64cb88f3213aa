//! The HTTP surface: Prometheus' API, the catalog, and what the store says about itself.
//!
//! **Who may call.** Over a unix socket SO_PEERCRED decides ([`permission`]). Over TCP (only when the operator
//! gave a TCP address with `--listen`) the metrics API is open to whoever reaches the address, as Prometheus' own
//! is; the catalog, which holds sessions and password hashes, is never served over TCP.

mod admin;
mod answer;
mod catalog;
mod described;
mod federate;
mod form;
mod histogram_json;
mod language;
mod metrics;
mod number;
pub mod permission;
mod query;
mod read_stream;
mod remote_read;
mod rules;
mod status;
mod write;
mod written;

use std::sync::{Arc, Mutex};

use hyper::{Method, StatusCode};
use tokio::sync::Semaphore;
use vakt_wire::http::{Handler, Request, Response, error, text};

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::forward::Forwarder;
use crate::ingest::Deltas;
use crate::rules::Rules;

use permission::Area;
pub use remote_read::queries_of;

/// Queries that run at a time, each on its own thread; further ones wait their turn.
pub const QUERIES_MAX: usize = 2;

/// Catalog calls that run at a time: redb has one writer.
const CATALOG_CALLS_MAX: usize = 2;

/// Deletions and snapshots that run at a time: each may write all blocks.
const ADMIN_CALLS_MAX: usize = 1;

/// The handler of every request.
pub struct Api {
    engine: Arc<Engine>,
    catalog: Result<Arc<Catalog>, String>,
    /// The memory of the request that is being read; reading never waits, so one is enough.
    intake: Mutex<write::Intake>,
    /// What delta points amount to; taken after `intake`.
    deltas: Mutex<Deltas>,
    queries: Arc<Semaphore>,
    catalog_calls: Arc<Semaphore>,
    admin_calls: Arc<Semaphore>,
    admin_over_tcp: bool,
    reload_over_tcp: bool,
    /// Engines elsewhere that get what was stored as well.
    forwarder: Option<Arc<Forwarder>>,
    own_uid: u32,
    rules: Arc<Rules>,
    flags: Vec<(String, String)>,
    started: i64,
}

impl Api {
    /// Serves this engine and this catalog; when the catalog could not be opened its reason is given
    /// to callers, and metrics are served all the same.
    pub fn new(engine: Arc<Engine>, catalog: Result<Catalog, String>) -> Api {
        let started = engine.now();
        Api {
            engine,
            catalog: catalog.map(Arc::new),
            intake: Mutex::default(),
            deltas: Mutex::default(),
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            catalog_calls: Arc::new(Semaphore::new(CATALOG_CALLS_MAX)),
            admin_calls: Arc::new(Semaphore::new(ADMIN_CALLS_MAX)),
            admin_over_tcp: false,
            reload_over_tcp: false,
            forwarder: None,
            own_uid: rustix::process::geteuid().as_raw(),
            rules: Arc::default(),
            flags: Vec::new(),
            started,
        }
    }

    /// Hands what is stored to this egress as well.
    pub fn forwarding(mut self, forwarder: Option<Arc<Forwarder>>) -> Api {
        self.forwarder = forwarder;
        self
    }

    /// Lets who reaches a TCP address delete series and take snapshots, or have the rule files read anew.
    pub fn over_tcp(self, admin_over_tcp: bool, reload_over_tcp: bool) -> Api {
        Api { admin_over_tcp, reload_over_tcp, ..self }
    }

    /// Tells of these rules too.
    pub fn with_rules(self, rules: Arc<Rules>) -> Api {
        Api { rules, ..self }
    }

    /// Tells that it was started with these flags, by name and value.
    pub fn with_flags(self, flags: Vec<(String, String)>) -> Api {
        Api { flags, ..self }
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
            "/api/v1/metadata" if get => self.metadata(request).await,
            "/api/v1/query_exemplars" if query => self.exemplars(request).await,
            "/api/v1/format_query" if query => self.format_query(request).await,
            "/api/v1/parse_query" if query => self.parse_query(request).await,
            "/api/v1/read" if request.method() == Method::POST => self.remote_read(request).await,
            "/api/v1/rules" if get => self.rules(request).await,
            "/api/v1/alerts" if get => self.alerts(),
            "/api/v1/status/buildinfo" if get => status::build_info(),
            "/api/v1/status/runtimeinfo" if get => self.runtime_info(),
            "/api/v1/status/flags" if get => self.flags(),
            "/api/v1/status/tsdb" if get => self.cardinality(request).await,
            "/federate" if get => self.federate(request).await,
            rules::RELOAD if matches!(*request.method(), Method::POST | Method::PUT) => self.reload(&request),
            "/health" | "/-/healthy" | "/-/ready" if get => self.health(),
            "/metrics" if get => self.metrics(),
            _ => {
                if let Some(label) = form::label_of_path(&path).filter(|_| get) {
                    return self.label_values(request, label).await;
                }
                if path.starts_with(admin::PREFIX) {
                    return self.admin(request).await;
                }
                if path.starts_with(catalog::PREFIX) {
                    return self.catalog(request).await;
                }
                let known = matches!(
                    path.as_str(),
                    "/api/v1/query"
                        | "/api/v1/query_range"
                        | "/api/v1/query_exemplars"
                        | "/api/v1/format_query"
                        | "/api/v1/parse_query"
                        | "/api/v1/read"
                        | rules::RELOAD
                        | "/api/v1/series"
                        | "/api/v1/labels"
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

//! The HTTP API for the pages. Read-only: what is to be repaired is said in the config.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/policies` | `{"policies":[{name, policy, standing: {peer: {phase,…}}}], "refused":[{name, file, line, column, reason}]}` |
//! | `GET /v1/peers` | `{"peers":[{name, address, state, since_ms, error?, next_try_ms?, units, policies}]}` |
//! | `GET /v1/repairs?limit=N` | `{"repairs":[{id, policy, peer, unit, outcome, started_ms, ended_ms, records}]}`, newest first, N to 200 |
//! | `GET /v1/evidence/head` | `{"seq", "hash", "public_key", "pending", "lost", "error"}`; 503 before the store was reached |
//! | `GET /health` | 200 `ok`, or 503 and why no repair can be started |
//! | `GET /metrics` | Prometheus text |

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use vakt_wire::http::{Handler, Peer, Request, Response, error, json as json_answer, text};
use vakt_wire::role::{Role, permits};

use crate::board::Board;
use crate::evidence::{Journal, REPAIRS_MAX};
use crate::policy::PolicySet;

/// Repairs in an answer when the caller does not say.
const REPAIRS_DEFAULT: usize = 50;

/// Answers the API's requests.
#[derive(Debug)]
pub struct Api {
    /// The policies.
    pub policies: PolicySet,
    /// Connections, units, phases, counters.
    pub board: Arc<Board>,
    /// Evidence.
    pub journal: Arc<Journal>,
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
            "/v1/policies" => json_answer(StatusCode::OK, &self.policies()),
            "/v1/peers" => json_answer(StatusCode::OK, &json!({ "peers": self.board.peers() })),
            "/v1/repairs" => self.repairs(request.uri().query().unwrap_or("")).await,
            "/v1/evidence/head" => self.head().await,
            "/health" => self.health().await,
            "/metrics" => text(StatusCode::OK, self.metrics().await),
            path => error(StatusCode::NOT_FOUND, format!("no such page: {path}")),
        }
    }
}

/// Over TCP only where the operator asked for it, and then from this machine only.
fn allowed(peer: Peer) -> bool {
    match peer {
        Peer::Unix { uid } => {
            permits(uid, rustix::process::geteuid().as_raw(), &[Role::Web, Role::Collector, Role::Init])
        }
        Peer::Tcp(address) => address.ip().is_loopback(),
    }
}

impl Api {
    fn policies(&self) -> Value {
        let valid = self.policies.valid.iter().map(|policy| {
            let name = policy.name.as_str();
            json!({ "name": name, "policy": policy, "standing": self.board.standing_of(name) })
        });
        json!({ "policies": valid.collect::<Vec<_>>(), "refused": self.policies.refused })
    }

    async fn repairs(&self, query: &str) -> Response {
        let asked = query.split('&').find_map(|pair| pair.strip_prefix("limit="));
        let limit = match asked.map(str::parse::<usize>) {
            None => REPAIRS_DEFAULT,
            Some(Ok(limit)) if limit <= REPAIRS_MAX => limit,
            Some(_) => {
                return error(StatusCode::BAD_REQUEST, format!("limit is not a number up to {REPAIRS_MAX}"));
            }
        };
        json_answer(StatusCode::OK, &json!({ "repairs": self.journal.repairs(limit).await }))
    }

    async fn head(&self) -> Response {
        let standing = self.journal.standing().await;
        let (status, seq, hash) = match &standing.head {
            Some(head) => (StatusCode::OK, json!(head.seq), json!(head.hash)),
            None => (StatusCode::SERVICE_UNAVAILABLE, Value::Null, Value::Null),
        };
        let answer = json!({
            "seq": seq,
            "hash": hash,
            "public_key": standing.public_key,
            "pending": standing.pending,
            "lost": standing.lost,
            "error": standing.error,
        });
        json_answer(status, &answer)
    }

    async fn health(&self) -> Response {
        let standing = self.journal.standing().await;
        match (standing.head, standing.error) {
            (Some(_), None) => text(StatusCode::OK, "ok"),
            (_, Some(why)) => error(StatusCode::SERVICE_UNAVAILABLE, why),
            (None, None) => error(StatusCode::SERVICE_UNAVAILABLE, "the store has not been reached yet"),
        }
    }

    async fn metrics(&self) -> String {
        let standing = self.journal.standing().await;
        format!(
            "{}# TYPE vakt_repair_policies gauge\nvakt_repair_policies{{valid=\"true\"}} {}\n\
             vakt_repair_policies{{valid=\"false\"}} {}\n\
             # TYPE vakt_repair_evidence_records gauge\nvakt_repair_evidence_records {}\n\
             # TYPE vakt_repair_evidence_pending gauge\nvakt_repair_evidence_pending {}\n\
             # TYPE vakt_repair_evidence_lost_total counter\nvakt_repair_evidence_lost_total {}\n",
            self.board.metrics(),
            self.policies.valid.len(),
            self.policies.refused.len(),
            standing.head.map_or(0, |head| head.seq),
            standing.pending,
            standing.lost,
        )
    }
}

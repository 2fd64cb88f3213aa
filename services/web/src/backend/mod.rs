//! The other services, as the pages see them: each may be absent, and says so in a panel of its own.

pub mod boots;
pub mod catalog;
pub mod collector;
pub mod config;
pub mod egress;
pub mod init;
pub mod log;
pub mod repair;
pub mod slots;
pub mod store;
pub mod time;
pub mod update;

use std::path::PathBuf;

use vakt_wire::http::{CallError, Client};

/// Where the others listen.
#[derive(Clone, Debug, clap::Args)]
pub struct Sockets {
    /// The store's socket: metrics and the catalog.
    #[arg(long, default_value = "/run/vakt/store/http.sock")]
    pub store: PathBuf,
    /// The log service's socket.
    #[arg(long, default_value = "/run/vakt/log/http.sock")]
    pub log: PathBuf,
    /// The repair service's socket.
    #[arg(long, default_value = "/run/vakt/repair/http.sock")]
    pub repair: PathBuf,
    /// init's socket: services and the machine.
    #[arg(long, default_value = "/run/vakt/init/http.sock")]
    pub init: PathBuf,
    /// The collector's socket.
    #[arg(long, default_value = "/run/vakt/collector/http.sock")]
    pub collector: PathBuf,
    /// The update service's socket.
    #[arg(long, default_value = "/run/vakt/update/http.sock")]
    pub update: PathBuf,
    /// The time service's socket: the clock.
    #[arg(long, default_value = "/run/vakt/time/http.sock")]
    pub time: PathBuf,
    /// egress' socket: samples to engines elsewhere, and the way to one that the pages read from.
    #[arg(long, default_value = "/run/vakt/egress/http.sock")]
    pub egress: PathBuf,
}

/// Callers of the others.
#[derive(Clone, Debug)]
pub struct Backends {
    /// Metrics.
    pub store: store::Store,
    /// Logs.
    pub log: log::Log,
    /// Repairs.
    pub repair: repair::Repair,
    /// Services and the machine.
    pub init: init::Init,
    /// The machine config, which init keeps.
    pub config: config::Config,
    /// Sources of metrics.
    pub collector: collector::Collector,
    /// Updates.
    pub update: update::Update,
    /// The clock.
    pub time: time::Time,
    /// Samples to engines elsewhere.
    pub egress: egress::Egress,
    /// The store and the log, for requests that are passed on as they are.
    pub raw_store: Client,
    /// See `raw_store`.
    pub raw_log: Client,
    /// The store, for what may write every block of it anew.
    pub admin_store: Client,
}

impl Backends {
    /// Callers of these sockets. The pages' metrics come from an engine elsewhere, by egress, when `reads_elsewhere`.
    pub fn new(sockets: &Sockets, reads_elsewhere: bool) -> Backends {
        let metrics = if reads_elsewhere { ("egress", &sockets.egress) } else { ("store", &sockets.store) };
        Backends {
            store: store::Store { service: metrics.0, client: client(metrics.1) },
            log: log::Log(client(&sockets.log)),
            repair: repair::Repair(client(&sockets.repair)),
            init: init::Init(client(&sockets.init)),
            config: config::Config(client(&sockets.init)),
            collector: collector::Collector(client(&sockets.collector)),
            update: update::Update(client(&sockets.update)),
            time: time::Time(client(&sockets.time)),
            egress: egress::Egress(client(&sockets.egress)),
            raw_store: Client::unix(&sockets.store).within(API_WITHIN),
            raw_log: Client::unix(&sockets.log).within(API_WITHIN),
            admin_store: Client::unix(&sockets.store).within(ADMIN_WITHIN),
        }
    }
}

/// A page waits this long for a service; a panel that says "no answer" is better than no page.
const PAGE_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// A program's query may take this long to its first byte: the services' own limit, and a little.
const API_WITHIN: std::time::Duration = std::time::Duration::from_secs(35);
/// Cleaning up after deletions may write every block anew, which takes minutes on a slow disk.
const ADMIN_WITHIN: std::time::Duration = std::time::Duration::from_secs(600);

fn client(socket: &std::path::Path) -> Client {
    Client::unix(socket).within(PAGE_WITHIN)
}

/// What a panel shows: its contents, or in one line why there are none.
pub type Panel<T> = Result<T, String>;

/// Why a panel is empty, for the person who looks at it; the details are in the log.
pub fn unavailable(service: &str, error: &CallError) -> String {
    match error {
        CallError::Connection { .. } => format!("{service} is not running"),
        CallError::Late { .. } => format!("{service} did not answer in time"),
        // 502 is egress' word for an engine elsewhere that does not answer, with the reason.
        CallError::Refused { status, body, .. }
            if status.is_client_error() || *status == hyper::StatusCode::BAD_GATEWAY =>
        {
            reason(service, body)
        }
        CallError::Refused { .. } | CallError::Unreadable { .. } => {
            tracing::warn!(%error, service, "a service gave no usable answer");
            format!("{service} gave no usable answer")
        }
    }
}

/// The `error` of a refusal, which our services write for people.
fn reason(service: &str, body: &str) -> String {
    let said = serde_json::from_str::<serde_json::Value>(body).ok();
    let said = said.and_then(|body| body.get("error")?.as_str().map(str::to_owned));
    said.unwrap_or_else(|| format!("{service} refused the question"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_says_in_one_line_why_it_is_empty() {
        let refused = |status: u16, body: &str| CallError::Refused {
            socket: "/s".into(),
            status: hyper::StatusCode::from_u16(status).unwrap(),
            body: body.into(),
        };
        assert_eq!(
            unavailable("log", &refused(400, r#"{"error":"query, column 3: no"}"#)),
            "query, column 3: no"
        );
        let away = r#"{"status":"error","errorType":"unavailable","error":"https://vm.example.org: connection refused"}"#;
        assert_eq!(unavailable("egress", &refused(502, away)), "https://vm.example.org: connection refused");
        assert_eq!(unavailable("log", &refused(403, "x")), "log refused the question");
        assert_eq!(unavailable("log", &refused(500, "secret path")), "log gave no usable answer");
        let gone = CallError::Connection { socket: "/s".into(), source: std::io::Error::other("x") };
        assert_eq!(unavailable("store", &gone), "store is not running");
    }
}

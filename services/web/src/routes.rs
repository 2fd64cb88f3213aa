//! The URL table.

use hyper::Method;
use vakt_wire::config::Scope;
use vakt_wire::form::decode;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Everybody; for visitors who are about to sign in.
    Visitor,
    /// Who is signed in; others are sent to the sign-in page.
    SignedIn,
    /// Programs with a token of this scope; and who is signed in, for GET, and for [`Endpoint::StoreAdmin`] by a form.
    Program(Scope),
}

/// What a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The stylesheet and the mark.
    Asset,
    /// Does the web service itself serve?
    Health,
    /// The sign-in form, and its answer.
    SignIn,
    /// The set-up form, and its answer.
    SetUp,
    /// The end of a session.
    SignOut,
    /// Pages.
    Overview,
    /// See `handlers`.
    Host,
    /// See `handlers`.
    Logs,
    /// See `handlers`.
    Repairs,
    /// The machine config: its page, and its API.
    Config,
    /// See `handlers`.
    Updates,
    /// The buttons of that page.
    UpdateCheck,
    /// See `UpdateCheck`.
    UpdateInstall,
    /// See `UpdateCheck`.
    UpdateArchive,
    /// See `handlers`.
    Boots,
    /// The box itself: its identity, backup and resets.
    Machine,
    /// A backup, to be taken.
    Backup,
    /// And to be restored.
    Restore,
    /// The steps of the first set-up.
    Welcome,
    /// A reset, from the page and by programs.
    Reset,
    /// The bill of materials of the running image.
    Sbom,
    /// Passed on to the store.
    Store,
    /// Likewise, for who administers the box: deletions, snapshots, rule files.
    StoreAdmin,
    /// Passed on to the log service.
    Log,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// GET (which is HEAD as well), POST or PUT.
    pub verb: Verb,
    /// The path; `{}` stands for one segment.
    pub pattern: &'static str,
    /// Who may.
    pub access: Access,
    /// What it leads to.
    pub endpoint: Endpoint,
}

/// The methods that are used here, as a constant can hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET and HEAD.
    Get,
    /// POST.
    Post,
    /// PUT, which Prometheus takes for POST where its API changes something.
    Put,
}

const fn get(pattern: &'static str, access: Access, endpoint: Endpoint) -> Route {
    Route { verb: Verb::Get, pattern, access, endpoint }
}

const fn post(pattern: &'static str, access: Access, endpoint: Endpoint) -> Route {
    Route { verb: Verb::Post, pattern, access, endpoint }
}

const fn put(pattern: &'static str, access: Access, endpoint: Endpoint) -> Route {
    Route { verb: Verb::Put, pattern, access, endpoint }
}

const METRICS_READ: Access = Access::Program(Scope::MetricsRead);
const METRICS_ADMIN: Access = Access::Program(Scope::MetricsAdmin);
const LOGS_READ: Access = Access::Program(Scope::LogsRead);
const UPDATE_READ: Access = Access::Program(Scope::UpdateRead);
const CONFIG_READ: Access = Access::Program(Scope::ConfigRead);

/// Every URL.
pub const ROUTES: &[Route] = &[
    get("/", Access::SignedIn, Endpoint::Overview),
    get("/host/{}", Access::SignedIn, Endpoint::Host),
    get("/logs", Access::SignedIn, Endpoint::Logs),
    get("/repairs", Access::SignedIn, Endpoint::Repairs),
    get("/config", Access::SignedIn, Endpoint::Config),
    post("/config", Access::SignedIn, Endpoint::Config),
    get("/updates", Access::SignedIn, Endpoint::Updates),
    post("/updates/check", Access::SignedIn, Endpoint::UpdateCheck),
    post("/updates/install", Access::SignedIn, Endpoint::UpdateInstall),
    post("/updates/archive", Access::SignedIn, Endpoint::UpdateArchive),
    get("/boots", Access::SignedIn, Endpoint::Boots),
    get("/box", Access::SignedIn, Endpoint::Machine),
    post("/box/backup", Access::SignedIn, Endpoint::Backup),
    post("/box/restore", Access::SignedIn, Endpoint::Restore),
    get("/welcome", Access::SignedIn, Endpoint::Welcome),
    post("/welcome", Access::SignedIn, Endpoint::Welcome),
    post("/box/reset", Access::SignedIn, Endpoint::Reset),
    get("/sign-in", Access::Visitor, Endpoint::SignIn),
    post("/sign-in", Access::Visitor, Endpoint::SignIn),
    get("/set-up", Access::Visitor, Endpoint::SetUp),
    post("/set-up", Access::Visitor, Endpoint::SetUp),
    post("/sign-out", Access::SignedIn, Endpoint::SignOut),
    get("/static/{}", Access::Public, Endpoint::Asset),
    get("/favicon.ico", Access::Public, Endpoint::Asset),
    get("/health", Access::Public, Endpoint::Health),
    get("/api/v1/query", METRICS_READ, Endpoint::Store),
    post("/api/v1/query", METRICS_READ, Endpoint::Store),
    get("/api/v1/query_range", METRICS_READ, Endpoint::Store),
    post("/api/v1/query_range", METRICS_READ, Endpoint::Store),
    get("/api/v1/series", METRICS_READ, Endpoint::Store),
    post("/api/v1/series", METRICS_READ, Endpoint::Store),
    get("/api/v1/labels", METRICS_READ, Endpoint::Store),
    post("/api/v1/labels", METRICS_READ, Endpoint::Store),
    get("/api/v1/label/{}/values", METRICS_READ, Endpoint::Store),
    get("/api/v1/metadata", METRICS_READ, Endpoint::Store),
    get("/api/v1/query_exemplars", METRICS_READ, Endpoint::Store),
    post("/api/v1/query_exemplars", METRICS_READ, Endpoint::Store),
    get("/api/v1/format_query", METRICS_READ, Endpoint::Store),
    post("/api/v1/format_query", METRICS_READ, Endpoint::Store),
    get("/api/v1/parse_query", METRICS_READ, Endpoint::Store),
    post("/api/v1/parse_query", METRICS_READ, Endpoint::Store),
    get("/api/v1/rules", METRICS_READ, Endpoint::Store),
    get("/api/v1/alerts", METRICS_READ, Endpoint::Store),
    get("/api/v1/status/buildinfo", METRICS_READ, Endpoint::Store),
    get("/api/v1/status/runtimeinfo", METRICS_READ, Endpoint::Store),
    get("/api/v1/status/flags", METRICS_READ, Endpoint::Store),
    get("/api/v1/status/tsdb", METRICS_READ, Endpoint::Store),
    post("/api/v1/read", METRICS_READ, Endpoint::Store),
    get("/federate", METRICS_READ, Endpoint::Store),
    post("/api/v1/import/prometheus", Access::Program(Scope::MetricsWrite), Endpoint::Store),
    post("/api/v1/import/csv", Access::Program(Scope::MetricsWrite), Endpoint::Store),
    post("/api/v1/write", Access::Program(Scope::MetricsWrite), Endpoint::Store),
    post("/api/v1/otlp/v1/metrics", Access::Program(Scope::MetricsWrite), Endpoint::Store),
    post("/api/v1/admin/tsdb/delete_series", METRICS_ADMIN, Endpoint::StoreAdmin),
    put("/api/v1/admin/tsdb/delete_series", METRICS_ADMIN, Endpoint::StoreAdmin),
    post("/api/v1/admin/tsdb/clean_tombstones", METRICS_ADMIN, Endpoint::StoreAdmin),
    put("/api/v1/admin/tsdb/clean_tombstones", METRICS_ADMIN, Endpoint::StoreAdmin),
    post("/api/v1/admin/tsdb/snapshot", METRICS_ADMIN, Endpoint::StoreAdmin),
    put("/api/v1/admin/tsdb/snapshot", METRICS_ADMIN, Endpoint::StoreAdmin),
    post("/-/reload", METRICS_ADMIN, Endpoint::StoreAdmin),
    put("/-/reload", METRICS_ADMIN, Endpoint::StoreAdmin),
    get("/select/logsql/query", LOGS_READ, Endpoint::Log),
    post("/select/logsql/query", LOGS_READ, Endpoint::Log),
    get("/select/logsql/hits", LOGS_READ, Endpoint::Log),
    post("/select/logsql/hits", LOGS_READ, Endpoint::Log),
    get("/api/vakt/v1/config", CONFIG_READ, Endpoint::Config),
    get("/api/vakt/v1/config/history", CONFIG_READ, Endpoint::Config),
    get("/api/vakt/v1/config/history/{}", CONFIG_READ, Endpoint::Config),
    post("/api/vakt/v1/config/{}", Access::Program(Scope::ConfigWrite), Endpoint::Config),
    get("/api/vakt/v1/update", UPDATE_READ, Endpoint::Updates),
    post("/api/vakt/v1/update/{}", Access::Program(Scope::UpdateWrite), Endpoint::Updates),
    post("/api/vakt/v1/backup", Access::Program(Scope::BackupRead), Endpoint::Backup),
    post("/api/vakt/v1/restore", Access::Program(Scope::BackupWrite), Endpoint::Restore),
    post("/api/vakt/v1/reset", Access::Program(Scope::Reset), Endpoint::Reset),
    get("/api/vakt/v1/sbom", UPDATE_READ, Endpoint::Sbom),
    post("/insert/jsonline", Access::Program(Scope::LogsWrite), Endpoint::Log),
];

/// Where a request goes.
#[derive(Clone, Debug)]
pub enum Found {
    /// To this route, with the decoded segment that its `{}` stands for.
    Route(&'static Route, String),
    /// The path is there, the method is not.
    WrongMethod,
    /// Nowhere.
    Nowhere,
}

/// Looks a request up.
pub fn find(method: &Method, path: &str) -> Found {
    let wanted = match *method {
        Method::GET | Method::HEAD => Some(Verb::Get),
        Method::POST => Some(Verb::Post),
        Method::PUT => Some(Verb::Put),
        _ => None,
    };
    let mut there = false;
    for route in ROUTES {
        if let Some(segment) = matches(route.pattern, path) {
            if wanted == Some(route.verb) {
                return Found::Route(route, segment);
            }
            there = true;
        }
    }
    if there { Found::WrongMethod } else { Found::Nowhere }
}

/// The decoded segment for `{}` (empty without one) when the path has the pattern's shape.
fn matches(pattern: &str, path: &str) -> Option<String> {
    let mut segment = String::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(segment),
            (Some("{}"), Some(text)) if !text.is_empty() => {
                // '+' is a space in forms, but itself in paths.
                segment = decode(text, false);
            }
            (Some(a), Some(b)) if a == b => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_table_says() {
        let to = |method: Method, path: &str| match find(&method, path) {
            Found::Route(route, segment) => format!("{:?} {segment}", route.endpoint),
            Found::WrongMethod => "wrong method".into(),
            Found::Nowhere => "nowhere".into(),
        };
        assert_eq!(to(Method::GET, "/"), "Overview ");
        assert_eq!(to(Method::HEAD, "/logs"), "Logs ");
        assert_eq!(to(Method::GET, "/host/db%201+x&y=z"), "Host db 1+x&y=z");
        assert_eq!(to(Method::GET, "/host/"), "nowhere");
        assert_eq!(to(Method::GET, "/host/a/b"), "nowhere");
        assert_eq!(to(Method::GET, "/api/v1/label/job/values"), "Store job");
        assert_eq!(to(Method::PUT, "/api/v1/admin/tsdb/snapshot"), "StoreAdmin ");
        assert_eq!(to(Method::GET, "/-/reload"), "wrong method");
        assert_eq!(to(Method::PUT, "/api/v1/write"), "wrong method");
        assert_eq!(to(Method::DELETE, "/logs"), "wrong method");
        assert_eq!(to(Method::POST, "/logs"), "wrong method");
        assert_eq!(to(Method::GET, "/nothing"), "nowhere");
    }

    #[test]
    fn every_page_is_for_who_is_signed_in() {
        for route in ROUTES {
            let api = route.pattern.starts_with("/api/");
            let page = match route.endpoint {
                Endpoint::Config | Endpoint::Updates | Endpoint::Reset => !api,
                Endpoint::Backup | Endpoint::Restore => !api,
                Endpoint::Overview | Endpoint::Host | Endpoint::Logs | Endpoint::Repairs => true,
                Endpoint::UpdateCheck | Endpoint::UpdateInstall | Endpoint::UpdateArchive => true,
                Endpoint::SignOut | Endpoint::Machine | Endpoint::Welcome | Endpoint::Boots => true,
                _ => false,
            };
            assert_eq!(page, route.access == Access::SignedIn, "{route:?}");
            let passed_on = match route.endpoint {
                Endpoint::Config | Endpoint::Updates | Endpoint::Reset => api,
                Endpoint::Backup | Endpoint::Restore => api,
                Endpoint::StoreAdmin => true,
                endpoint => matches!(endpoint, Endpoint::Store | Endpoint::Log | Endpoint::Sbom),
            };
            assert_eq!(passed_on, matches!(route.access, Access::Program(_)), "{route:?}");
        }
    }

    #[test]
    fn what_changes_the_store_has_a_scope_of_its_own_and_is_never_read() {
        for route in ROUTES {
            let admin = route.pattern.contains("/admin/") || route.pattern == "/-/reload";
            assert_eq!(admin, route.endpoint == Endpoint::StoreAdmin, "{route:?}");
            assert_eq!(admin, route.access == METRICS_ADMIN, "{route:?}");
            assert!(!admin || route.verb != Verb::Get, "{route:?}");
        }
    }
}

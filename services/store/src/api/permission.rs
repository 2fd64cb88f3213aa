//! Who may do what: a pure decision over the caller, the method and the path.

use hyper::Method;
use vakt_wire::http::Peer;
use vakt_wire::role::{Role, permits};

use super::catalog::PREFIX;

/// The part of the API that a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Area {
    /// Health and the store's own metrics: for every service.
    Open,
    /// Pushing samples: the collector, and web for programs outside.
    Write,
    /// Queries: web and repair.
    Read,
    /// Deleting series, taking snapshots, reading the rule files anew: web, for who administers the box.
    Admin,
    /// Reading a catalog table.
    CatalogRead(String),
    /// Changing a catalog table.
    CatalogWrite(String),
}

/// The catalog's tables and the one role that owns each: it writes, and it and web read.
const OWNERS: [(&str, Role); 5] = [
    ("users", Role::Web),
    ("sessions", Role::Web),
    ("settings", Role::Web),
    ("evidence", Role::Repair),
    ("config", Role::Init),
];

impl Area {
    /// The area of a request.
    pub fn of(method: &Method, path: &str) -> Area {
        if let Some(rest) = path.strip_prefix(PREFIX) {
            let table = rest.split('/').next().unwrap_or_default().to_owned();
            return match *method {
                Method::GET | Method::HEAD => Area::CatalogRead(table),
                _ => Area::CatalogWrite(table),
            };
        }
        match path {
            _ if super::write::PATHS.contains(&path) => Area::Write,
            _ if path.starts_with(super::admin::PREFIX) || path == super::rules::RELOAD => Area::Admin,
            _ if path.starts_with("/api/") || path == "/federate" => Area::Read,
            _ => Area::Open,
        }
    }

    /// Whether `peer` may enter.
    ///
    /// # Errors
    /// Why not.
    pub fn permits(&self, peer: Peer, own_uid: u32) -> Result<(), &'static str> {
        let allowed: &[Role] = match self {
            Area::Open => &Role::ALL,
            Area::Write => &[Role::Collector, Role::Probe, Role::Web],
            Area::Read => &[Role::Web, Role::Repair],
            Area::Admin => &[Role::Web],
            Area::CatalogRead(table) => match owner(table) {
                Some(Role::Web) => &[Role::Web],
                Some(Role::Repair) => &[Role::Repair, Role::Web],
                _ => &[Role::Init, Role::Web],
            },
            Area::CatalogWrite(table) => match owner(table) {
                Some(Role::Web) => &[Role::Web],
                Some(Role::Repair) => &[Role::Repair],
                _ => &[Role::Init],
            },
        };
        let catalog = matches!(self, Area::CatalogRead(_) | Area::CatalogWrite(_));
        match peer {
            Peer::Tcp(_) if catalog => Err("the catalog is served over the unix socket only"),
            Peer::Tcp(_) => Ok(()),
            Peer::Unix { uid } if permits(uid, own_uid, allowed) => Ok(()),
            Peer::Unix { .. } => Err("this user may not do that"),
        }
    }
}

fn owner(table: &str) -> Option<Role> {
    OWNERS.iter().find(|(name, _)| *name == table).map(|(_, role)| *role)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets in, of all roles and a stranger over TCP.
    fn check(method: Method, path: &str, expected: &str) {
        let area = Area::of(&method, path);
        let own = Role::Store.uid();
        let mut inside: Vec<&str> = Role::ALL
            .into_iter()
            .filter(|role| area.permits(Peer::Unix { uid: role.uid() }, own).is_ok())
            .map(Role::name)
            .collect();
        if area.permits(Peer::Tcp("192.0.2.1:9".parse().unwrap()), own).is_ok() {
            inside.push("tcp");
        }
        assert!(area.permits(Peer::Unix { uid: 1000 }, own).is_err());
        assert_eq!(inside.join(" "), expected, "{method} {path}");
    }

    #[test]
    fn each_area_lets_in_who_needs_it() {
        check(
            Method::GET,
            "/health",
            "init network log store collector repair web update time egress probe tcp",
        );
        check(Method::POST, "/api/v1/write", "init store collector web probe tcp");
        check(Method::GET, "/federate", "init store repair web tcp");
        check(Method::GET, "/api/v1/query", "init store repair web tcp");
        check(Method::POST, "/api/v1/admin/tsdb/delete_series", "init store web tcp");
        check(Method::POST, "/-/reload", "init store web tcp");
        check(Method::GET, "/catalog/v1/sessions/x", "init store web");
        check(Method::PUT, "/catalog/v1/sessions/x", "init store web");
        check(Method::PUT, "/catalog/v1/evidence/x", "init store repair");
        check(Method::GET, "/catalog/v1/evidence", "init store repair web");
        check(Method::PUT, "/catalog/v1/config/x", "init store");
        check(Method::GET, "/catalog/v1/config/x", "init store web");
        check(Method::DELETE, "/catalog/v1/nothing/x", "init store");
    }
}

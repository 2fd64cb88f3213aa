//! `/api/v1/admin/tsdb/…`: deleting series, cleaning up after that, and snapshots, as Prometheus has them.
//!
//! On the box only who may administer gets here ([`super::permission`]); over TCP they are there when the operator says so
//! (`--web.enable-admin-api`), as in Prometheus.

use hyper::{Method, StatusCode};
use serde_json::json;
use vakt_wire::http::{Peer, Request, Response, empty};
use vakt_wire::time::rfc3339;

use super::form::{Form, invalid};
use super::query::selectors;
use super::{Api, answer, status};
use crate::engine::Engine;
use crate::promql::QueryError;

/// What all of them begin with.
pub(super) const PREFIX: &str = "/api/v1/admin/tsdb/";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Delete,
    Clean,
    Snapshot,
}

/// What was done.
enum Done {
    Nothing,
    Snapshot(String),
}

impl Order {
    fn of(path: &str) -> Option<Order> {
        match path.strip_prefix(PREFIX)? {
            "delete_series" => Some(Order::Delete),
            "clean_tombstones" => Some(Order::Clean),
            "snapshot" => Some(Order::Snapshot),
            _ => None,
        }
    }
}

impl Api {
    pub(super) async fn admin(&self, request: Request) -> Response {
        let path = request.path().to_owned();
        let Some(order) = Order::of(&path) else {
            return vakt_wire::http::error(StatusCode::NOT_FOUND, format_args!("{path}: not here"));
        };
        if !matches!(*request.method(), Method::POST | Method::PUT) {
            let said = format_args!("{} {path}: not here", request.method());
            return vakt_wire::http::error(StatusCode::METHOD_NOT_ALLOWED, said);
        }
        if matches!(request.peer, Peer::Tcp(_)) && !self.admin_over_tcp {
            return answer::failed(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "admin APIs disabled");
        }
        let form = match Form::of(request).await {
            Ok(form) => form,
            Err(error) => return answer::failure(&error),
        };
        // One at a time: each may take as long as writing a block.
        let Ok(turn) = self.admin_calls.clone().acquire_owned().await else {
            return answer::failure(&QueryError::Internal("the store is stopping".into()));
        };
        let engine = self.engine.clone();
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            carry_out(&engine, order, &form)
        });
        match worked.await {
            Ok(Ok(Done::Nothing)) => {
                let mut response = hyper::Response::new(empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Ok(Ok(Done::Snapshot(name))) => status::success(&json!({ "name": name })),
            Ok(Err(error)) => answer::failure(&error),
            Err(error) => answer::failure(&QueryError::Internal(format!("broke off: {error}"))),
        }
    }
}

fn carry_out(engine: &Engine, order: Order, form: &Form) -> Result<Done, QueryError> {
    let internal = |error: &dyn std::fmt::Display| QueryError::Internal(error.to_string());
    match order {
        Order::Delete => {
            let selectors = selectors(form)?;
            if selectors.is_empty() {
                return Err(QueryError::BadData("no match[] parameter provided".into()));
            }
            let from = form.time("start")?.unwrap_or(i64::MIN);
            let to = form.time("end")?.unwrap_or(i64::MAX);
            for matchers in selectors {
                engine.delete(&matchers, from, to).map_err(|error| internal(&error))?;
            }
            Ok(Done::Nothing)
        }
        Order::Clean => {
            engine.clean().map_err(|error| internal(&error))?;
            Ok(Done::Nothing)
        }
        Order::Snapshot => {
            let skip_head = form.get("skip_head").map_or(Ok(false), boolean)?;
            let name =
                name(engine.now()).map_err(|error| internal(&format_args!("create snapshot: {error}")))?;
            let made = engine.snapshot(&name, skip_head);
            made.map_err(|error| internal(&format_args!("create snapshot: {error}")))?;
            Ok(Done::Snapshot(name))
        }
    }
}

/// A truth value as Go's `strconv.ParseBool` reads it.
fn boolean(text: &str) -> Result<bool, QueryError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(invalid("skip_head", format_args!("strconv.ParseBool: parsing {text:?}: invalid syntax"))),
    }
}

/// A snapshot's name as Prometheus makes it: the time, and 63 random bits.
fn name(now: i64) -> std::io::Result<String> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let date = rfc3339(now.div_euclid(1000).saturating_mul(1_000_000_000));
    let date: String = date.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    Ok(format!("{date}-{:016x}", u64::from_le_bytes(random) >> 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_prometheus_calls_its_snapshots() {
        let name = name(1_700_000_000_123).unwrap();
        let (date, random) = name.split_once('-').unwrap();
        assert_eq!(date, "20231114T221320Z");
        assert!(random.len() == 16 && u64::from_str_radix(random, 16).unwrap() >> 63 == 0, "{random}");
    }

    #[test]
    fn truth_is_what_go_takes_for_it() {
        assert_eq!(["1", "T", "false", "F"].map(|text| boolean(text).unwrap()), [true, true, false, false]);
        let said = boolean("yes").unwrap_err().to_string();
        assert_eq!(
            said,
            r#"invalid parameter "skip_head": strconv.ParseBool: parsing "yes": invalid syntax"#
        );
    }
}

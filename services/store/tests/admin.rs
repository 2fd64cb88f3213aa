//! Deleting series and taking snapshots, by the real program, as Prometheus has it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod store;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use store::{Store, body, exchange, post, time_of};

const ADMIN: &str = "--web.enable-admin-api";

fn call(store: &Store, path: &str) -> (u16, Value) {
    let path = path.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let answer = post(store.port, &format!("/api/v1/admin/tsdb/{path}"), b"").unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

fn write(store: &Store, writer: u64, values: std::ops::RangeInclusive<u64>) {
    for value in values {
        assert_eq!(post(store.port, "/api/v1/write", &body(writer, 2, value)).unwrap().status, 204);
    }
}

fn count(store: &Store, writer: u64) -> Vec<f64> {
    store.vector(&format!("count_over_time(m{{writer=\"{writer}\"}}[100y])"))
}

#[test]
fn answers_and_errors_are_those_of_prometheus() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::start(data.path(), &[]);
    let disabled = json!({ "status": "error", "errorType": "unavailable", "error": "admin APIs disabled" });
    for path in ["delete_series?match[]=m", "clean_tombstones", "snapshot"] {
        assert_eq!(call(&store, path), (503, disabled.clone()));
    }
    drop(store);
    let store = Store::start(data.path(), &[ADMIN]);
    let bad = |path: &str, error: &str| {
        let expected = json!({ "status": "error", "errorType": "bad_data", "error": error });
        assert_eq!(call(&store, path), (400, expected), "{path}");
    };
    bad("delete_series", "no match[] parameter provided");
    let time = "cannot parse \"x\" to a valid timestamp";
    bad("delete_series?match[]=m&start=x", &format!("invalid parameter \"start\": {time}"));
    bad("delete_series?match[]=m&end=x", &format!("invalid parameter \"end\": {time}"));
    let invalid = "invalid parameter \"skip_head\": strconv.ParseBool: parsing \"maybe\": invalid syntax";
    bad("snapshot?skip_head=maybe", invalid);
    let (status, answer) = call(&store, "delete_series?match[]=m{");
    let error = answer["error"].as_str().unwrap();
    assert!(status == 400 && error.starts_with("invalid parameter \"match[]\": 1:3: parse error"), "{error}");
    assert_eq!(call(&store, "delete_series?match[]=nothing"), (204, Value::Null));
    assert_eq!(call(&store, "clean_tombstones"), (204, Value::Null));
    assert_eq!(call(&store, "other").0, 404);
    let path = "/api/v1/admin/tsdb/clean_tombstones";
    assert_eq!(exchange(store.port, "PUT", path, b"").unwrap().status, 204);
    assert_eq!(exchange(store.port, "GET", path, b"").unwrap().status, 405);
}

#[test]
fn what_was_deleted_stays_gone_through_a_kill_and_what_comes_later_is_seen() {
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::start(data.path(), &[ADMIN]);
    write(&store, 0, 1..=50);
    write(&store, 1, 1..=50);
    let (from, to) = (time_of(11), time_of(20));
    let part = format!("delete_series?match[]=m{{writer=\"0\",n=\"0\"}}&start={from}&end={to}");
    assert_eq!(call(&store, &part).0, 204);
    assert_eq!(call(&store, "delete_series?match[]=m{writer=\"1\"}&match[]=nothing").0, 204);
    let check = |store: &Store, later: usize| {
        assert_eq!(count(store, 0), [40.0 + later as f64, 50.0]);
        assert_eq!(count(store, 1), [0.0; 0]);
        let (_, names) = store.get("/api/v1/label/writer/values", &[]);
        assert_eq!(names["data"], json!(["0"]));
        let (_, series) = store.get("/api/v1/series", &[("match[]", "m"), ("start", &from), ("end", &to)]);
        let expected = if later == 0 { json!(["1"]) } else { json!(["0", "1"]) };
        let listed: Vec<&Value> = series["data"].as_array().unwrap().iter().map(|one| &one["n"]).collect();
        assert_eq!(json!(listed), expected);
        let (_, status) = store.get("/api/v1/status/tsdb", &[]);
        assert_eq!(status["data"]["headStats"]["numSeries"], 2);
    };
    check(&store, 0);
    store.kill();
    let mut store = Store::start(data.path(), &[ADMIN]);
    check(&store, 0);
    assert_eq!(post(store.port, "/api/v1/write", &body(0, 1, 15)).unwrap().status, 204);
    check(&store, 1);
    store.kill();
    let mut store = Store::start(data.path(), &[ADMIN]);
    check(&store, 1);
    assert_eq!(call(&store, "clean_tombstones").0, 204);
    check(&store, 1);
    store.kill();
    let (good, said) = store::check(data.path());
    assert!(good && said.contains("tombstones: 0 deletions"), "{said}");
    check(&Store::start(data.path(), &[]), 1);
}

#[test]
fn a_snapshot_is_a_data_directory_that_another_store_serves() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::start(data.path(), &[ADMIN]);
    write(&store, 0, 1..=10);
    write(&store, 1, 1..=10);
    assert_eq!(call(&store, "delete_series?match[]=m{writer=\"1\"}").0, 204);
    write(&store, 2, 1..=10);
    let name = |answer: (u16, Value)| {
        assert_eq!((answer.0, &answer.1["status"]), (200, &json!("success")), "{answer:?}");
        answer.1["data"]["name"].as_str().unwrap().to_owned()
    };
    let without = name(call(&store, "snapshot?skip_head=true"));
    let with = name(call(&store, "snapshot"));
    write(&store, 0, 11..=20);
    let copy = |name: &str| data.path().join("snapshots").join(name);
    let block = fs::read_dir(copy(&with).join("blocks")).unwrap().next().unwrap().unwrap();
    use std::os::unix::fs::MetadataExt;
    assert!(block.metadata().unwrap().nlink() >= 2, "a snapshot takes no room of its own");
    let counts = |path: &Path| {
        let store = Store::start(path, &[]);
        [0, 1, 2].map(|writer| count(&store, writer).first().copied().unwrap_or(0.0))
    };
    assert_eq!(counts(&copy(&without)), [10.0, 0.0, 0.0]);
    assert_eq!(counts(&copy(&with)), [10.0, 0.0, 10.0]);
}

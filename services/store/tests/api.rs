//! Prometheus' HTTP API as a client sees it, and the catalog over its unix socket.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use hyper::Method;
use serde_json::{Value, json};
use store::{Store, body, exchange, post, time_of};
use vakt_wire::http::{CallError, Client};

fn check(store: &Store, path: &str, parameters: &[(&str, &str)], status: u16, expected: &Value) {
    let answer = store.get(path, parameters);
    assert_eq!(answer, (status, expected.clone()), "{path} {parameters:?}");
}

fn bad(kind: &str, error: &str) -> Value {
    json!({ "status": "error", "errorType": kind, "error": error })
}

fn good(data: &Value) -> Value {
    json!({ "status": "success", "data": data })
}

fn with_infos(data: &Value, infos: &[&str]) -> Value {
    json!({ "status": "success", "data": data, "infos": infos })
}

/// A store with values 1 to 10 of two series, a second apart.
fn filled(data: &std::path::Path) -> Store {
    let store = Store::start(data, &[]);
    for value in 1..=10 {
        assert_eq!(post(store.port, "/api/v1/write", &body(0, 2, value)).unwrap().status, 204);
    }
    store
}

#[test]
fn queries_answer_in_prometheus_shapes() {
    let data = tempfile::tempdir().unwrap();
    let store = filled(data.path());
    let (five, ten) = (time_of(5), time_of(10));
    let metric = |n: &str| json!({ "__name__": "m", "n": n, "writer": "0" });
    let at = 1_700_000_010;
    check(
        &store,
        "/api/v1/query",
        &[("query", "m"), ("time", &ten)],
        200,
        &good(&json!({ "resultType": "vector", "result": [
            { "metric": metric("0"), "value": [at, "10"] }, { "metric": metric("1"), "value": [at, "10"] } ] })),
    );
    check(
        &store,
        "/api/v1/query",
        &[("query", "m{n=\"0\"}[2s]"), ("time", "2023-11-14T22:13:30.5Z")],
        200,
        &good(&json!({ "resultType": "matrix", "result": [
            { "metric": metric("0"), "values": [[at - 1, "9"], [at, "10"]] } ] })),
    );
    check(
        &store,
        "/api/v1/query",
        &[("query", "1.5 + 2"), ("time", "7")],
        200,
        &good(&json!({ "resultType": "scalar", "result": [7, "3.5"] })),
    );
    check(
        &store,
        "/api/v1/query",
        &[("query", "\"x\""), ("time", "7")],
        200,
        &good(&json!({ "resultType": "string", "result": [7, "x"] })),
    );
    check(
        &store,
        "/api/v1/query_range",
        &[("query", "sum(rate(m[4s]))"), ("start", &five), ("end", &ten), ("step", "2.5")],
        200,
        &with_infos(
            &json!({ "resultType": "matrix", "result": [
            { "metric": {}, "values": [[at - 5, "2"], [at as f64 - 2.5, "2"], [at, "2"]] } ] }),
            &[
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"m\" (1:10)",
            ],
        ),
    );
}

#[test]
fn metadata_answers_in_prometheus_shapes() {
    let data = tempfile::tempdir().unwrap();
    let store = filled(data.path());
    check(&store, "/api/v1/labels", &[], 200, &good(&json!(["__name__", "n", "writer"])));
    check(&store, "/api/v1/label/n/values", &[], 200, &good(&json!(["0", "1"])));
    check(&store, "/api/v1/label/n/values", &[("match[]", "m{n!=\"0\"}")], 200, &good(&json!(["1"])));
    check(&store, "/api/v1/label/n/values", &[("limit", "1")], 200, &good(&json!(["0"])));
    check(&store, "/api/v1/label/none/values", &[], 200, &good(&json!([])));
    check(
        &store,
        "/api/v1/series",
        &[("match[]", "m{n=\"1\"}")],
        200,
        &good(&json!([{ "__name__": "m", "n": "1", "writer": "0" }])),
    );
    check(&store, "/api/v1/series", &[("match[]", "m"), ("end", "1000")], 200, &good(&json!([])));
    check(&store, "/api/v1/metadata", &[], 200, &good(&json!({})));
    assert_eq!(store.get("/api/v1/status/buildinfo", &[]).0, 200);
}

#[test]
fn errors_answer_in_prometheus_shapes() {
    let data = tempfile::tempdir().unwrap();
    let store = filled(data.path());
    let query = |text: &str, status: u16, kind: &str, error: &str| {
        check(&store, "/api/v1/query", &[("query", text)], status, &bad(kind, error));
    };
    query("topk(NaN, m)", 422, "execution", "Parameter value is NaN");
    let unknown = "invalid parameter \"query\": 1:1: parse error: unknown function with name \"nonsense\"";
    query("nonsense(m)", 400, "bad_data", unknown);
    let range = |start: &str, end: &str, step: &str, error: &str| {
        let parameters = [("query", "m"), ("start", start), ("end", end), ("step", step)];
        check(&store, "/api/v1/query_range", &parameters, 400, &bad("bad_data", error));
    };
    range("x", "2", "1", "invalid parameter \"start\": cannot parse \"x\" to a valid timestamp");
    range("3", "2", "1", "invalid parameter \"end\": end timestamp must not be before start time");
    range(
        "1",
        "2",
        "0",
        "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive \
         integer",
    );
    range(
        "1",
        "20000",
        "1",
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    );
    let (status, answer) = store.get("/api/v1/query", &[("query", "m{")]);
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
    assert!(
        answer["error"].as_str().unwrap().starts_with("invalid parameter \"query\": 1:3: parse error: "),
        "{answer}"
    );
    check(&store, "/api/v1/series", &[], 400, &bad("bad_data", "no match[] parameter provided"));
}

#[test]
fn malformed_writes_are_named_and_change_nothing() {
    let data = tempfile::tempdir().unwrap();
    let store = filled(data.path());
    let answer = post(store.port, "/api/v1/write", b"\x03\x08\x0a\x05\x0a").unwrap();
    assert_eq!(answer.status, 400);
    let said = String::from_utf8(answer.body).unwrap();
    assert!(said.contains("remote-write 1.0 request"), "{said}");
    assert_eq!(exchange(store.port, "GET", "/api/v1/write", b"").unwrap().status, 405);
    assert_eq!(exchange(store.port, "GET", "/nothing", b"").unwrap().status, 404);
    assert_eq!(store.vector("count_over_time(m[100y])"), [10.0, 10.0]);
    let metrics = String::from_utf8(exchange(store.port, "GET", "/metrics", b"").unwrap().body).unwrap();
    for line in ["vakt_store_samples_ingested_total 20", "vakt_store_write_requests_malformed_total 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn the_catalog_is_served_on_the_unix_socket_only() {
    let data = tempfile::tempdir().unwrap();
    let socket = data.path().join("http.sock");
    let address = format!("unix:{}", socket.display());
    let store = Store::start(&data.path().join("data"), &["--listen", &address]);
    assert_eq!(exchange(store.port, "GET", "/catalog/v1/users/ann", b"").unwrap().status, 403);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::unix(&socket);
        let document = json!({ "name": "Ann", "hash": "…" });
        let path = "/catalog/v1/users/ann%2Fa";
        let _: Value = client.send(Method::PUT, path, &document).await.unwrap();
        assert_eq!(client.get::<Value>(path).await.unwrap(), document);
        let page: Value = client.get("/catalog/v1/users?limit=5").await.unwrap();
        assert_eq!(page, json!({ "items": [{ "key": "ann/a", "value": document }], "next": null }));
        let status = |result: Result<Value, CallError>| match result {
            Err(CallError::Refused { status, .. }) => status.as_u16(),
            other => panic!("{other:?}"),
        };
        let _: Value = client.send(Method::PUT, "/catalog/v1/evidence/1", &document).await.unwrap();
        assert_eq!(status(client.send(Method::PUT, "/catalog/v1/evidence/1", &document).await), 409);
        assert_eq!(status(client.send(Method::DELETE, "/catalog/v1/evidence/1", &json!(1)).await), 405);
        assert_eq!(status(client.get("/catalog/v1/strangers/1").await), 404);
        let large = "x".repeat(300 << 10);
        assert_eq!(status(client.send(Method::PUT, "/catalog/v1/users/b", &large).await), 413);
        let _: Value = client.send(Method::DELETE, path, &json!(null)).await.unwrap();
        assert_eq!(status(client.get(path).await), 404);
    });
}

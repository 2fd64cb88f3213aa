//! What the web service passes on to the store, over a real one: administering it, and pushes.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod support;

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use support::{PASSWORD, Page, Site, admin, fakes, site};
use tokio_util::sync::CancellationToken;
use vakt_store::api::Api;
use vakt_store::catalog::Catalog;
use vakt_store::disk::RealDisk;
use vakt_store::engine::{Engine, Settings};
use vakt_store::ingest::{TextForm, WriteRequest};
use vakt_web::random::sha256_hex;
use vakt_wire::http::serve;
use vakt_wire::listen::Address;

const NOW_MS: i64 = 1_700_000_000_000;
const DELETE: &str = "/api/v1/admin/tsdb/delete_series?match[]=a";
const CLEAN: &str = "/api/v1/admin/tsdb/clean_tombstones";
const SNAPSHOT: &str = "/api/v1/admin/tsdb/snapshot";
const RELOAD: &str = "/-/reload";

/// A site over a store with the series a and b.
async fn with_store() -> Site {
    let dir = fakes(&[]);
    let data = dir.path().join("data");
    let disk = Arc::new(RealDisk::open(&data).unwrap());
    let (engine, _) = Engine::open(disk, Settings::default(), Box::new(|| NOW_MS)).unwrap();
    let mut request = WriteRequest::default();
    let form = TextForm { now: NOW_MS, open_metrics: false, extra: Vec::new() };
    request.read_text(b"a 1\nb 2\n", &form).unwrap();
    engine.write(&request, "test", Box::new(|outcome| outcome.unwrap())).unwrap();
    let catalog = Catalog::open(&data.join("catalog.redb")).map_err(|error| error.to_string());
    let listener = Address::Unix(dir.path().join("store.sock")).bind().unwrap();
    tokio::spawn(serve(listener, Arc::new(Api::new(engine, catalog)), CancellationToken::new()));
    let token = |name: &str| {
        let hash = sha256_hex(&[name.as_bytes()]);
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nscopes = [\"metrics:{name}\"]\n")
    };
    site(dir, &format!("{}{}{}{}", admin(), token("read"), token("write"), token("admin"))).await
}

async fn by_token(site: &Site, method: Method, target: &str, token: &str) -> Page {
    site.send(method, target, &[("authorization", &format!("Bearer {token}"))], "").await
}

/// The names of the metrics that are left.
async fn names(site: &Site) -> Value {
    let page = by_token(site, Method::GET, "/api/v1/label/__name__/values", "read").await;
    serde_json::from_str::<Value>(&page.body).unwrap()["data"].clone()
}

#[tokio::test]
async fn tokens_of_other_scopes_and_who_is_nobody_change_nothing() {
    let site = with_store().await;
    for (method, target) in [
        (Method::POST, DELETE),
        (Method::PUT, DELETE),
        (Method::POST, CLEAN),
        (Method::PUT, SNAPSHOT),
        (Method::POST, RELOAD),
    ] {
        for token in ["read", "write"] {
            let page = by_token(&site, method.clone(), target, token).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{method} {target} {token}");
            let challenge = page.header("www-authenticate");
            assert!(challenge.contains("insufficient_scope\", scope=\"metrics:admin\""), "{challenge}");
        }
        let unknown = by_token(&site, method.clone(), target, "guess").await;
        assert_eq!(unknown.status, StatusCode::UNAUTHORIZED, "{method} {target}");
        let nobody = site.send(method.clone(), target, &[], "").await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED, "{method} {target}");
    }
    assert_eq!(by_token(&site, Method::GET, DELETE, "admin").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(names(&site).await, json!(["a", "b"]));
}

#[tokio::test]
async fn a_token_that_administers_gets_prometheus_answers() {
    let site = with_store().await;
    let deleted = by_token(&site, Method::POST, DELETE, "admin").await;
    assert_eq!((deleted.status, &*deleted.body), (StatusCode::NO_CONTENT, ""));
    assert_eq!(names(&site).await, json!(["b"]));
    assert_eq!(by_token(&site, Method::PUT, CLEAN, "admin").await.status, StatusCode::NO_CONTENT);
    let snapshot = by_token(&site, Method::POST, SNAPSHOT, "admin").await;
    assert_eq!((snapshot.status, snapshot.header("content-type")), (StatusCode::OK, "application/json"));
    let answer: Value = serde_json::from_str(&snapshot.body).unwrap();
    let name = answer["data"]["name"].as_str().unwrap();
    assert_eq!(answer, json!({"status": "success", "data": {"name": name}}));
    assert!(site.dir.path().join("data/snapshots").join(name).is_dir());
    assert_eq!(by_token(&site, Method::PUT, RELOAD, "admin").await.status, StatusCode::OK);
    let wrong = by_token(&site, Method::POST, "/api/v1/admin/tsdb/delete_series", "admin").await;
    let said = json!({"status": "error", "errorType": "bad_data", "error": "no match[] parameter provided"});
    assert_eq!((wrong.status, serde_json::from_str(&wrong.body).ok()), (StatusCode::BAD_REQUEST, Some(said)));
    // It administers, and does not read.
    assert_eq!(
        by_token(&site, Method::GET, "/api/v1/query?query=b", "admin").await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn who_is_signed_in_administers_by_a_form_of_a_page_alone() {
    let site = with_store().await;
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    let form_token = site.get("/box", &session).await.form_token();
    let good = ("form_token", form_token.as_str());
    for form in [&[][..], &[("form_token", "0")], &[("form_token", "")]] {
        assert_eq!(site.post(DELETE, &session, form).await.status, StatusCode::FORBIDDEN, "{form:?}");
    }
    let elsewhere = [("cookie", session.as_str()), ("sec-fetch-site", "cross-site")];
    let body = format!("form_token={form_token}");
    let forged = site.send(Method::POST, DELETE, &elsewhere, &body).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let put = site.send(Method::PUT, DELETE, &[("cookie", &session)], "").await;
    assert_eq!(put.status, StatusCode::FORBIDDEN, "a cookie alone changes nothing by any method");
    assert_eq!(site.post(DELETE, "", &[good]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(names(&site).await, json!(["a", "b"]));
    // What is to go may be in the form too, as a page has it.
    let delete = "/api/v1/admin/tsdb/delete_series";
    let sent = site.post(delete, &session, &[good, ("match[]", "{__name__=\"b\"}")]).await;
    assert_eq!((sent.status, &*sent.body), (StatusCode::NO_CONTENT, ""));
    assert_eq!(names(&site).await, json!(["a"]));
    assert_eq!(site.post(RELOAD, &session, &[good]).await.status, StatusCode::OK);
    // A bearer token beside the cookie is what counts.
    let both = [("cookie", session.as_str()), ("authorization", "Bearer read")];
    assert_eq!(site.send(Method::POST, CLEAN, &both, &body).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_pushes_is_told_what_was_written() {
    let site = with_store().await;
    // No bytes, packed by snappy.
    let page = site.send(Method::POST, "/api/v1/write", &[("authorization", "Bearer write")], "\0").await;
    assert_eq!(page.status, StatusCode::NO_CONTENT, "{}", page.body);
    for what in ["samples", "histograms", "exemplars"] {
        assert_eq!(page.header(&format!("x-prometheus-remote-write-{what}-written")), "0");
    }
}

#[tokio::test]
async fn what_prometheus_clients_ask_for_is_all_there() {
    let site = with_store().await;
    for target in [
        "/api/v1/query?query=a",
        "/api/v1/query_exemplars?query=a&start=0&end=1",
        "/api/v1/format_query?query=a",
        "/api/v1/parse_query?query=a",
        "/api/v1/metadata",
        "/api/v1/rules",
        "/api/v1/alerts",
        "/api/v1/status/buildinfo",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/flags",
        "/api/v1/status/tsdb",
    ] {
        let page = by_token(&site, Method::GET, target, "read").await;
        let answer: Value = serde_json::from_str(&page.body).unwrap();
        assert_eq!((page.status, &answer["status"]), (StatusCode::OK, &json!("success")), "{target}");
        assert_eq!(
            by_token(&site, Method::GET, target, "write").await.status,
            StatusCode::FORBIDDEN,
            "{target}"
        );
    }
    let federated = by_token(&site, Method::GET, "/federate?match[]=a", "read").await;
    let expected = "# TYPE a untyped\na{instance=\"\"} 1 1700000000000\n";
    assert_eq!((federated.status, &*federated.body), (StatusCode::OK, expected));
    let (path, token) = ("/api/v1/import/prometheus", ("authorization", "Bearer write"));
    assert_eq!(site.send(Method::POST, path, &[token], "d 4\n").await.status, StatusCode::NO_CONTENT);
    assert_eq!(names(&site).await, json!(["a", "b", "d"]));
    let reader = [("authorization", "Bearer read")];
    assert_eq!(site.send(Method::POST, path, &reader, "e 5\n").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn otlp_goes_to_the_store_with_a_token_that_writes() {
    let site = with_store().await;
    let path = "/api/v1/otlp/v1/metrics";
    let point = json!({ "timeUnixNano": (NOW_MS * 1_000_000).to_string(), "asInt": "5" });
    let metric = json!({ "name": "c", "gauge": { "dataPoints": [point] } });
    let body = json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] }).to_string();
    let kind = ("content-type", "application/json");
    let sent = site.send(Method::POST, path, &[("authorization", "Bearer write"), kind], &body).await;
    assert_eq!((sent.status, &*sent.body), (StatusCode::OK, r#"{"partialSuccess":{}}"#));
    assert_eq!(sent.header("content-type"), "application/json");
    let read = site.send(Method::POST, path, &[("authorization", "Bearer read"), kind], &body).await;
    assert_eq!(read.status, StatusCode::FORBIDDEN);
    assert_eq!(names(&site).await, json!(["a", "b", "c"]));
}

//! Pages over services that answer, that do not, and that carry what attackers write.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod support;

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;
use support::{Fake, PASSWORD, admin, fakes, site};
use vakt_web::random::sha256_hex;

const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&";

#[tokio::test]
async fn pages_say_which_service_is_away_and_never_break() {
    let site = site(
        fakes(&[]),
        &format!(
            "{}[[peer]]\nname = \"db1\"\naddress = \"192.0.2.7:22\"\nhost_key = \"ssh-ed25519 AAAA\"\n",
            admin()
        ),
    )
    .await;
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    for (target, said) in [
        ("/", "Hosts cannot be shown: store is not running"),
        ("/", "Services cannot be shown: init is not running"),
        ("/host/db1", "store is not running"),
        ("/logs", "log is not running"),
        ("/repairs", "Repairs cannot be shown: repair is not running"),
        ("/updates", "Updates cannot be shown: update is not running"),
        ("/box", "The clock cannot be shown: time is not running"),
        ("/box", "They cannot be shown: egress is not running"),
    ] {
        let page = site.get(target, &session).await;
        assert_eq!(page.status, StatusCode::OK, "{target}");
        assert!(page.body.contains(said), "{target}: {said}");
    }
    let lost = site.get("/nothing", &session).await;
    assert_eq!(lost.status, StatusCode::NOT_FOUND);
    assert!(lost.body.contains("There is no page at this address"));
}

#[tokio::test]
async fn what_attackers_write_is_text() {
    let [log, store, init, repair, collector, update, time, egress] =
        std::array::from_fn(|_| Fake::default());
    let server = json!({"host": EVIL, "from": EVIL, "error": EVIL});
    time.put("/v1/time", json!({"reason": EVIL, "last_sync": EVIL, "servers": [server]}));
    egress.put("/v1/forwards", json!([{"name": EVIL, "url": EVIL, "error": EVIL, "sent_samples": 5}]));
    collector.put("/v1/sources", json!({"sources": [{"name": EVIL, "error": EVIL}]}));
    let row =
        json!({"_time": "2026-11-22T09:27:48Z", "_msg": EVIL, "level": EVIL, "hostname": EVIL, EVIL: EVIL});
    log.put("/select/logsql/query", json!(format!("{row}\n")));
    log.put("/select/logsql/hits", json!({"hits": []}));
    let series = json!({"metric": {"instance": EVIL, "mode": EVIL, "device": EVIL, "mountpoint": EVIL}, "value": [1, "1"], "values": [[1, "1"]]});
    for path in ["/api/v1/query", "/api/v1/query_range"] {
        store.put(path, json!({"status": "success", "data": {"result": [series]}}));
    }
    init.put("/v1/services", json!([{"name": EVIL, "state": EVIL, "description": EVIL, "last_exit": EVIL}]));
    init.put(
        "/v1/machine",
        json!({"hostname": EVIL, "config_refused": EVIL, "notes": [EVIL], "ready_after_s": 1.5, "slot": EVIL, "slot_why": EVIL, "last_rollback": {"slot": EVIL, "version": EVIL, "reason": EVIL, "at": 5}}),
    );
    let record =
        json!({"seq": 1, "at_ms": 5, "step": "seen", "detail": {"active": EVIL, EVIL: EVIL}, "hash": EVIL});
    repair.put("/v1/repairs", json!([{"id": EVIL, "unit": EVIL, "peer": EVIL, "policy": EVIL, "outcome": EVIL, "records": [record]}]));
    repair.put("/v1/peers", json!([{"name": EVIL, "state": "disconnected", "error": EVIL, "address": EVIL}]));
    repair.put("/v1/policies", json!({"policies": [{"name": EVIL, "policy": {"name": EVIL, "unit": EVIL}, "standing": {EVIL: {"phase": EVIL, "reason": EVIL}}}], "refused": [{"name": EVIL, "reason": EVIL, "line": 3}]}));
    repair.put("/v1/evidence/head", json!({"seq": 1, "hash": EVIL, EVIL: EVIL}));
    init.put(
        "/v1/slots",
        json!({"slots": [{"slot": EVIL, "version": EVIL, "state": EVIL}], "last_rollback": {"reason": EVIL}}),
    );
    let refused = json!({"kind": EVIL, "reason": EVIL});
    update.put(
        "/v1/update",
        json!({
            "phase": EVIL, "repository": EVIL, "available": {"version": EVIL, "bytes": 5},
            "checked": {"at_ms": 5, "refused": refused},
            "last": {"version": EVIL, "source": EVIL, "outcome": EVIL, "refused": refused},
        }),
    );
    let all = [
        ("log", log),
        ("store", store),
        ("init", init),
        ("repair", repair),
        ("collector", collector),
        ("update", update),
        ("time", time),
        ("egress", egress),
    ]
    .map(|(n, f)| (n, Arc::new(f)));
    let site = site(fakes(&all), &admin()).await;
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    let evil = vakt_web::form::encode(EVIL);
    for target in [
        "/".to_owned(),
        format!("/host/{evil}"),
        format!("/logs?q={evil}&range={evil}"),
        "/repairs".to_owned(),
        "/updates".to_owned(),
        "/box".to_owned(),
    ] {
        let page = site.get(&target, &session).await;
        assert_eq!(page.status, StatusCode::OK, "{target}");
        assert!(page.body.contains("alert(1)"), "{target} shows the text");
        assert!(!page.body.contains("<script") && !page.body.contains("<img"), "{target}");
        assert!(!page.body.contains("onerror=alert(2)>\"'"), "{target}");
    }
    let signed_out = site.get(&format!("/sign-in?next=/{evil}"), "").await;
    assert!(!signed_out.body.contains("<script"));
}

#[tokio::test]
async fn a_search_shows_its_rows_its_mistakes_and_the_way_on() {
    let log = Arc::new(Fake::default());
    let row = |n: usize| {
        json!({"_time": format!("2026-11-22T09:27:{:02}Z", 59 - n / 2), "_msg": format!("row {n}")})
            .to_string()
    };
    let rows: Vec<_> = (0..100).map(row).collect();
    log.put("/select/logsql/query", json!(rows.join("\n")));
    let hits = json!({"hits": [{"fields": {"level": "error"}, "timestamps": ["2026-11-22T09:27:00Z"], "values": [100]}]});
    log.put("/select/logsql/hits", hits);
    let site = site(fakes(&[("log", log.clone())]), &admin()).await;
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    let page = site.get("/logs?q=row&range=30d&level=error", &session).await;
    assert!(page.body.contains("row 99") && page.body.contains("<b>100</b> lines"));
    let (_, older) = page.body.split_once("rel=\"next\" href=\"").unwrap();
    let older = older.split('"').next().unwrap().replace("&#38;", "&");
    site.get(&older, &session).await;
    let seen = log.seen.lock().unwrap().clone();
    let asked = |part: &str| seen.iter().any(|line| line.contains(part));
    assert!(asked("query=%28row%29%20level%3Ain%28error%2Ccritical%2Calert%2Cemerg%29&start="), "{seen:?}");
    // The second page begins at the time of the last row, behind the two rows of that time.
    assert!(asked("%20%7C%20offset%202&start="), "{seen:?}");
    assert!(asked("&end=1795339630000000000&limit=100"), "{seen:?}");
}

#[tokio::test]
async fn updates_are_begun_by_the_page_s_own_forms_only() {
    let update = Arc::new(Fake::default());
    let state = json!({
        "phase": "idle", "slot_bytes": 5, "repository": "https://u.example.org",
        "available": {"version": "0.2.0", "newer": true, "bytes": 1048576},
        "last": {"outcome": "refused", "version": "0.1.9", "refused": {"reason": "it is too old"}},
    });
    update.put("/v1/update", state);
    update.put("/v1/update/install", json!({}));
    let site = site(fakes(&[("update", update.clone())]), &admin()).await;
    assert_eq!(site.get("/updates", "").await.header("location"), "/sign-in?next=%2Fupdates");
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    let page = site.get("/updates", &session).await;
    for said in
        ["0.2.0, 1 MiB, newer than what runs", "Refused: it is too old", "id=\"install\"", "id=\"send\""]
    {
        assert!(page.body.contains(said), "{said}: {}", page.body);
    }
    let token = page.form_token();
    let forged = site.post("/updates/install", &session, &[("form_token", "x")]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let sent = site.post("/updates/install", &session, &[("form_token", &token)]).await;
    assert_eq!((sent.status, sent.header("location")), (StatusCode::SEE_OTHER, "/updates"));

    let upload = async |token: &str| {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"form_token\"\r\n\r\n{token}\r\n--b\r\n\
             Content-Disposition: form-data; name=\"archive\"; filename=\"u\"\r\n\r\n{{}}\r\n--b--"
        );
        let headers = [("cookie", session.as_str()), ("content-type", "multipart/form-data; boundary=b")];
        site.send(Method::POST, "/updates/archive", &headers, &body).await.status
    };
    assert_eq!(upload("x").await, StatusCode::FORBIDDEN);
    assert_eq!(upload(&token).await, StatusCode::SEE_OTHER);
    let seen = update.seen.lock().unwrap().clone();
    let begun: Vec<_> = seen.iter().filter(|line| !line.starts_with("GET")).collect();
    assert_eq!(begun, ["POST /v1/update/install {}", "PUT /v1/update/archive {}\r\n--b--"]);
}

#[tokio::test]
async fn programs_reach_what_their_token_is_for() {
    let (store, log) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
    store.put("/api/v1/query", json!({"status": "success"}));
    store.put("/api/v1/write", json!({}));
    log.put("/insert/jsonline", json!({"accepted": 1}));
    let token = |name: &str, scopes: &str| {
        format!(
            "[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\nscopes = [{scopes}]\n",
            sha256_hex(&[name.as_bytes()])
        )
    };
    let config = format!(
        "{}{}{}",
        admin(),
        token("reader", "\"metrics:read\""),
        token("writer", "\"metrics:write\", \"logs:write\"")
    );
    let site = site(fakes(&[("store", store.clone()), ("log", log.clone())]), &config).await;
    let send = async |method: Method, target: &str, token: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "x/y"), ("cookie", "a=b")];
        site.send(method, target, &headers, body).await
    };
    let page = site.get("/api/v1/query?query=up", "").await;
    assert_eq!(
        (page.status, page.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "Bearer realm=\"vakt\"")
    );
    assert!(page.body.contains("\"errorType\":\"unauthorized\""));
    assert_eq!(send(Method::GET, "/api/v1/query?query=up", "reader", "").await.status, StatusCode::OK);
    let refused = send(Method::POST, "/api/v1/write", "reader", "x").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.header("www-authenticate").contains("insufficient_scope\", scope=\"metrics:write\""));
    assert_eq!(send(Method::POST, "/api/v1/write", "writer", "samples").await.status, StatusCode::OK);
    assert_eq!(
        send(Method::POST, "/insert/jsonline?_msg_field=m", "writer", "{}").await.body,
        "{\"accepted\":1}"
    );
    assert_eq!(
        send(Method::GET, "/select/logsql/query?query=*", "writer", "").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(send(Method::GET, "/api/v1/query", "guess", "").await.status, StatusCode::UNAUTHORIZED);
    assert!(store.seen.lock().unwrap().contains(&"POST /api/v1/write samples".to_owned()));
    assert!(log.seen.lock().unwrap().contains(&"POST /insert/jsonline?_msg_field=m {}".to_owned()));
    // A browser reads with its session, and writes nothing with it.
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    assert_eq!(site.get("/api/v1/query?query=up", &session).await.status, StatusCode::OK);
    assert_eq!(site.post("/insert/jsonline", &session, &[]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_service_that_is_away_is_a_bad_gateway_for_programs() {
    let config =
        format!("[[token]]\nname = \"t\"\nsha256 = \"{}\"\nscopes = [\"logs:read\"]\n", sha256_hex(&[b"t"]));
    let site = site(fakes(&[]), &config).await;
    let page =
        site.send(Method::GET, "/select/logsql/query?query=*", &[("authorization", "Bearer t")], "").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.body.contains("log is not running"));
    assert_eq!(site.get("/health", "").await.body, "OK");
}

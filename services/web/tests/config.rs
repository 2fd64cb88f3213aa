//! The machine config's page and API over an init that answers.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod support;

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Fake, PASSWORD, Site, admin, fakes, site};
use vakt_web::random::sha256_hex;

const DOCUMENT: &str = "version = 1\nhostname = \"guard\"\n# </textarea><script>alert(1)</script>\n";

async fn with_init() -> (Site, Arc<Fake>) {
    let init = Arc::new(Fake::default());
    init.put(
        "/v1/config",
        json!({"number": 4, "settled": 3, "by": "admin", "at_s": 0, "why": "", "in_force": true, "text": DOCUMENT,
               "pending": {"number": 4, "by": "admin", "on_trial": true, "seconds_left": 90, "text": DOCUMENT}}),
    );
    init.put(
        "/v1/config/history",
        json!({"revisions": [{"number": 2, "at_s": 5, "by": "token ci", "undone": "not confirmed within 60 s"},
                             {"number": 3, "at_s": 9, "by": "defaults"}]}),
    );
    init.put("/v1/config/validate", json!({"restarts": ["network"], "needs_confirmation": true}));
    for verb in ["apply", "confirm", "take-back", "rollback"] {
        init.put(&format!("/v1/config/{verb}"), json!({"number": 5}));
    }
    let token = |name: &str, scope: &str| {
        let hash = sha256_hex(&[name.as_bytes()]);
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nscopes = [\"{scope}\"]\n")
    };
    let toml = format!("{}{}{}", admin(), token("reader", "config:read"), token("ci", "config:write"));
    let site = site(fakes(&[("init", init.clone())]), &toml).await;
    (site, init)
}

fn last_sent(init: &Fake, path: &str) -> Value {
    let seen = init.seen.lock().unwrap();
    let found = seen.iter().rev().find_map(|line| line.strip_prefix(&format!("POST {path} ")));
    serde_json::from_str(found.unwrap()).unwrap()
}

#[tokio::test]
async fn the_page_shows_what_is_in_force_what_is_on_trial_and_the_history() {
    let (site, _init) = with_init().await;
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    let page = site.get("/config", &session).await;
    assert_eq!(page.status, StatusCode::OK);
    for said in [
        "Revision 4 is in force",
        "Revision 4 is on trial",
        "1 min",
        "name=\"base\" value=\"3\"",
        "token ci · not confirmed within 60 s",
        "Go back to 2",
    ] {
        assert!(page.body.contains(said), "{said}\n{}", page.body);
    }
    assert!(!page.body.contains("<script"), "a document is text");
}

#[tokio::test]
async fn the_forms_check_apply_and_confirm_in_the_name_of_who_is_signed_in() {
    let (site, init) = with_init().await;
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    let form_token = site.get("/config", &session).await.form_token();
    let new = DOCUMENT.replace("guard", "other").replace('\n', "\r\n");
    let form = |verb: &'static str| {
        vec![
            ("form_token", form_token.as_str()),
            ("verb", verb),
            ("text", &new),
            ("base", "3"),
            ("number", "4"),
            ("why", "a reason"),
            ("confirm_within_s", "60"),
        ]
    };
    let checked = site.post("/config", &session, &form("validate")).await;
    assert_eq!(checked.status, StatusCode::OK);
    assert!(checked.body.contains("It restarts network. It can lock you out"), "{}", checked.body);
    assert!(checked.body.contains("<span class=\"gone\">- hostname = &#34;guard&#34;"), "{}", checked.body);
    assert!(checked.body.contains("<span class=\"new\">+ hostname = &#34;other&#34;"));

    let applied = site.post("/config", &session, &form("apply")).await;
    assert_eq!((applied.status, applied.header("location")), (StatusCode::SEE_OTHER, "/config"));
    assert_eq!(
        last_sent(&init, "/v1/config/apply"),
        json!({"text": DOCUMENT.replace("guard", "other"), "by": "admin", "why": "a reason", "base": 3,
               "number": 4, "confirm_within_s": 60})
    );
    site.post("/config", &session, &form("confirm")).await;
    assert_eq!(last_sent(&init, "/v1/config/confirm")["number"], 4);

    let forged = [("form_token", "0"), ("verb", "apply"), ("text", "x")];
    assert_eq!(site.post("/config", &session, &forged).await.status, StatusCode::FORBIDDEN);
    let unknown = [("form_token", form_token.as_str()), ("verb", "../power")];
    assert_eq!(site.post("/config", &session, &unknown).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.post("/config", "", &form("apply")).await.header("location"), "/sign-in");
}

#[tokio::test]
async fn the_api_is_for_tokens_with_the_scope_and_says_whose_it_was() {
    let (site, init) = with_init().await;
    let ask = |method: Method, path: &'static str, token: &'static str, body: &'static str| {
        let site = &site;
        async move { site.send(method, path, &[("authorization", token)], body).await }
    };
    let got = ask(Method::GET, "/api/vakt/v1/config", "Bearer reader", "").await;
    assert_eq!(
        (got.status, serde_json::from_str::<Value>(&got.body).unwrap()["number"].as_u64()),
        (StatusCode::OK, Some(4))
    );
    let apply = "/api/vakt/v1/config/apply";
    let sent = r#"{"text": "version = 1", "by": "somebody else"}"#;
    assert_eq!(ask(Method::POST, apply, "Bearer reader", sent).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::POST, apply, "Bearer nobody", sent).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Method::POST, apply, "Bearer ci", sent).await.status, StatusCode::OK);
    assert_eq!(last_sent(&init, "/v1/config/apply"), json!({"text": "version = 1", "by": "token ci"}));
    assert_eq!(ask(Method::POST, apply, "Bearer ci", "[]").await.status, StatusCode::BAD_REQUEST);
    let odd = ask(Method::POST, "/api/vakt/v1/config/power", "Bearer ci", "{}").await;
    assert_eq!(odd.status, StatusCode::NOT_FOUND, "init does not know it: {}", odd.body);
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    assert_eq!(site.get("/api/vakt/v1/config", &session).await.status, StatusCode::OK);
    let by_cookie = site.send(Method::POST, apply, &[("cookie", &session)], sent).await;
    assert_eq!(by_cookie.status, StatusCode::UNAUTHORIZED, "a cookie changes nothing without a form");
}

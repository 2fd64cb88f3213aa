//! Who gets in, and who does not.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod support;

use std::sync::Arc;

use hyper::{Method, StatusCode};
use support::{Fake, PASSWORD, admin, fakes, site};
use vakt_web::routes::{Access, ROUTES, Verb};

#[tokio::test]
async fn the_set_up_code_makes_one_administrator_and_works_once() {
    let store = Arc::new(Fake::default());
    let site = site(fakes(&[("store", store.clone())]), "").await;
    let code = site.app.setup.lock().await.arm(site.dir.path()).unwrap();
    assert_eq!(site.get("/sign-in", "").await.header("location"), "/set-up");
    let form = site.get("/set-up", "").await;
    let (visit, token) = (form.cookie("__Host-vakt-visit").unwrap(), form.form_token());
    let set_up = async |code: &str, user: &str, again: &str| {
        let fields = [
            ("form_token", token.as_str()),
            ("code", code),
            ("user", user),
            ("password", PASSWORD),
            ("password_again", again),
        ];
        site.post("/set-up", &visit, &fields).await
    };
    let refused = set_up("AAAA-AAAA", "admin", PASSWORD).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body.contains("That is not the code"));
    assert_eq!(set_up(&code, "admin", "another").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!store.has("/catalog/v1/users/"));
    let done = set_up(&code, "admin", PASSWORD).await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/welcome"));
    let session = done.cookie("__Host-vakt").unwrap();
    assert_eq!(site.get("/", &session).await.status, StatusCode::OK);
    assert!(store.has("/catalog/v1/users/admin"));
    // The code is spent: it makes no second administrator, and nothing keeps its file.
    assert_eq!(set_up(&code, "second", PASSWORD).await.header("location"), "/sign-in");
    assert!(!store.has("/catalog/v1/users/second") && !site.dir.path().join("setup-code").exists());
    let user = store.answers.lock().unwrap()["/catalog/v1/users/admin"]["password_hash"].clone();
    assert!(user.as_str().unwrap().starts_with("$argon2id$"));
}

#[tokio::test]
async fn one_signs_in_uses_the_pages_and_signs_out() {
    let store = Arc::new(Fake::default());
    let dir = fakes(&[("store", store.clone())]);
    let first = site(dir.clone(), &admin()).await;
    let refused = first.sign_in("admin", "wrong").await.unwrap_err();
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body.contains("do not belong together"));
    assert!(first.sign_in("nobody", PASSWORD).await.is_err());
    let session = first.sign_in("admin", PASSWORD).await.unwrap();
    // Only a hash of the cookie is kept.
    let token = session.split('=').nth(1).unwrap().to_owned();
    assert!(store.has("/catalog/v1/sessions/") && !store.has(&format!("/catalog/v1/sessions/{token}")));
    let page = first.get("/", &session).await;
    assert_eq!(page.status, StatusCode::OK);
    // A restart of the web service signs nobody out.
    drop(first);
    let second = site(dir, &admin()).await;
    assert_eq!(second.get("/logs", &session).await.status, StatusCode::OK);
    assert_eq!(
        second.post("/sign-out", &session, &[("form_token", "wrong")]).await.status,
        StatusCode::FORBIDDEN
    );
    let out = second.post("/sign-out", &session, &[("form_token", &page.form_token())]).await;
    assert_eq!(out.header("location"), "/sign-in");
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(second.get("/", &session).await.header("location"), "/sign-in");
    assert!(!store.has("/catalog/v1/sessions/"));
}

#[tokio::test]
async fn the_config_administrator_signs_in_without_a_store() {
    let site = site(fakes(&[]), &admin()).await;
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    let page = site.get("/", &session).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("store is not running"));
    let other = site.sign_in("other", PASSWORD).await.unwrap_err();
    assert!(other.body.contains("The store does not answer"));
}

#[tokio::test]
async fn a_form_that_is_not_ours_is_refused() {
    let site = site(fakes(&[]), &admin()).await;
    let form = site.get("/sign-in", "").await;
    let (visit, token) = (form.cookie("__Host-vakt-visit").unwrap(), form.form_token());
    let body = format!("form_token={token}&user=admin&password={}", PASSWORD.replace(' ', "+"));
    let send =
        async |headers: &[(&str, &str)], body: &str| site.send(Method::POST, "/sign-in", headers, body).await;
    let no_token = send(&[("cookie", &visit)], "user=admin&password=x").await;
    assert_eq!(no_token.status, StatusCode::FORBIDDEN);
    assert!(no_token.body.contains("Form not accepted"));
    assert_eq!(send(&[], &body).await.status, StatusCode::FORBIDDEN);
    let other = [("cookie", "__Host-vakt-visit=00000000000000000000000000000000")];
    assert_eq!(send(&other, &body).await.status, StatusCode::FORBIDDEN);
    let cross_site = [("cookie", visit.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(send(&cross_site, &body).await.status, StatusCode::FORBIDDEN);
    let large = format!("{body}&x={}", "x".repeat(20_000));
    assert_eq!(send(&[("cookie", &visit)], &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let good = send(&[("cookie", &visit), ("sec-fetch-site", "same-origin")], &body).await;
    assert_eq!(good.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn who_guesses_has_to_wait() {
    let site = site(fakes(&[]), &admin()).await;
    // The wait doubles with each guess, so a slow machine only needs more of them.
    for _ in 0..64 {
        let refused = site.sign_in("admin", "guess").await.unwrap_err();
        if refused.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
            return;
        }
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    panic!("64 guesses in a row and nobody had to wait");
}

#[tokio::test]
async fn a_visitor_is_sent_to_sign_in_from_every_page_and_back_afterwards() {
    let site = site(fakes(&[]), &admin()).await;
    for route in ROUTES.iter().filter(|route| route.access == Access::SignedIn) {
        let method = if route.verb == Verb::Post { Method::POST } else { Method::GET };
        let target = route.pattern.replace("{}", "db1");
        let page = site.send(method, &target, &[("cookie", "__Host-vakt=0000")], "").await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{target}");
        assert!(page.header("location").starts_with("/sign-in"), "{target}: {}", page.header("location"));
    }
    let page = site.get("/logs?q=a%20b&range=6h", "").await;
    assert_eq!(page.header("location"), "/sign-in?next=%2Flogs%3Fq%3Da%2520b%26range%3D6h");
    let form = site.get(page.header("location"), "").await;
    assert!(form.body.contains("name=\"next\" value=\"/logs?q=a%20b&#38;range=6h\""), "{}", form.body);
    let visit = form.cookie("__Host-vakt-visit").unwrap();
    let token = form.form_token();
    let fields = [
        ("form_token", token.as_str()),
        ("user", "admin"),
        ("password", PASSWORD),
        ("next", "/logs?q=a%20b&range=6h"),
    ];
    assert_eq!(site.post("/sign-in", &visit, &fields).await.header("location"), "/logs?q=a%20b&range=6h");
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let site = site(fakes(&[]), &admin()).await;
    let session = site.sign_in("admin", PASSWORD).await.unwrap();
    let mut targets: Vec<_> = ROUTES
        .iter()
        .map(|route| {
            (
                if route.verb == Verb::Post { Method::POST } else { Method::GET },
                route.pattern.replace("{}", "x"),
            )
        })
        .collect();
    targets.push((Method::GET, "/nowhere".into()));
    targets.push((Method::DELETE, "/logs".into()));
    for cookie in ["", session.as_str()] {
        for (method, target) in &targets {
            let headers = [("cookie", cookie)];
            let headers: &[(&str, &str)] = if cookie.is_empty() { &[] } else { &headers };
            let page = site.send(method.clone(), target, headers, "").await;
            let policy = page.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{target}: {policy}");
            for name in ["strict-transport-security", "x-content-type-options", "referrer-policy"] {
                assert!(!page.header(name).is_empty(), "{target} has no {name}");
            }
            assert!(!page.body.contains("<script") && !page.body.contains("style="), "{target}");
        }
    }
}

//! The real app on a unix socket, with small servers in the place of the other services.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vakt_web::app::App;
use vakt_web::backend::Sockets;
use vakt_wire::config;
use vakt_wire::http::{Client, Handler, Request, Response, error, full, json as answer, read, serve, text};
use vakt_wire::listen::Address;

/// What a fake service answers: path to JSON; and what was sent to it.
#[derive(Debug, Default)]
pub struct Fake {
    /// Answers by path, without the query.
    pub answers: Mutex<BTreeMap<String, Value>>,
    /// `METHOD target body` of what was sent.
    pub seen: Mutex<Vec<String>>,
}

impl Fake {
    /// Sets an answer.
    pub fn put(&self, path: &str, value: Value) {
        self.answers.lock().unwrap().insert(path.to_owned(), value);
    }

    /// Is there a document whose path begins so?
    pub fn has(&self, prefix: &str) -> bool {
        self.answers.lock().unwrap().keys().any(|path| path.starts_with(prefix))
    }
}

impl Handler for Fake {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let target = request.uri().to_string();
        let body = read(request.body, 1 << 20).await.unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        self.seen.lock().unwrap().push(format!("{method} {target} {body}"));
        let mut answers = self.answers.lock().unwrap();
        if let Some(rest) = path.strip_prefix("/catalog/v1/") {
            return catalog(&mut answers, &method, &path, rest.contains('/'), &body);
        }
        match answers.get(&path) {
            // A text is NDJSON, as the log service answers.
            Some(Value::String(lines)) => text(StatusCode::OK, lines.clone()),
            Some(value) => answer(StatusCode::OK, value),
            None => error(StatusCode::NOT_FOUND, "no such path"),
        }
    }
}

fn catalog(
    answers: &mut BTreeMap<String, Value>,
    method: &Method,
    path: &str,
    one: bool,
    body: &str,
) -> Response {
    match (method, one) {
        (&Method::PUT, _) => {
            answers.insert(path.to_owned(), serde_json::from_str(body).unwrap());
            answer(StatusCode::CREATED, &json!({}))
        }
        (&Method::DELETE, _) => {
            answers.remove(path);
            answer(StatusCode::OK, &json!({}))
        }
        (_, true) => match answers.get(path) {
            Some(value) => answer(StatusCode::OK, value),
            None => error(StatusCode::NOT_FOUND, "no such document"),
        },
        (_, false) => {
            let items: Vec<_> = answers.iter().filter(|(key, _)| key.starts_with(path)).collect();
            let items: Vec<_> =
                items.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
            answer(StatusCode::OK, &json!({"items": items, "next": null}))
        }
    }
}

/// An app and what is around it.
pub struct Site {
    /// Holds sockets and the app's data.
    pub dir: Arc<tempfile::TempDir>,
    /// The app.
    pub app: Arc<App>,
    client: Client,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Page {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: hyper::HeaderMap,
    /// Its body.
    pub body: String,
}

impl Page {
    /// A header as text, or the empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `name=value` of a cookie that is set and not removed.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let mut cookies = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        let found = cookies
            .find(|cookie| cookie.starts_with(&format!("{name}=")) && !cookie.contains("Max-Age=0"))?;
        Some(found.split(';').next().unwrap().to_owned())
    }

    /// The token of the page's form.
    pub fn form_token(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"form_token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

/// A directory with a fake service at `<name>.sock` for each of `fakes`.
pub fn fakes(fakes: &[(&str, Arc<Fake>)]) -> Arc<tempfile::TempDir> {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    for (name, fake) in fakes {
        let listener = Address::Unix(socket(dir.path(), name)).bind().unwrap();
        tokio::spawn(serve(listener, fake.clone(), CancellationToken::new()));
    }
    dir
}

fn socket(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.sock"))
}

/// Starts the app with this config (TOML without the version).
pub async fn site(dir: Arc<tempfile::TempDir>, toml: &str) -> Site {
    let config = config::parse(&format!("version = 1\n{toml}")).unwrap();
    let at = |name: &str| socket(dir.path(), name);
    let sockets = Sockets {
        store: at("store"),
        log: at("log"),
        repair: at("repair"),
        init: at("init"),
        collector: at("collector"),
        update: at("update"),
        egress: at("egress"),
    };
    let app = Arc::new(App::new(config, &sockets, dir.path().to_owned()));
    let stop = CancellationToken::new();
    let listener = Address::Unix(at("web")).bind().unwrap();
    tokio::spawn(serve(listener, app.clone(), stop.clone()));
    let client = Client::unix(at("web"));
    Site { dir, app, client, stop }
}

impl Site {
    /// Sends a request with these headers.
    pub async fn send(&self, method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Page {
        let mut request = hyper::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.client.open(request.body(full(body.to_owned())).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = String::from_utf8(read(body, 8 << 20).await.unwrap().to_vec()).unwrap();
        Page { status: head.status, headers: head.headers, body }
    }

    /// GET with a cookie (empty for none).
    pub async fn get(&self, target: &str, cookie: &str) -> Page {
        let headers = [("cookie", cookie)];
        self.send(Method::GET, target, if cookie.is_empty() { &[] } else { &headers }, "").await
    }

    /// POST of a form with a cookie.
    pub async fn post(&self, target: &str, cookie: &str, form: &[(&str, &str)]) -> Page {
        let form: Vec<_> = form.iter().map(|(n, v)| format!("{n}={}", vakt_web::form::encode(v))).collect();
        self.send(Method::POST, target, &[("cookie", cookie)], &form.join("&")).await
    }

    /// Signs in and returns the session's cookie, or the page that said no.
    pub async fn sign_in(&self, user: &str, password: &str) -> Result<String, Page> {
        let form = self.get("/sign-in", "").await;
        let visit = form.cookie("__Host-vakt-visit").unwrap();
        let fields =
            [("form_token", form.form_token()), ("user", user.into()), ("password", password.into())];
        let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let page = self.post("/sign-in", &visit, &fields).await;
        page.cookie("__Host-vakt").ok_or(page)
    }
}

/// The password of [`admin`].
pub const PASSWORD: &str = "correct horse battery";

/// `[admin]` of a config, with [`PASSWORD`].
pub fn admin() -> String {
    let hash = vakt_web::account::password::hash(PASSWORD).unwrap();
    format!("[admin]\nuser = \"admin\"\npassword_hash = \"{hash}\"\n")
}

//! Queries of the pages, passed on to the engine of `[read_from]`.
//!
//! web has no network of its own, and this is who may reach listed places. Only reading is passed on: the paths of
//! [`is_query`], with what they were asked for; who asks, cookies and the like stay here. Errors of the way are told in the form of
//! Prometheus' API, with the place and the reason, so that a page can show them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;
use vakt_reach::connect::{Connector, Trust};
use vakt_wire::config::{Authorities, ReadFrom};
use vakt_wire::http::read;

use crate::send::sign_in;

/// Queries that run at a time: with their answers a part of the 64 MiB that the service has.
const AT_ONCE: usize = 4;

/// Bytes of an answer. A page's largest is some 200 KB.
const ANSWER_BYTES_MAX: usize = 6 << 20;

/// Bytes of a query sent as a form.
pub const QUERY_BYTES_MAX: usize = 256 << 10;

/// One query with its turn and its answer; web gives a page up after 5 s, and is to hear why.
const WITHIN: Duration = Duration::from_secs(4);

/// Characters that are shown of an answer which is none.
const REASON_CHARS_MAX: usize = 200;

/// What is passed on.
#[derive(Debug)]
pub struct Query {
    /// GET, or POST with a form.
    pub method: Method,
    /// The path, with the query.
    pub target: String,
    /// The body's type.
    pub kind: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

/// An answer of the engine.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// JSON.
    pub body: Bytes,
}

/// The engine that is read from.
#[derive(Debug)]
pub struct Reader {
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    connector: Connector,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    turns: Semaphore,
}

/// Whether a path is one that reads.
pub fn is_query(path: &str) -> bool {
    let label = path.strip_prefix("/api/v1/label/").and_then(|rest| rest.strip_suffix("/values"));
    matches!(path, "/api/v1/query" | "/api/v1/query_range" | "/api/v1/series" | "/api/v1/labels")
        || label.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

impl Reader {
    /// The engine of the config.
    ///
    /// # Errors
    /// When the config's values cannot be used.
    pub fn new(read_from: &ReadFrom) -> anyhow::Result<Reader> {
        let wrong = |what: &dyn std::fmt::Display| anyhow::anyhow!("[read_from] {what}");
        let url = Url::parse(read_from.url.as_str()).map_err(|error| wrong(&format_args!("url: {error}")))?;
        let headers = sign_in(read_from.authorization(), read_from.tenant.as_ref())
            .map_err(|what| wrong(&format_args!("{what} cannot be sent as a header")))?;
        let authorities = read_from.authorities.as_ref().map(Authorities::as_str);
        let connector =
            Connector::new(Trust { authorities, ..Trust::default() }).map_err(|error| wrong(&error))?;
        let (idle, turns) = (Mutex::default(), Semaphore::new(AT_ONCE));
        Ok(Reader { url, headers, connector, idle, turns })
    }

    /// Asks the engine.
    ///
    /// # Errors
    /// Where it was asked and why there is no answer, for a person.
    pub async fn ask(&self, query: &Query) -> Result<Answer, String> {
        let asked = timeout(WITHIN, async {
            // Never closed.
            let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
            self.exchange(query).await
        });
        let late = || format!("no answer within {} s", WITHIN.as_secs());
        let answer = asked.await.map_err(|_| late()).flatten();
        answer.and_then(judge).map_err(|reason| format!("{}: {reason}", self.url))
    }

    async fn exchange(&self, query: &Query) -> Result<Answer, String> {
        // One that was idle may be closed by now, which shows only when it is used.
        let idle = self.idle().pop().filter(|sender| !sender.is_closed());
        if let Some(sender) = idle
            && let Ok(answer) = self.over(sender, query).await
        {
            return Ok(answer);
        }
        self.over(self.connector.connect(&self.url).await?, query).await
    }

    async fn over(&self, mut sender: SendRequest<Full<Bytes>>, query: &Query) -> Result<Answer, String> {
        sender.ready().await.map_err(|error| error.to_string())?;
        let answer = sender.send_request(self.request(query)?).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body = read(body, ANSWER_BYTES_MAX).await.map_err(|error| error.to_string())?;
        let mut idle = self.idle();
        if idle.len() < AT_ONCE {
            idle.push(sender);
        }
        Ok(Answer { status: head.status, body })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, query: &Query) -> Result<Request<Full<Bytes>>, String> {
        let host = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        let target = format!("{}{}", self.url.path().trim_end_matches('/'), query.target);
        let mut request = Request::builder()
            .method(query.method.clone())
            .uri(target)
            .header(HOST, host)
            .header(USER_AGENT, concat!("vakt-egress/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(kind) = &query.kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        request.body(Full::new(query.body.clone())).map_err(|error| error.to_string())
    }
}

/// An answer of Prometheus' API, also one that refuses; anything else is none.
fn judge(answer: Answer) -> Result<Answer, String> {
    let begins = answer.body.trim_ascii_start().starts_with(b"{");
    let speaks = begins && answer.body.windows(8).take(512).any(|part| part == b"\"status\"");
    if speaks && !answer.status.is_server_error() {
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.trim().chars().take(REASON_CHARS_MAX).collect();
    Err(if text.is_empty() { answer.status.to_string() } else { format!("{}: {text}", answer.status) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_is_passed_on() {
        for path in ["/api/v1/query", "/api/v1/query_range", "/api/v1/labels", "/api/v1/label/job/values"] {
            assert!(is_query(path), "{path}");
        }
        for path in [
            "/api/v1/write",
            "/api/v1/admin/tsdb/delete_series",
            "/api/v1/label/a/b/values",
            "/",
            "/api/v1/label//values",
        ] {
            assert!(!is_query(path), "{path}");
        }
    }

    #[test]
    fn an_answer_of_another_api_is_told_and_a_refusal_of_the_query_passed_back() {
        let check = |status: u16, body: &'static str, expected: Result<(), &str>| {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = judge(Answer { status, body: Bytes::from_static(body.as_bytes()) });
            assert_eq!(judged.map(|_| ()), expected.map_err(str::to_owned), "{body}");
        };
        check(200, r#"{"status":"success","data":{}}"#, Ok(()));
        check(400, r#" {"status":"error","errorType":"bad_data","error":"x"}"#, Ok(()));
        check(401, "no\n", Err("401 Unauthorized: no"));
        check(200, "<html>", Err("200 OK: <html>"));
        check(
            503,
            r#"{"status":"error","error":"starting"}"#,
            Err("503 Service Unavailable: {\"status\":\"error\",\"error\":\"starting\"}"),
        );
        check(502, "", Err("502 Bad Gateway"));
    }
}

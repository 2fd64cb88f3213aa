//! One place that is written to: in order, one request at a time, for as long as it takes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;
use url::Url;
use vakt_reach::connect::{Connector, SetUpError, Trust};
use vakt_wire::config::{Authorities, Forward, Tenant};
use vakt_wire::http::read;

use crate::bundle::{is_enough, join};
use crate::queue::{Cursor, Queue};
use crate::verdict::{Verdict, verdict, wait};

/// One request, from its first byte to the answer's last.
const SEND_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of an answer that says what is wrong.
const REASON_BYTES_MAX: usize = 4096;

/// Characters of it that are shown.
const REASON_CHARS_MAX: usize = 300;

/// What pages and metrics show of a place.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Standing {
    /// As the config calls it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Samples that it has acknowledged since the service began.
    pub sent_samples: u64,
    /// Requests that it has acknowledged.
    pub sent_requests: u64,
    /// Samples that it refused for good.
    pub refused_samples: u64,
    /// Samples that were dropped before they were sent: the queue was full, or a record broken.
    pub lost_samples: u64,
    /// Why it does not take samples at present.
    pub error: Option<String>,
    /// Samples that wait for it.
    pub pending_samples: u64,
    /// Bytes that wait for it.
    pub pending_bytes: u64,
}

/// A place.
#[derive(Debug)]
pub struct Place {
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    connector: Connector,
    cursor_path: PathBuf,
    cursor: Mutex<Cursor>,
    standing: Mutex<Standing>,
}

/// Why a place of the config cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The URL is none.
    #[error("[[forward]] {name}: url: {source}")]
    Url {
        /// The place.
        name: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// A header cannot be written as it is.
    #[error("[[forward]] {name}: {what} cannot be sent as a header")]
    Header {
        /// The place.
        name: String,
        /// Which value.
        what: &'static str,
    },
    /// Its certificates.
    #[error("[[forward]] {name}: {source}")]
    SetUp {
        /// The place.
        name: String,
        /// What is wrong.
        source: SetUpError,
    },
}

impl Place {
    /// The place `forward` of the config; one that is new begins with what comes from now on.
    ///
    /// # Errors
    /// [`PlaceError`] when the config's values cannot be used.
    pub fn new(forward: &Forward, cursor_path: PathBuf, queue: &Queue) -> Result<Place, PlaceError> {
        let name = || forward.name.as_str().to_owned();
        let url =
            Url::parse(forward.url.as_str()).map_err(|source| PlaceError::Url { name: name(), source })?;
        let headers = sign_in(forward.authorization(), forward.tenant.as_ref())
            .map_err(|what| PlaceError::Header { name: name(), what })?;
        let trust =
            Trust { authorities: forward.authorities.as_ref().map(Authorities::as_str), ..Trust::default() };
        let connector = Connector::new(trust).map_err(|source| PlaceError::SetUp { name: name(), source })?;
        let cursor = Cursor::load(&cursor_path).unwrap_or_else(|| queue.end());
        let standing = Standing { name: name(), url: forward.url.to_string(), ..Standing::default() };
        Ok(Place {
            url,
            headers,
            connector,
            cursor_path,
            cursor: Mutex::new(cursor),
            standing: Mutex::new(standing),
        })
    }

    /// How it stands.
    pub fn standing(&self, queue: &Queue) -> Standing {
        let (pending_bytes, pending_samples) = queue.pending(&lock(&self.cursor));
        Standing { pending_bytes, pending_samples, ..lock(&self.standing).clone() }
    }

    /// Where it is in the queue. Held while the queue is trimmed.
    pub fn cursor(&self) -> MutexGuard<'_, Cursor> {
        lock(&self.cursor)
    }

    /// Keeps the cursor, and counts what is lost with its last move.
    pub fn moved(&self, cursor: &Cursor, lost: u64) {
        if lost > 0 {
            let mut standing = lock(&self.standing);
            standing.lost_samples += lost;
            tracing::error!(
                place = standing.name,
                samples = lost,
                "samples are dropped before they were sent"
            );
        }
        if let Err(error) = cursor.store(&self.cursor_path) {
            // The next boot sends again what this one has sent.
            tracing::warn!(%error, path = %self.cursor_path.display(), "a cursor cannot be kept");
        }
    }

    /// Sends what is in the queue and what comes, until it is dropped.
    pub async fn run(self: Arc<Self>, queue: Arc<Queue>, mut synced: watch::Receiver<u64>) {
        let (mut connection, mut failures) = (None, 0);
        loop {
            synced.mark_unchanged();
            match self.turn(&queue, &mut connection).await {
                Ok(true) => failures = 0,
                // Nothing is there; the appender is gone only at the end.
                Ok(false) if synced.changed().await.is_err() => return,
                Ok(false) => {}
                Err((reason, after)) => {
                    failures += 1;
                    let pause = after.unwrap_or_else(|| wait(failures, noise()));
                    let name = {
                        let mut standing = lock(&self.standing);
                        standing.error = Some(reason.clone());
                        standing.name.clone()
                    };
                    tracing::warn!(place = name, reason, ?pause, "samples wait to be sent");
                    connection = None;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Sends one request. False when there is nothing to send.
    async fn turn(
        &self,
        queue: &Queue,
        connection: &mut Option<SendRequest<Full<Bytes>>>,
    ) -> Result<bool, (String, Option<Duration>)> {
        let from = *self.cursor();
        let found = queue.read(&from, is_enough).map_err(|error| (error.to_string(), None))?;
        let samples: u64 = found.records.iter().map(|record| u64::from(record.samples)).sum();
        if found.records.is_empty() && found.next == from {
            return Ok(false);
        }
        if !found.records.is_empty() {
            match join(&found.records) {
                Ok(body) => self.send(body.into(), samples, connection).await?,
                Err(error) => self.refused(samples, &format!("cannot be joined: {error}")),
            }
        }
        let mut cursor = self.cursor();
        // Room may have been made meanwhile, which moves cursors too: never back.
        if (found.next.segment, found.next.offset) > (cursor.segment, cursor.offset) {
            *cursor = found.next;
            self.moved(&cursor, found.lost);
        }
        Ok(true)
    }

    async fn send(
        &self,
        body: Bytes,
        samples: u64,
        connection: &mut Option<SendRequest<Full<Bytes>>>,
    ) -> Result<(), (String, Option<Duration>)> {
        let later = |reason: String| (reason, None);
        let exchange = async {
            let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
                Some(sender) => sender,
                None => self.connector.connect(&self.url).await?,
            };
            sender.ready().await.map_err(|error| error.to_string())?;
            let answer = sender.send_request(self.request(body)?).await.map_err(|error| error.to_string())?;
            let (head, body) = answer.into_parts();
            let text = read(body, REASON_BYTES_MAX).await.unwrap_or_default();
            Ok::<_, String>((head, text, sender))
        };
        let exchanged = timeout(SEND_WITHIN, exchange).await;
        let (head, text, sender) = exchanged
            .map_err(|_| later(format!("no answer within {} s", SEND_WITHIN.as_secs())))?
            .map_err(later)?;
        *connection = Some(sender);
        let text: String = String::from_utf8_lossy(&text).trim().chars().take(REASON_CHARS_MAX).collect();
        let after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        match verdict(head.status, after) {
            Verdict::Done => {
                let mut standing = lock(&self.standing);
                standing.sent_samples += samples;
                standing.sent_requests += 1;
                standing.error = None;
                Ok(())
            }
            Verdict::Refused => {
                self.refused(samples, &format!("{}: {text}", head.status));
                Ok(())
            }
            Verdict::Later(after) => Err((format!("{}: {text}", head.status), after)),
        }
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let host = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.url[url::Position::BeforePath..])
            .header(HOST, host)
            .header(USER_AGENT, concat!("vakt-egress/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|error| error.to_string())
    }

    fn refused(&self, samples: u64, reason: &str) {
        let mut standing = lock(&self.standing);
        standing.refused_samples += samples;
        standing.error = Some(reason.to_owned());
        tracing::error!(place = standing.name, samples, reason, "samples are refused for good");
    }
}

/// The headers that say who we are, or which value cannot be one.
pub(crate) fn sign_in(
    authorization: Option<String>,
    tenant: Option<&Tenant>,
) -> Result<Vec<(HeaderName, HeaderValue)>, &'static str> {
    let mut headers = Vec::new();
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| "bearer or password")?;
        value.set_sensitive(true);
        headers.push((AUTHORIZATION, value));
    }
    if let Some(tenant) = tenant {
        let value = HeaderValue::from_str(tenant.as_str()).map_err(|_| "tenant")?;
        headers.push((HeaderName::from_static("x-scope-orgid"), value));
    }
    Ok(headers)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain numbers and texts: a panic elsewhere leaves none that is half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Any number; only spread depends on it.
fn noise() -> u32 {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}

//! The client side: one call, one connection, one deadline.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::body::{Body, full, read};

/// Whole-call deadline unless [`Client::within`] says otherwise.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// Largest answer that [`Client::call`] holds in memory; larger ones are for [`Client::open`].
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Why a call to another process failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens, or the connection broke.
    #[error("{socket}: {source}")]
    Connection {
        /// The socket that was called.
        socket: String,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{socket}: no answer within {within:?}")]
    Late {
        /// The socket that was called.
        socket: String,
        /// The deadline that passed.
        within: Duration,
    },
    /// An answer other than 2xx.
    #[error("{socket}: {status}: {body}")]
    Refused {
        /// The socket that was called.
        socket: String,
        /// Its status.
        status: StatusCode,
        /// Its body, cut to 500 characters.
        body: String,
    },
    /// A 2xx answer that is not what was expected.
    #[error("{socket}: unreadable answer: {reason}")]
    Unreadable {
        /// The socket that was called.
        socket: String,
        /// What was wrong with it.
        reason: String,
    },
}

/// A caller of one process' unix socket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    within: Duration,
}

impl Client {
    /// A caller of the server at `socket`, with a deadline of 10 s a call.
    pub fn unix(socket: impl AsRef<Path>) -> Client {
        Client { socket: socket.as_ref().to_owned(), within: CALL_WITHIN }
    }

    /// The same with another deadline for the whole call.
    pub fn within(mut self, deadline: Duration) -> Client {
        self.within = deadline;
        self
    }

    /// Sends a request and hands the answer over as it comes, whatever its status. The deadline
    /// covers the time to the answer's head; the body is the caller's to bound.
    ///
    /// # Errors
    /// [`CallError::Connection`] and [`CallError::Late`].
    pub async fn open(&self, request: hyper::Request<Body>) -> Result<hyper::Response<Incoming>, CallError> {
        tokio::time::timeout(self.within, self.exchange(request))
            .await
            .map_err(|_| CallError::Late { socket: self.name(), within: self.within })?
    }

    async fn exchange(
        &self,
        mut request: hyper::Request<Body>,
    ) -> Result<hyper::Response<Incoming>, CallError> {
        let broken = |error: hyper::Error| CallError::Connection {
            socket: self.name(),
            source: io::Error::other(error),
        };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| CallError::Connection { socket: self.name(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // The connection's own error is seen by the caller as the error of the exchange.
        tokio::spawn(connection.with_upgrades());
        request.headers_mut().entry(HOST).or_insert(hyper::header::HeaderValue::from_static("vakt"));
        sender.send_request(request).await.map_err(broken)
    }

    /// Sends a request and returns the body (at most 32 MiB) of a 2xx answer.
    ///
    /// # Errors
    /// Every kind of [`CallError`]; anything but 2xx is [`CallError::Refused`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Bytes, CallError> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, content_type)
            .body(full(body))
            .map_err(|error| CallError::Unreadable {
                socket: self.name(),
                reason: format!("bad request: {error}"),
            })?;
        let whole = async {
            let answer = self.exchange(request).await?;
            let status = answer.status();
            let bytes = read(answer.into_body(), ANSWER_BYTES_MAX)
                .await
                .map_err(|error| CallError::Unreadable { socket: self.name(), reason: error.to_string() })?;
            if status.is_success() {
                return Ok(bytes);
            }
            let body = String::from_utf8_lossy(&bytes).chars().take(500).collect();
            Err(CallError::Refused { socket: self.name(), status, body })
        };
        tokio::time::timeout(self.within, whole)
            .await
            .map_err(|_| CallError::Late { socket: self.name(), within: self.within })?
    }

    /// GET, and the JSON of the answer.
    ///
    /// # Errors
    /// As [`Client::call`]; JSON of another shape is [`CallError::Unreadable`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let bytes = self.call(Method::GET, path, "application/json", Bytes::new()).await?;
        self.decode(&bytes)
    }

    /// Sends `value` as JSON with `method`, and returns the JSON of the answer (`null` for an empty one).
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        value: &impl Serialize,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(value)
            .map_err(|error| CallError::Unreadable { socket: self.name(), reason: error.to_string() })?;
        let bytes = self.call(method, path, "application/json", body).await?;
        self.decode(if bytes.is_empty() { b"null" } else { &bytes })
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CallError> {
        serde_json::from_slice(bytes)
            .map_err(|error| CallError::Unreadable { socket: self.name(), reason: error.to_string() })
    }

    fn name(&self) -> String {
        self.socket.display().to_string()
    }
}

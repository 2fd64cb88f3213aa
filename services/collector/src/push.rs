//! Sends what the outbox holds to the store, one body after the other.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use vakt_wire::http::{Body, full, read};

use crate::outbox::{Batch, Outbox};

/// One body must be acknowledged within this.
const SEND_WITHIN: Duration = Duration::from_secs(10);

/// Wait after a failure; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);

/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// At the end, what waits has this long to be sent.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of an error answer that are read.
const REASON_BYTES_MAX: usize = 4096;

/// Where remote-write goes: `unix:/run/x.sock` or `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushTo {
    /// A unix socket; the path is `/api/v1/write`.
    Unix(PathBuf),
    /// Plain HTTP.
    Http {
        /// Host and port.
        authority: String,
        /// The path.
        path: String,
    },
}

impl FromStr for PushTo {
    type Err = String;

    fn from_str(text: &str) -> Result<PushTo, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(PushTo::Unix(path.into()));
        }
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            format!("{text:?} is no place to push to; write unix:/run/vakt/store/http.sock or http://127.0.0.1:8428")
        })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority =
            if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let path = if path.is_empty() { "/api/v1/write".into() } else { format!("/{path}") };
        Ok(PushTo::Http { authority, path })
    }
}

/// The way to the store, with the connection that was used last.
#[derive(Debug)]
pub struct Pusher {
    to: PushTo,
    open: Option<SendRequest<Body>>,
}

impl Pusher {
    /// A way that is not open yet.
    pub fn new(to: PushTo) -> Pusher {
        Pusher { to, open: None }
    }

    /// Sends one body. `Ok(Some(reason))` means that the store has taken what it ever will of it.
    async fn send(&mut self, body: &Bytes) -> Result<Option<String>> {
        // A kept connection may have been closed meanwhile, which shows only when it is used. The same samples may come
        // twice then, which a store keeps once.
        let answer = match self.open.take().filter(|open| !open.is_closed()) {
            Some(open) => self.exchange(open, body.clone()).await.ok(),
            None => None,
        };
        let answer = match answer {
            Some(answer) => answer,
            None => {
                let open = self.connect().await?;
                self.exchange(open, body.clone()).await?
            }
        };
        let (status, reason) = answer;
        if status.is_success() {
            return Ok(None);
        }
        let reason = format!("{status}: {}", String::from_utf8_lossy(&reason).trim());
        let for_good = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
        if for_good { Ok(Some(reason)) } else { Err(anyhow::Error::msg(reason)) }
    }

    async fn connect(&self) -> Result<SendRequest<Body>> {
        match &self.to {
            PushTo::Unix(path) => shaken(UnixStream::connect(path).await?).await,
            PushTo::Http { authority, .. } => {
                let stream = TcpStream::connect(authority.as_str()).await?;
                // A body is written whole; there is nothing to wait for.
                stream.set_nodelay(true)?;
                shaken(stream).await
            }
        }
    }

    /// One request, and its answer with the start of what it says. The connection is kept when all was read.
    async fn exchange(&mut self, mut open: SendRequest<Body>, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let (authority, path) = match &self.to {
            PushTo::Unix(_) => ("vakt", "/api/v1/write"),
            PushTo::Http { authority, path } => (authority.as_str(), path.as_str()),
        };
        let request = hyper::Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(full(body))?;
        let answer = open.send_request(request).await?;
        let status = answer.status();
        let reason = read(answer.into_body(), REASON_BYTES_MAX).await;
        if reason.is_ok() {
            self.open = Some(open);
        }
        Ok((status, reason.unwrap_or_default()))
    }
}

async fn shaken<S>(stream: S) -> Result<SendRequest<Body>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection's own error is seen as the error of the exchange.
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends until it is dropped.
pub async fn run(to: PushTo, outbox: Arc<Outbox>) {
    let mut pusher = Pusher::new(to);
    let mut wait = RETRY_MIN;
    loop {
        let batch = outbox.take().await;
        match once(&mut pusher, &outbox, batch).await {
            Ok(()) => wait = RETRY_MIN,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), ?wait, "store does not take samples; they wait");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Sends what waits, for a bounded time: the end of the process.
pub async fn flush(to: PushTo, outbox: &Outbox) {
    let mut pusher = Pusher::new(to);
    let all = async {
        while let Some(batch) = outbox.take_now() {
            once(&mut pusher, outbox, batch).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    match timeout(FLUSH_WITHIN, all).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "samples that wait are given up"),
        Err(_) => tracing::warn!("samples that wait are given up: the store is too slow"),
    }
}

async fn once(pusher: &mut Pusher, outbox: &Outbox, batch: Batch) -> Result<()> {
    let sent = timeout(SEND_WITHIN, pusher.send(&batch.body)).await;
    match sent.context("no answer in time").and_then(|sent| sent) {
        Ok(None) => {
            outbox.sent.fetch_add(batch.samples, Ordering::Relaxed);
            Ok(())
        }
        Ok(Some(reason)) => {
            outbox.refused.fetch_add(batch.samples, Ordering::Relaxed);
            tracing::error!(reason, "store refused samples");
            Ok(())
        }
        Err(error) => {
            outbox.put_back(batch);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        let http =
            |authority: &str, path: &str| PushTo::Http { authority: authority.into(), path: path.into() };
        assert_eq!("unix:/a".parse(), Ok(PushTo::Unix("/a".into())));
        assert_eq!("http://h:1".parse(), Ok(http("h:1", "/api/v1/write")));
        assert_eq!("http://h/p/q".parse(), Ok(http("h:80", "/p/q")));
        assert!("https://h".parse::<PushTo>().unwrap_err().contains("unix:/run/vakt/store/http.sock"));
    }
}

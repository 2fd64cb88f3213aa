//! The server side: accept, identify, hand to the handler, drain.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::{Body, full};
use crate::life::DRAIN_MAX;

/// Connections that one listener serves at a time. Further ones wait in the backlog, so a flood of
/// clients costs a queue in the kernel and no memory here.
pub const CONNECTIONS_MAX: usize = 512;

/// Bytes of a request's line and headers, and of what a connection buffers at a time. A query by GET is as
/// long as its URL; beyond this it goes into a form body.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// A client must have sent its request line and headers within this time, from the connection's begin or the
/// answer before (slow-loris bound, and the end of an idle connection).
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// What a server allows its callers. The default is what every service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at a time; further ones wait in the backlog.
    pub connections_max: usize,
    /// Bytes of a request's line and headers; at least 8 KiB. More are answered with 431.
    pub head_bytes_max: usize,
    /// Time for a handshake, and again for each request's line and headers.
    pub head_within: Duration,
    /// Time for requests in flight after the stop; then their connections are cut.
    pub drain_max: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            connections_max: CONNECTIONS_MAX,
            head_bytes_max: HEAD_BYTES_MAX,
            head_within: HEAD_WITHIN,
            drain_max: DRAIN_MAX,
        }
    }
}

/// After `accept` failed (out of descriptors, say), the next try comes this much later.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over a unix socket: the caller's uid as the kernel tells it.
    Unix {
        /// Effective uid at connect(2).
        uid: u32,
    },
    /// Over TCP.
    Tcp(SocketAddr),
}

/// A request as a handler sees it.
#[derive(Debug)]
pub struct Request {
    /// Method, URI and headers.
    pub head: hyper::http::request::Parts,
    /// The body; read it with [`super::read`] and a bound.
    pub body: Incoming,
    /// Who called.
    pub peer: Peer,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// A header as text, or `None` when absent or not ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What a handler answers.
pub type Response = hyper::Response<Body>;

/// The work of a service.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. It never fails: errors are answers.
    fn handle(self: Arc<Self>, request: Request) -> impl Future<Output = Response> + Send;
}

/// A listening socket of either kind.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix stream.
    Unix(UnixListener),
}

impl Listener {
    /// Adopts a listening stream socket, whatever its family.
    ///
    /// # Errors
    /// When it is neither TCP nor a unix stream socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        match rustix::net::sockopt::socket_domain(&fd)? {
            rustix::net::AddressFamily::UNIX => {
                let listener = std::os::unix::net::UnixListener::from(fd);
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(UnixListener::from_std(listener)?))
            }
            rustix::net::AddressFamily::INET | rustix::net::AddressFamily::INET6 => {
                let listener = std::net::TcpListener::from(fd);
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(TcpListener::from_std(listener)?))
            }
            other => Err(io::Error::other(format!("inherited socket has family {other:?}, not TCP or unix"))),
        }
    }
}

/// How connections arrive: plain sockets here, TLS in web. `accept` is quick and never blocks other
/// clients; `establish` may take a handshake's time and runs in the connection's own task.
pub trait Transport: Send + Sync + 'static {
    /// What accept(2) gives.
    type Raw: Send + 'static;
    /// The byte stream that HTTP runs on.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Raw, Peer)>> + Send;
    /// Makes it a byte stream.
    fn establish(&self, raw: Self::Raw) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// A plain stream of either kind.
type Plain = tokio_util::either::Either<TcpStream, UnixStream>;

impl Transport for Listener {
    type Raw = Plain;
    type Io = Plain;

    async fn accept(&self) -> io::Result<(Plain, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Plain::Left(stream), Peer::Tcp(address)))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Plain::Right(stream), Peer::Unix { uid }))
            }
        }
    }

    async fn establish(&self, raw: Plain) -> io::Result<Plain> {
        Ok(raw)
    }
}

/// Serves HTTP/1.1 on `transport` until `stop` fires; then takes no more connections, closes idle ones, lets
/// requests in flight finish for at most [`DRAIN_MAX`], cuts what is left, and returns.
pub async fn serve<T: Transport, H: Handler>(transport: T, handler: Arc<H>, stop: CancellationToken) {
    serve_within(Bounds::default(), transport, handler, stop).await;
}

/// [`serve`] with other bounds.
pub async fn serve_within<T: Transport, H: Handler>(
    bounds: Bounds,
    transport: T,
    handler: Arc<H>,
    stop: CancellationToken,
) {
    let transport = Arc::new(transport);
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let (raw, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = transport.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            },
        };
        let (transport, handler, stop, cut) = (transport.clone(), handler.clone(), stop.clone(), cut.clone());
        connections.spawn(async move {
            let _place = place;
            let served = async {
                match tokio::time::timeout(bounds.head_within, transport.establish(raw)).await {
                    Ok(Ok(io)) => connection(io, peer, bounds, handler, stop).await,
                    Ok(Err(error)) => tracing::debug!(%error, ?peer, "handshake failed"),
                    Err(_) => tracing::debug!(?peer, "handshake took too long"),
                }
            };
            tokio::select! {
                () = served => {}
                () = cut.cancelled() => {}
            }
        });
    }
    connections.close();
    if tokio::time::timeout(bounds.drain_max, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections did not finish in time and are cut");
        cut.cancel();
        connections.wait().await;
    }
}

/// [`serve`] on several listeners at once; returns when all are drained.
pub async fn serve_all<T: Transport, H: Handler>(
    transports: Vec<T>,
    handler: Arc<H>,
    stop: CancellationToken,
) {
    let servers = TaskTracker::new();
    for transport in transports {
        servers.spawn(serve(transport, handler.clone(), stop.clone()));
    }
    servers.close();
    servers.wait().await;
}

async fn connection<I, H>(io: I, peer: Peer, bounds: Bounds, handler: Arc<H>, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            Ok::<_, Infallible>(handler.handle(Request { head, body, peer }).await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_within)
        .max_buf_size(bounds.head_bytes_max)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, ?peer, "connection ended with an error");
    }
}

/// A JSON answer.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot encode the answer: {error}")),
    }
}

/// A plain text answer.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
    with_type(status, "text/plain; charset=utf-8", text.into().into_bytes())
}

/// An error answer: `{"error":"…"}`.
pub fn error(status: StatusCode, message: impl std::fmt::Display) -> Response {
    json(status, &serde_json::json!({ "error": message.to_string() }))
}

fn with_type(status: StatusCode, content_type: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = hyper::Response::new(full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

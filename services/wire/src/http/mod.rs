//! HTTP/1.1 between Vakt's processes: a small server and a small client over hyper.
//!
//! The server gives a handler the request with the caller's identity ([`Peer`]) and reads bodies only
//! up to a bound of bytes and time; it stops accepting when asked, lets requests in flight finish within
//! [`crate::life::DRAIN_MAX`], and cuts what is left. The client opens one connection a call, which on a unix socket costs
//! some 20 µs and leaves no pool to go stale.

mod body;
mod client;
mod server;

pub use body::{Body, BodyError, empty, full, read, stream};
pub use client::{CallError, Client};
pub use server::{
    Bounds, CONNECTIONS_MAX, HEAD_BYTES_MAX, Handler, Listener, Peer, Request, Response, Transport, error,
    json, serve, serve_all, serve_within, text,
};

//! init's own HTTP socket: status for the pages, power, and the slots.
//!
//! PID 1 reads as little as possible: a request line and headers by `httparse`, 12 KiB with the body
//! (a machine config may have 1 MiB), one request a connection, 16 connections, 5 s each. A connection for a backup is
//! given away with its body unread ([`Handed`]).

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::Context;

use crate::sys;

/// Connections at a time; more wait in the backlog.
const CONNECTIONS_MAX: usize = 16;

/// Head and body together.
const REQUEST_BYTES_MAX: usize = 12 << 10;

/// The same below `/v1/config`: a document of the largest size, escaped as JSON.
const CONFIG_REQUEST_BYTES_MAX: usize = 2 * vakt_wire::config::BYTES_MAX + REQUEST_BYTES_MAX;

/// Read at a time.
const READ_BYTES: usize = 16 << 10;

/// From accept to the last byte of the answer.
const CONNECTION_MS_MAX: u64 = 5000;

/// A request that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Body.
    pub body: Vec<u8>,
    /// Who asks.
    pub uid: u32,
}

/// An answer: status line's code and a JSON body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 400, …
    pub status: u16,
    /// The JSON text.
    pub body: String,
}

/// A connection that somebody else goes on with: a request whose body, or whose answer, is more than PID 1 should hold.
#[derive(Debug)]
pub struct Handed {
    /// The connection.
    pub stream: UnixStream,
    /// Who asks.
    pub uid: u32,
    /// The rest of it.
    pub asked: Asked,
}

/// Such a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `/v1/backup` or `/v1/restore`.
    pub path: String,
    /// `X-Vakt-Passphrase`, which is in hex.
    pub passphrase: String,
    /// `X-Vakt-By`, likewise.
    pub by: String,
    /// Bytes of the body.
    pub length: u64,
    /// Those that have come with the head.
    pub body_begin: Vec<u8>,
}

impl Handed {
    /// Answers after all; who does not read it loses it.
    pub fn refuse(mut self, answer: &Answer) {
        let _ = self.stream.write_all(&encode(answer));
    }
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    uid: u32,
    until_ms: u64,
    received: Vec<u8>,
    to_send: Vec<u8>,
    given_away: Option<Asked>,
}

/// The server.
#[derive(Debug)]
pub struct Ctl {
    listener: UnixListener,
    connections: Vec<Connection>,
}

impl Ctl {
    /// Listens at `path`.
    ///
    /// # Errors
    /// When it cannot.
    pub fn new(path: &Path) -> anyhow::Result<Ctl> {
        use std::os::unix::fs::PermissionsExt;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let _ = std::fs::remove_file(path);
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Ctl { listener, connections: Vec::new() })
    }

    /// The descriptors to wait for.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listening = (self.connections.len() < CONNECTIONS_MAX).then(|| self.listener.as_fd());
        listening.into_iter().chain(self.connections.iter().map(|c| c.stream.as_fd()))
    }

    /// Goes on with whatever is ready; `answer` is called for each whole request. Returns the connections to give away.
    pub fn turn(&mut self, now_ms: u64, mut answer: impl FnMut(Request) -> Answer) -> Vec<Handed> {
        while self.connections.len() < CONNECTIONS_MAX {
            let Ok((stream, _)) = self.listener.accept() else { break };
            let Ok(uid) = sys::peer_uid(stream.as_fd()) else { continue };
            if stream.set_nonblocking(true).is_ok() {
                self.connections.push(Connection {
                    uid,
                    stream,
                    until_ms: now_ms + CONNECTION_MS_MAX,
                    received: Vec::new(),
                    to_send: Vec::new(),
                    given_away: None,
                });
            }
        }
        self.connections
            .retain_mut(|connection| now_ms < connection.until_ms && connection.turn(&mut answer));
        let (away, stay) =
            std::mem::take(&mut self.connections).into_iter().partition(|one| one.given_away.is_some());
        self.connections = stay;
        let hand =
            |one: Connection| Some(Handed { stream: one.stream, uid: one.uid, asked: one.given_away? });
        Vec::into_iter(away).filter_map(hand).collect()
    }
}

impl Connection {
    /// Whether the connection goes on.
    fn turn(&mut self, answer: &mut impl FnMut(Request) -> Answer) -> bool {
        if self.to_send.is_empty() {
            let mut buffer = [0; READ_BYTES];
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            self.given_away = given_away(&self.received);
            if self.given_away.is_some() {
                return true;
            }
            match parse(&self.received, self.uid) {
                Ok(Some(request)) => self.to_send = encode(&answer(request)),
                Ok(None) => return true,
                Err((status, reason)) => self.to_send = encode(&refusal(status, &reason)),
            }
        }
        match self.stream.write(&self.to_send) {
            Ok(length) => {
                self.to_send.drain(..length);
                !self.to_send.is_empty()
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// An error as JSON.
pub fn refusal(status: u16, reason: &str) -> Answer {
    Answer { status, body: serde_json::json!({ "error": reason }).to_string() }
}

fn encode(answer: &Answer) -> Vec<u8> {
    let reason = match answer.status {
        200 => "OK",
        202 => "Accepted",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        422 => "Unprocessable Content",
        507 => "Insufficient Storage",
        413 => "Content Too Large",
        500 => "Internal Server Error",
        _ => "Bad Request",
    };
    format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        answer.status,
        answer.body.len(),
        answer.body
    )
    .into_bytes()
}

/// A request to give away, once its head is whole.
fn given_away(received: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(received) else { return None };
    let path = head.path.filter(|path| ["/v1/backup", "/v1/restore"].contains(path))?;
    let value = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let text = |name: &str| value(name).and_then(from_hex).unwrap_or_default();
    (head.method == Some("POST")).then(|| Asked {
        path: path.to_owned(),
        passphrase: text("x-vakt-passphrase"),
        by: text("x-vakt-by"),
        length: value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0),
        body_begin: received[length..].to_vec(),
    })
}

/// Text of hex digits.
fn from_hex(hex: &str) -> Option<String> {
    let pairs =
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(pairs.collect::<Option<Vec<u8>>>()?).ok()
}

/// A whole request, or `None` when more bytes are needed; else the status and the reason of a refusal.
fn parse(received: &[u8], uid: u32) -> Result<Option<Request>, (u16, String)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if received.len() < REQUEST_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err((413, "the request's head is too large".into())),
        Err(error) => return Err((400, format!("bad request: {error}"))),
    };
    let path = head.path.unwrap_or_default();
    let bytes_max =
        if path.starts_with("/v1/config/") { CONFIG_REQUEST_BYTES_MAX } else { REQUEST_BYTES_MAX };
    let mut body_length = 0usize;
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err((400, "send a Content-Length; chunked bodies are not read".into()));
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(header.value).unwrap_or_default();
            body_length = value.parse().map_err(|_| (400, format!("bad Content-Length {value:?}")))?;
        }
    }
    if body_length > bytes_max - length.min(bytes_max) {
        return Err((413, "the request's body is too large".into()));
    }
    let Some(body) = received.get(length..length + body_length) else { return Ok(None) };
    Ok(Some(Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        body: body.to_vec(),
        uid,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_given_away_with_what_has_come_of_its_body() {
        let head = "POST /v1/restore HTTP/1.1\r\nX-Vakt-Passphrase: 6162\r\nX-Vakt-By: zz\r\nContent-Length: 9\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(given_away(&head.as_bytes()[..cut]), None, "cut at {cut}");
        }
        let expected = Asked {
            path: "/v1/restore".into(),
            passphrase: "ab".into(),
            by: String::new(),
            length: 9,
            body_begin: b"abc".to_vec(),
        };
        assert_eq!(given_away(format!("{head}abc").as_bytes()), Some(expected));
        assert_eq!(given_away(b"GET /v1/backup HTTP/1.1\r\n\r\n"), None);
        assert_eq!(given_away(b"POST /v1/power HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn a_request_is_taken_when_it_is_whole() {
        let whole = b"POST /v1/power HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut], 0), Ok(None), "cut at {cut}");
        }
        let request = parse(whole, 7).unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str(), request.uid), ("POST", "/v1/power", 7));
        assert_eq!(request.body, b"{}");
    }

    #[test]
    fn nonsense_and_oversize_are_refused() {
        assert!(parse(b"\0\0\0\r\n\r\n", 0).is_err());
        assert!(parse(b"GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 0).is_err());
        let config = b"POST /v1/config/apply HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n";
        assert_eq!(parse(config, 0), Ok(None), "a machine config may be long");
        assert!(parse(b"POST /v1/config/apply HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n", 0).is_err());
        assert!(parse(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 0).is_err());
        assert!(parse(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 0).is_err());
    }
}

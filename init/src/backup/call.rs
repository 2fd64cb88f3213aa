//! The connection that PID 1 handed over, and calls of the store and of init.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::Told;

/// Each wait for the caller, the store or init.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A page of the catalog has 4 MiB of documents, escaped as JSON.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// The line that PID 1 tells.
const TOLD_BYTES_MAX: u64 = 16 << 10;

/// Who asked, what they said, and the body.
pub struct Caller {
    /// The line.
    pub told: Told,
    /// The connection, for the answer.
    pub stream: UnixStream,
    first: BufReader<File>,
}

impl Caller {
    /// Takes what PID 1 has placed: the line and the body's beginning as standard input, the connection as standard
    /// output.
    ///
    /// # Errors
    /// When one of them is something else.
    pub fn take() -> anyhow::Result<Caller> {
        let mut first = BufReader::new(File::from(io::stdin().as_fd().try_clone_to_owned()?));
        let stream = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        let mut line = String::new();
        first.by_ref().take(TOLD_BYTES_MAX).read_line(&mut line)?;
        let told = serde_json::from_str(&line).context("init told something else")?;
        Ok(Caller { told, stream, first })
    }

    /// The body, which ends after the length that was told.
    ///
    /// # Errors
    /// When the connection cannot be duplicated.
    pub fn body(&mut self) -> io::Result<impl Read> {
        let length = self.told.length;
        Ok(self.first.by_ref().chain(self.stream.try_clone()?).take(length))
    }

    /// Answers with JSON, and is done.
    ///
    /// # Errors
    /// When the caller has gone.
    pub fn answer(&mut self, status: u16, body: &Value) -> io::Result<()> {
        let body = body.to_string();
        write!(
            self.stream,
            "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

/// An answer of unknown length (RFC 9112, 7.1): without [`Chunked::finish`] the caller knows that it was broken off.
pub struct Chunked<W>(pub W);

impl<W: Write> Write for Chunked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        write!(self.0, "{:x}\r\n", bytes.len())?;
        self.0.write_all(bytes)?;
        self.0.write_all(b"\r\n")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Chunked<W> {
    /// Says that this was all.
    ///
    /// # Errors
    /// When the caller has gone.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.write_all(b"0\r\n\r\n")?;
        self.0.flush()
    }
}

/// One request on a unix socket, and the status and JSON of the answer.
///
/// # Errors
/// When nobody answers in time, or not with JSON.
pub fn ask(socket: &str, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("cannot reach {socket}"))?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: vakt\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let split = split.with_context(|| format!("{socket} gave no whole answer"))?;
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let said = serde_json::from_slice(&answer[split + 4..]).unwrap_or(Value::Null);
    Ok((status.with_context(|| format!("{socket} gave no status"))?, said))
}

/// All documents of a catalog table, a page at a time, in the order of their keys.
///
/// # Errors
/// When the store does not answer, or `take` fails.
pub fn each_document(
    table: &str,
    mut take: impl FnMut(String, Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let path = format!("/catalog/v1/{table}?limit=200{after}");
        let (status, mut page) = ask(super::STORE, "GET", &path, "")?;
        anyhow::ensure!(status == 200, "the store did not give {table}: {status} {}", page["error"]);
        for item in page["items"].as_array_mut().into_iter().flatten() {
            let key = item["key"].as_str().context("a document without a key")?.to_owned();
            take(key, item["value"].take())?;
        }
        let Some(next) = page["next"].as_str() else { return Ok(()) };
        after = format!("&after={}", encoded(next));
    }
}

/// A key in a path or a query.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Removes a file; that there is none is no error.
///
/// # Errors
/// As unlink(2).
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

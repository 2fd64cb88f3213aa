//! A plain HTTP/1.1 connection over the loopback that is kept open: the least that stands between the
//! measuring and the measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// An answer that takes longer is a failure of the measure.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Largest answer that is read; a scrape is under a megabyte.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The connection.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Opens it.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Connection(BufReader::new(stream)))
    }

    /// GET: status and body.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn get(&mut self, path: &str) -> Result<(u16, Vec<u8>)> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n"), b"")
    }

    /// POST of a remote-write body: status and answer.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn remote_write(&mut self, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let head = format!(
            "POST /api/v1/write HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-protobuf\r\n\
             Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&head, body)
    }

    fn send(&mut self, head: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let mut request = head.as_bytes().to_vec();
        request.extend_from_slice(body);
        self.0.get_mut().write_all(&request)?;
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no HTTP answer: {first:?}"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        let mut answer = Vec::new();
        if !chunked {
            self.take(length, &mut answer)?;
            return Ok((status, answer));
        }
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16)?;
            self.take(size, &mut answer)?;
            self.line()?;
            if size == 0 {
                return Ok((status, answer));
            }
        }
    }

    fn take(&mut self, length: usize, answer: &mut Vec<u8>) -> Result<()> {
        let from = answer.len();
        ensure!(from + length <= ANSWER_BYTES_MAX, "the answer is larger than {ANSWER_BYTES_MAX} bytes");
        answer.resize(from + length, 0);
        Ok(self.0.read_exact(&mut answer[from..])?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.0.read_line(&mut line)? > 0, "the server closed the connection");
        Ok(line.trim_end().to_owned())
    }
}

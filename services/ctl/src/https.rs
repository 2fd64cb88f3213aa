//! One HTTPS request, and the fingerprint of the certificate that answered: a box has a certificate of
//! its own making, and its console says which.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use sha2::{Digest, Sha256};

/// Connecting, and each wait for more of the answer.
pub const TRY_WITHIN: Duration = Duration::from_secs(10);

/// Largest answer that is read: a backup of 64 MiB in chunks.
const ANSWER_BYTES_MAX: u64 = 80 << 20;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// `SHA256:AA:BB:…` of the server's certificate.
    pub fingerprint: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one HTTPS request to `address`. Any certificate is taken; its fingerprint is in the answer for
/// the caller to compare. What must not reach a stranger goes by [`request_pinned`].
///
/// # Errors
/// When there is no whole answer within ten seconds.
pub fn request(address: SocketAddr, head: &str, body: &[u8]) -> anyhow::Result<Answer> {
    exchange(address, head, body, Seen::default(), TRY_WITHIN)
}

/// The same, but nothing is sent unless the certificate has this fingerprint, and each wait for more of the
/// answer may take `within`.
///
/// # Errors
/// As [`request`], and when another certificate answers.
pub fn request_pinned(
    address: SocketAddr,
    pin: &str,
    head: &str,
    body: &[u8],
    within: Duration,
) -> anyhow::Result<Answer> {
    exchange(address, head, body, Seen { pin: Some(pin.to_owned()), ..Seen::default() }, within)
}

fn exchange(
    address: SocketAddr,
    head: &str,
    body: &[u8],
    seen: Seen,
    within: Duration,
) -> anyhow::Result<Answer> {
    let seen = Arc::new(seen);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(seen.clone())
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    let stream = TcpStream::connect_timeout(&address, TRY_WITHIN)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    // Servers may close without TLS' close_notify; what is there is then judged by its length.
    let _ = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    let fingerprint = seen.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    parse(&answer, fingerprint)
}

/// GET with the given extra header lines (each ending in `\r\n`).
///
/// # Errors
/// As [`request`].
pub fn get(address: SocketAddr, path: &str, headers: &str) -> anyhow::Result<Answer> {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"),
        b"",
    )
}

/// POST of a body with the given extra header lines.
///
/// # Errors
/// As [`request`].
pub fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> anyhow::Result<Answer> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    request(address, &head, body)
}

fn parse(bytes: &[u8], fingerprint: String) -> anyhow::Result<Answer> {
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("no whole HTTP answer")?;
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status: status.context("no HTTP status")?,
        headers,
        body: bytes[split + 4..].to_vec(),
        fingerprint,
    };
    if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        answer.body = unchunk(&answer.body)?;
    }
    Ok(answer)
}

fn unchunk(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").context("cut chunk")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end])?.trim(), 16)?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).context("cut chunk")?);
        rest = rest.get(size + 2..).context("cut chunk")?;
    }
}

/// `SHA256:` and the hex pairs, as the console shows it.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let pairs: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    format!("SHA256:{}", pairs.join(":"))
}

/// Takes any certificate that its holder can sign with, or the pinned one, and remembers its fingerprint.
#[derive(Debug, Default)]
struct Seen {
    pin: Option<String>,
    found: Mutex<String>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = fingerprint(end_entity);
        if let Some(pin) = self.pin.as_ref().filter(|pin| **pin != found) {
            let reason = format!("the certificate is {found}, and {pin} was expected");
            return Err(rustls::Error::General(reason));
        }
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_answers_are_put_together() {
        let answer = parse(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            String::new(),
        );
        assert_eq!(answer.unwrap().text(), "abcde");
        assert!(parse(b"HTTP/1.1 200 OK\r\n", String::new()).is_err());
    }
}

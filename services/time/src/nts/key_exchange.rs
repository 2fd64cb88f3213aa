//! The key exchange (RFC 8915, section 4): TLS 1.3, one question, one answer, two keys out of the connection.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use vakt_reach::resolve::resolve;
use vakt_wire::config::Authorities;

use super::Session;
use super::record;

/// The whole exchange, name look-up and handshake in it.
const WITHIN: Duration = Duration::from_secs(10);

/// Longest answer that is read: eight cookies of a kilobyte.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The label of the keys (section 5.1).
const LABEL: &[u8] = b"EXPORTER-network-time-security";

/// Asks `host` at `port` for keys and cookies. The server is known by `authorities`, or by those that Mozilla's
/// browser knows. With `clock_is_new` a certificate that is not valid yet is taken: a clock that stands too early
/// could otherwise never be set.
///
/// # Errors
/// What went wrong, for a person.
pub async fn exchange(
    host: &str,
    port: u16,
    authorities: Option<&Authorities>,
    clock_is_new: bool,
) -> Result<Session, String> {
    timeout(WITHIN, talk(host, port, authorities, clock_is_new))
        .await
        .map_err(|_| format!("no keys within {WITHIN:?}"))?
}

async fn talk(
    host: &str,
    port: u16,
    authorities: Option<&Authorities>,
    clock_is_new: bool,
) -> Result<Session, String> {
    let connector = TlsConnector::from(Arc::new(tls(authorities, clock_is_new)?));
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let mut stream =
        connector.connect(name, tcp(host, port).await?).await.map_err(|error| error.to_string())?;
    let said = |error: std::io::Error| error.to_string();
    stream.write_all(&record::request()).await.map_err(said)?;
    stream.flush().await.map_err(said)?;
    let mut bytes = Vec::new();
    let answer = loop {
        if let Some(answer) = record::answer(&bytes)? {
            break answer;
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err("an answer without an end".into());
        }
        if stream.read_buf(&mut bytes).await.map_err(said)? == 0 {
            return Err("the server ended in the middle of its answer".into());
        }
    };
    let connection = stream.get_ref().1;
    // Protocol 0, algorithm 15, and the direction.
    let key = |direction: u8| {
        let context = [0, 0, 0, 15, direction];
        let key = connection.export_keying_material([0; 32], LABEL, Some(&context));
        key.map_err(|error| format!("no keys: {error}"))
    };
    let server = with_port(answer.server.as_deref().unwrap_or(host), answer.port.unwrap_or(123));
    Ok(Session { server, to_server: key(0)?, to_client: key(1)?, cookies: answer.cookies })
}

/// `host:port` as it is resolved: an IPv6 address in brackets.
pub fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses =
        resolve(&with_port(host, port)).await.map_err(|error| format!("cannot resolve {host}: {error}"))?;
    let mut last = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

fn tls(authorities: Option<&Authorities>, clock_is_new: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_str().as_bytes()) {
                let certificate =
                    certificate.map_err(|error| format!("[[time.server]] authorities: {error}"))?;
                roots.add(certificate).map_err(|error| format!("[[time.server]] authorities: {error}"))?;
            }
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| format!("no TLS: {error}"))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| format!("no TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { verifier, clock_is_new }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"ntske/1".to_vec()];
    Ok(config)
}

/// WebPKI's verifier, but for a clock that was never set: then a certificate that begins in the future is judged
/// as at its beginning. Names, chains, signatures and ends are held to as ever.
#[derive(Debug)]
struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    clock_is_new: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let judge = |now| {
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match judge(now) {
            Err(TlsError::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before, ..
            })) if self.clock_is_new => judge(not_before),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

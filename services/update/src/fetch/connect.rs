//! From a URL to a connection: names, TCP, TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};
use vakt_peer::resolve::resolve;
use vakt_wire::config::Authorities;

use crate::refusal::Refusal;

/// One try of one address. At most 16 addresses are tried, within the request's own bound.
const TCP_WITHIN: Duration = Duration::from_secs(5);

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// A connector that knows servers by `authorities`, or by those that Mozilla's browser knows.
    ///
    /// # Errors
    /// [`Refusal::NotSetUp`] when a certificate cannot be read.
    pub fn new(authorities: Option<&Authorities>) -> Result<Connector, Refusal> {
        let mut roots = RootCertStore::empty();
        match authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                let wrong = |error: String| Refusal::NotSetUp(format!("[update] authorities: {error}"));
                for certificate in CertificateDer::pem_slice_iter(pem.as_str().as_bytes()) {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
            }
        }
        let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Refusal::NotSetUp(format!("no TLS: {error}")))?;
        let mut config = versions.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Connector { tls: Arc::new(config) })
    }

    /// A connection to `url`'s server, ready for one request.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn connect(&self, url: &Url) -> Result<SendRequest<Empty<Bytes>>, String> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("a URL without a host".into());
        };
        let stream = tcp(&format!("{host}:{port}")).await?;
        if url.scheme() != "https" {
            return speak(stream).await;
        }
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?,
            Host::Ipv4(address) => ServerName::IpAddress(std::net::IpAddr::from(address).into()),
            Host::Ipv6(address) => ServerName::IpAddress(std::net::IpAddr::from(address).into()),
        };
        let tls = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        speak(tls.map_err(|error| format!("TLS: {error}"))?).await
    }
}

async fn tcp(address: &str) -> Result<TcpStream, String> {
    let addresses = resolve(address).await.map_err(|error| format!("cannot resolve {address}: {error}"))?;
    let mut last = format!("{address} has no address");
    for address in addresses {
        match timeout(TCP_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: no connection within {} s", TCP_WITHIN.as_secs()),
        }
    }
    Err(last)
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Empty<Bytes>>, String> {
    let spoken = handshake(TokioIo::new(stream)).await;
    let (sender, connection) = spoken.map_err(|error| error.to_string())?;
    // Its error is seen by the reader of the body. It ends when that one is dropped.
    tokio::spawn(connection);
    Ok(sender)
}

//! From a URL to a connection: names, TCP, TLS.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
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
use vakt_wire::config::Authorities;

use crate::resolve::resolve;

/// One try of one address. At most 16 addresses are tried, within the caller's own bound.
const TCP_WITHIN: Duration = Duration::from_secs(5);

/// Why no connection can ever be made as it is set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A certificate that servers are to be known by is none.
    #[error("authorities: {0}")]
    Authorities(String),
    /// The library has no protocol version to speak.
    #[error("no TLS: {0}")]
    Tls(rustls::Error),
}

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
    /// [`SetUpError`] when a certificate cannot be read.
    pub fn new(authorities: Option<&Authorities>) -> Result<Connector, SetUpError> {
        let mut roots = RootCertStore::empty();
        match authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_str().as_bytes()) {
                    let certificate =
                        certificate.map_err(|error| SetUpError::Authorities(error.to_string()))?;
                    roots.add(certificate).map_err(|error| SetUpError::Authorities(error.to_string()))?;
                }
            }
        }
        let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(SetUpError::Tls)?;
        let mut config = versions.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Connector { tls: Arc::new(config) })
    }

    /// A connection to the server of `url` (http or https), ready for one request after the other.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn connect<B>(&self, url: &Url) -> Result<SendRequest<B>, String>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
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

async fn speak<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<B>, String>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let spoken = handshake(TokioIo::new(stream)).await;
    let (sender, connection) = spoken.map_err(|error| error.to_string())?;
    // Its error is seen by the reader of the body. It ends when that one is dropped.
    tokio::spawn(connection);
    Ok(sender)
}

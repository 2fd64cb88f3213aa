//! From a URL to a connection: names, TCP, TLS.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::resolve::resolve;

/// One try of one address. At most 16 addresses are tried, within the caller's own bound.
const TCP_WITHIN: Duration = Duration::from_secs(5);

/// By what servers are known, and we by them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust<'a> {
    /// Certificates in PEM that a server may be known by; those that Mozilla's browser knows when absent.
    pub authorities: Option<&'a str>,
    /// Our own certificate in PEM, with those between, and its key.
    pub identity: Option<(&'a str, &'a str)>,
    /// The name that a server's certificate must have, when it is not its host.
    pub server_name: Option<&'a str>,
}

/// Why no connection can ever be made as it is set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A certificate or a key is none.
    #[error("{what}: {reason}")]
    Pem {
        /// `authorities`, `certificate` or `key`.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The name that certificates must have is none.
    #[error("server name {0:?} is no host's name")]
    ServerName(String),
    /// The library has no protocol version to speak.
    #[error("no TLS: {0}")]
    Tls(rustls::Error),
}

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    tls: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// A connector with this trust.
    ///
    /// # Errors
    /// [`SetUpError`] when a part of it cannot be read.
    pub fn new(trust: Trust<'_>) -> Result<Connector, SetUpError> {
        let mut roots = RootCertStore::empty();
        match trust.authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in certificates("authorities", pem)? {
                    roots.add(certificate).map_err(|error| wrong("authorities", &error))?;
                }
            }
        }
        let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(SetUpError::Tls)?
            .with_root_certificates(roots);
        let mut config = match trust.identity {
            None => versions.with_no_client_auth(),
            Some((chain, key)) => {
                let key =
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| wrong("key", &error))?;
                let chain = certificates("certificate", chain)?;
                versions.with_client_auth_cert(chain, key).map_err(|error| wrong("key", &error))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let named = |name: &str| {
            ServerName::try_from(name.to_owned()).map_err(|_| SetUpError::ServerName(name.to_owned()))
        };
        Ok(Connector { tls: Arc::new(config), server_name: trust.server_name.map(named).transpose()? })
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
        self.reach(&format!("{host}:{port}"), url.scheme() == "https").await
    }

    /// A connection to `address`, host and port, with TLS when `is_https`.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn reach<B>(&self, address: &str, is_https: bool) -> Result<SendRequest<B>, String>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = tcp(address).await?;
        if !is_https {
            return speak(stream).await;
        }
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let host = host.trim_matches(['[', ']']).to_owned();
                ServerName::try_from(host).map_err(|error| error.to_string())?
            }
        };
        let tls = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        speak(tls.map_err(|error| format!("TLS: {error}"))?).await
    }
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, SetUpError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.map_err(|error| wrong(what, &error))
}

fn wrong(what: &'static str, reason: &dyn std::fmt::Display) -> SetUpError {
    SetUpError::Pem { what, reason: reason.to_string() }
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

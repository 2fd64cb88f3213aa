//! One HTTP or HTTPS request to a target.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use vakt_reach::resolve::resolve;
use vakt_wire::base64;
use vakt_wire::config::{ScrapeJob, ScrapeTls};
use vakt_wire::http::{empty, read};

use super::text::Format;

/// What we read, best first.
const ACCEPTED: &str =
    "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// How targets of one job are spoken to.
#[derive(Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
    server_name: Option<String>,
    authorization: Option<HeaderValue>,
    body_bytes_max: usize,
    within: Duration,
}

/// Where one target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Host and port.
    pub address: String,
    /// Path and query.
    pub path: String,
    /// TLS.
    pub https: bool,
}

/// A body and its format.
pub type Answer = (String, Format);

impl Client {
    /// How `job` wants its targets spoken to.
    ///
    /// # Errors
    /// When a certificate, a key or a header cannot be used.
    pub fn new(job: &ScrapeJob) -> Result<Client, String> {
        let authorization = match (&job.bearer_token, &job.basic_auth) {
            (Some(token), _) => Some(format!("Bearer {token}")),
            (None, Some(basic)) => Some(format!(
                "Basic {}",
                base64::encode(format!("{}:{}", basic.username, basic.password).as_bytes())
            )),
            (None, None) => None,
        };
        let secret = |text: String| {
            let mut value =
                HeaderValue::from_str(&text).map_err(|_| "the token is no header's value".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        let tls = job.tls_config.clone().unwrap_or_default();
        Ok(Client {
            tls: Arc::new(tls_config(&tls)?),
            server_name: tls.server_name,
            authorization: authorization.map(secret).transpose()?,
            body_bytes_max: job.body_size_limit as usize,
            within: job.timeout_s.duration(),
        })
    }

    /// Asks a target once.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn get(&self, place: &Place) -> Result<Answer, String> {
        timeout(self.within, self.asked(place))
            .await
            .map_err(|_| format!("no answer within {:?}", self.within))?
    }

    async fn asked(&self, place: &Place) -> Result<Answer, String> {
        let stream = connect(&place.address).await?;
        if !place.https {
            return self.speak(stream, place).await;
        }
        let host = place.address.rsplit_once(':').map_or(place.address.as_str(), |(host, _)| host);
        let host = self.server_name.as_deref().unwrap_or(host.trim_matches(['[', ']'])).to_owned();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        self.speak(stream.map_err(|error| format!("TLS: {error}"))?, place).await
    }

    async fn speak<S>(&self, stream: S, place: &Place) -> Result<Answer, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let said = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        // The connection's own error is seen as the error of the exchange; it ends with the request's end.
        tokio::spawn(connection);
        let mut request = hyper::Request::get(place.path.as_str())
            .header(HOST, place.address.as_str())
            .header(ACCEPT, ACCEPTED)
            .header(USER_AGENT, concat!("Vakt/", env!("CARGO_PKG_VERSION")))
            .header("x-prometheus-scrape-timeout-seconds", self.within.as_secs().to_string());
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let request = request.body(empty()).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(said)?;
        if answer.status() != hyper::StatusCode::OK {
            return Err(format!("answered {}", answer.status()));
        }
        let kind =
            answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let format = Format::of(kind);
        let body = read(answer.into_body(), self.body_bytes_max).await.map_err(|error| error.to_string())?;
        let text = String::from_utf8(body.into()).map_err(|_| "the answer is not UTF-8".to_owned())?;
        Ok((text, format))
    }
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    let addresses = resolve(address).await.map_err(|error| format!("cannot resolve {address}: {error}"))?;
    TcpStream::connect(&*addresses).await.map_err(|error| format!("cannot connect to {address}: {error}"))
}

fn tls_config(tls: &ScrapeTls) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in certificates(pem.as_str(), "ca")? {
                roots.add(certificate).map_err(|error| format!("tls_config.ca: {error}"))?;
            }
        }
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?
        .with_root_certificates(roots);
    let mut config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let wrong = |error: String| format!("tls_config.key: {error}");
            let key =
                PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| wrong(error.to_string()))?;
            versions
                .with_client_auth_cert(certificates(cert, "cert")?, key)
                .map_err(|error| wrong(error.to_string()))?
        }
        _ => versions.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &str, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.map_err(|error| format!("tls_config.{key}: {error}"))
}

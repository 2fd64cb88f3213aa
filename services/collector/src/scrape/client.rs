//! One HTTP or HTTPS request to a target.

use std::time::Duration;

use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use tokio::time::timeout;
use vakt_reach::connect::{Connector, SetUpError, Trust};
use vakt_wire::base64;
use vakt_wire::config::{Authorities, ScrapeJob};
use vakt_wire::http::{empty, read};

use super::text::Format;

/// What we read, best first.
const ACCEPTED: &str =
    "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// How targets of one job are spoken to.
#[derive(Clone)]
pub struct Client {
    connector: Connector,
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
        let trust = Trust {
            authorities: tls.ca.as_ref().map(Authorities::as_str),
            identity: tls.cert.as_deref().zip(tls.key.as_deref()),
            server_name: tls.server_name.as_deref(),
        };
        Ok(Client {
            connector: Connector::new(trust).map_err(|error: SetUpError| format!("tls_config: {error}"))?,
            authorization: authorization.map(secret).transpose()?,
            body_bytes_max: job.body_size_limit as usize,
            within: job.scrape_timeout.duration(),
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
        let mut sender = self.connector.reach(&place.address, place.https).await?;
        let mut request = hyper::Request::get(place.path.as_str())
            .header(HOST, place.address.as_str())
            .header(ACCEPT, ACCEPTED)
            .header(USER_AGENT, concat!("Vakt/", env!("CARGO_PKG_VERSION")))
            .header("x-prometheus-scrape-timeout-seconds", self.within.as_secs().to_string());
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let request = request.body(empty()).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
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

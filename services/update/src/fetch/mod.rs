//! A repository by URL: one request, one connection, and a bound on each of its steps.
//!
//! HTTP/1.1, plain or with TLS. Redirects are not followed: the config says where updates come from. What arrives
//! is judged by its signature, so a plain URL costs secrecy and no safety.

mod content_range;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, HOST, LOCATION, RANGE, USER_AGENT};
use hyper::{Response, StatusCode};
use tokio::time::timeout;
use tough::{Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;
use vakt_reach::connect::{Connector, SetUpError, Trust};
use vakt_wire::config::{Authorities, RepositoryUrl};

use crate::body::BodyReader;
use crate::refusal::Refusal;
use crate::trust::{DOCUMENT_BYTES_MAX, File, Outcome, outcome};
use content_range::ContentRange;

/// From the request to the head of its answer.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// A repository.
#[derive(Clone, Debug)]
pub struct Remote {
    base: Url,
    connector: Connector,
}

/// What of a file arrives.
#[derive(Debug)]
pub struct Part {
    /// The bytes, from `from` on.
    pub reader: BodyReader<Incoming>,
    /// Where they begin: where was asked for, or 0 when the server knows no ranges.
    pub from: u64,
}

impl Remote {
    /// The repository at `url`, whose server is known by `authorities`, or by the public ones.
    ///
    /// # Errors
    /// [`Refusal::NotSetUp`] when the config's values cannot be used.
    pub fn new(url: &RepositoryUrl, authorities: Option<&Authorities>) -> Result<Remote, Refusal> {
        let wrong = |error: url::ParseError| Refusal::NotSetUp(format!("[update] repository {url}: {error}"));
        let base = Url::parse(&format!("{}/", url.as_str().trim_end_matches('/'))).map_err(wrong)?;
        let trust = Trust { authorities: authorities.map(Authorities::as_str), ..Trust::default() };
        let set_up = |error: SetUpError| Refusal::NotSetUp(format!("[update] {error}"));
        Ok(Remote { base, connector: Connector::new(trust).map_err(set_up)? })
    }

    /// Where it is; ends with a slash.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Asks for the bytes `range` of the file at `path`, which was signed as `file`.
    ///
    /// # Errors
    /// [`Refusal::Transfer`]; [`Refusal::Truncated`] and [`Refusal::Oversized`] when the server's file has
    /// another size than was signed.
    pub async fn part(&self, path: &str, file: File, range: Range<u64>) -> Result<Part, Refusal> {
        let url = self.base.join(path).map_err(|error| transfer(path, error.to_string()))?;
        let answer = self.get(&url, Some(&range)).await?;
        let sized = |found: u64| match found.cmp(&file.bytes) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => {
                Err(Refusal::Truncated { name: path.to_owned(), found, expected: file.bytes })
            }
            std::cmp::Ordering::Greater => {
                Err(Refusal::Oversized { name: path.to_owned(), expected: file.bytes })
            }
        };
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let from = match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let said = header(CONTENT_RANGE).and_then(ContentRange::parse);
                let said =
                    said.ok_or_else(|| transfer(&url, "a part without a usable Content-Range".into()))?;
                sized(said.total.unwrap_or(file.bytes))?;
                if said.first != range.start {
                    return Err(transfer(
                        &url,
                        format!("a part from {}, asked for {}", said.first, range.start),
                    ));
                }
                range.start
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let said = header(CONTENT_RANGE).and_then(ContentRange::parse).and_then(|said| said.total);
                sized(said.unwrap_or(0))?;
                return Err(transfer(&url, "the server has no such part".into()));
            }
            _ => {
                // A server without ranges. One that does not say the length is counted while it sends.
                let length = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
                length.map_or(Ok(()), sized)?;
                0
            }
        };
        Ok(Part { reader: BodyReader::new(url, answer.into_body()), from })
    }

    /// A whole small file; `None` where the server has none.
    ///
    /// # Errors
    /// [`Refusal::Transfer`], and [`Refusal::Oversized`] past `bytes_max`.
    pub async fn whole(&self, url: &Url, bytes_max: u64) -> Result<Option<Bytes>, Refusal> {
        let answer = self.get(url, None).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let mut reader = BodyReader::new(url.as_str(), answer.into_body());
        let mut bytes = vec![0; bytes_max as usize + 1];
        let length = reader.fill(&mut bytes).await?;
        if length as u64 > bytes_max {
            return Err(Refusal::Oversized { name: url.to_string(), expected: bytes_max });
        }
        bytes.truncate(length);
        bytes.shrink_to_fit();
        Ok(Some(bytes.into()))
    }

    /// The answer when it is 200, 206, 404 or 416.
    async fn get(&self, url: &Url, range: Option<&Range<u64>>) -> Result<Response<Incoming>, Refusal> {
        let mut request = hyper::Request::get(&url[url::Position::BeforePath..url::Position::AfterPath])
            .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(USER_AGENT, concat!("vakt-update/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close");
        if let Some(range) = range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let request =
            request.body(Empty::<Bytes>::new()).map_err(|error| transfer(url, error.to_string()))?;
        let exchange = async {
            let mut sender = self.connector.connect(url).await?;
            sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))
        };
        let late = || Err(format!("no answer within {} s", HEAD_WITHIN.as_secs()));
        let answer = timeout(HEAD_WITHIN, exchange).await.unwrap_or_else(|_| late());
        let answer = answer.map_err(|reason| transfer(url, reason))?;
        let status = answer.status();
        match status {
            StatusCode::OK
            | StatusCode::PARTIAL_CONTENT
            | StatusCode::NOT_FOUND
            | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
            _ if status.is_redirection() => {
                let to =
                    answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
                Err(transfer(url, format!("redirects to {to}, which is not followed; name the place itself")))
            }
            _ => Err(transfer(url, format!("the server answers {status}"))),
        }
    }
}

fn transfer(name: impl ToString, reason: String) -> Refusal {
    Refusal::Transfer { name: name.to_string(), reason }
}

#[async_trait]
impl Transport for Remote {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let document: Outcome = match self.whole(&url, DOCUMENT_BYTES_MAX).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => {
                let cause = "the server has no such file";
                Err(TransportError::new_with_cause(TransportErrorKind::FileNotFound, &url, cause))
            }
            Err(refusal) => Err(TransportError::new_with_cause(TransportErrorKind::Other, &url, refusal)),
        };
        Ok(outcome(document))
    }
}

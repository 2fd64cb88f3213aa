//! Metadata as `tough` asks for it: from an archive's first entries, which are in memory.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use tough::{Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;

/// Largest document of metadata that is taken from anywhere.
pub const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

/// Documents by name, as `timestamp.json`.
#[derive(Clone, Debug, Default)]
pub struct Documents(pub Arc<BTreeMap<String, Bytes>>);

#[async_trait]
impl Transport for Documents {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        let missing =
            || TransportError::new_with_cause(TransportErrorKind::FileNotFound, &url, "not in the archive");
        Ok(outcome(self.0.get(name).cloned().ok_or_else(missing)))
    }
}

/// A document, or why there is none.
pub type Outcome = Result<Bytes, TransportError>;

/// A stream of one outcome. Failures go this way and never as the error of `fetch` itself: `tough` takes any
/// error there for the end of the chain of roots, so that a broken line would freeze it.
pub fn outcome(outcome: Outcome) -> TransportStream {
    Box::pin(Once(Some(outcome)))
}

struct Once(Option<Outcome>);

impl Stream for Once {
    type Item = Outcome;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Outcome>> {
        Poll::Ready(self.0.take())
    }
}

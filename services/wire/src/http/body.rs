//! Bodies: bounded reading, and the kinds of answers that services give.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// The body of every response.
pub type Body = BoxBody<Bytes, io::Error>;

/// A whole body must be there within this time of the first look at it: 32 MiB over a poor network, and the
/// end of a caller that sends a byte now and then to keep its place.
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// Why a request body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More than the endpoint takes.
    #[error("body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound that was exceeded.
        bytes_max: usize,
    },
    /// It came too slowly.
    #[error("body was not complete within {within:?}")]
    Late {
        /// The deadline that passed.
        within: Duration,
    },
    /// The caller went away or sent a broken chunk.
    #[error("body broke off: {0}")]
    Broken(String),
}

/// Reads a whole body of at most `bytes_max` bytes, within a minute.
///
/// # Errors
/// [`BodyError::TooLarge`] past the bound, [`BodyError::Late`] when it takes longer, [`BodyError::Broken`] when
/// it ends early.
pub async fn read<B>(body: B, bytes_max: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    read_within(body, bytes_max, BODY_WITHIN).await
}

async fn read_within<B>(body: B, bytes_max: usize, within: Duration) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(within, Limited::new(body, bytes_max).collect()).await {
        Err(_) => Err(BodyError::Late { within }),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { bytes_max }),
        Ok(Err(error)) => Err(BodyError::Broken(error.to_string())),
    }
}

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body that is written while it is made: each item sent becomes a chunk, and the sender waits when
/// `chunks_max` are on their way. Dropping the sender ends the body; an error breaks it off.
pub fn stream(chunks_max: usize) -> (mpsc::Sender<io::Result<Bytes>>, Body) {
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(chunks_max);
    let frames =
        futures_stream(move |cx| receiver.poll_recv(cx).map(|item| item.map(|r| r.map(Frame::data))));
    (sender, StreamBody::new(frames).boxed())
}

fn futures_stream<T, F>(poll: F) -> PollFn<F>
where
    F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin,
{
    PollFn(poll)
}

/// A stream out of a poll function.
struct PollFn<F>(F);

impl<T, F> futures_core::Stream for PollFn<F>
where
    F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin,
{
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        (self.0)(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_no_further() {
        assert_eq!(read(full("12345"), 5).await.unwrap(), "12345");
        let error = read(full("123456"), 5).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { bytes_max: 5 }), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let (sender, body) = stream(1);
        sender.send(Ok(Bytes::from_static(b"begun"))).await.unwrap();
        let error = read_within(body, 100, SOON).await.unwrap_err();
        assert!(matches!(error, BodyError::Late { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let (sender, body) = stream(2);
        sender.send(Ok(Bytes::from_static(b"begun"))).await.unwrap();
        sender.send(Err(io::Error::other("gone"))).await.unwrap();
        let error = read(body, 100).await.unwrap_err();
        assert!(matches!(&error, BodyError::Broken(reason) if reason == "gone"), "{error}");
    }
}

//! Bodies: bounded reading, and the kinds of answers that services give.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// The body of every response.
pub type Body = BoxBody<Bytes, io::Error>;

/// Why a request body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More than the endpoint takes.
    #[error("body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound that was exceeded.
        bytes_max: usize,
    },
    /// The caller went away or sent a broken chunk.
    #[error("body broke off: {0}")]
    Broken(String),
}

/// Reads a whole body of at most `bytes_max` bytes.
///
/// # Errors
/// [`BodyError::TooLarge`] past the bound, [`BodyError::Broken`] when it ends early.
pub async fn read<B>(body: B, bytes_max: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { bytes_max }),
        Err(error) => Err(BodyError::Broken(error.to_string())),
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

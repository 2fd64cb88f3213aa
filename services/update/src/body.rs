//! Reading a body piece by piece, with a bound on the time of each.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::refusal::Refusal;

/// How long one read of at most a piece may take: a line of 140 kbit/s gets through, a sender that gives a byte
/// now and then does not hold an install for ever.
pub const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// A body that is read like a file. Holds one of hyper's frames (at most 400 KiB) at a time.
#[derive(Debug)]
pub struct BodyReader<B> {
    body: B,
    held: Bytes,
    taken: u64,
    /// For errors: the URL, or that it was uploaded.
    name: String,
    within: Duration,
}

impl<B> BodyReader<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Reads `body`, which errors call `name`.
    pub fn new(name: impl Into<String>, body: B) -> BodyReader<B> {
        BodyReader { body, held: Bytes::new(), taken: 0, name: name.into(), within: PIECE_WITHIN }
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Fills `buffer` as far as the body goes; returns how far. Fewer bytes than asked mean that the body ended.
    ///
    /// # Errors
    /// [`Refusal::Transfer`] when the sender breaks off, or needs longer than [`PIECE_WITHIN`].
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Refusal> {
        let name = self.name.clone();
        let late = format!("no piece within {:?}; the sender is too slow", self.within);
        match timeout(self.within, self.fill_at_leisure(buffer)).await {
            Ok(Ok(count)) => Ok(count),
            Ok(Err(reason)) => Err(Refusal::Transfer { name, reason }),
            Err(_) => Err(Refusal::Transfer { name, reason: late }),
        }
    }

    /// Passes over `count` bytes; returns how many there were.
    ///
    /// # Errors
    /// As [`BodyReader::fill`].
    pub async fn skip(&mut self, count: u64) -> Result<u64, Refusal> {
        let mut scratch = vec![0; 64 << 10];
        let mut skipped = 0;
        while skipped < count {
            let want = (count - skipped).min(scratch.len() as u64) as usize;
            match self.fill(&mut scratch[..want]).await? {
                0 => break,
                got => skipped += got as u64,
            }
        }
        Ok(skipped)
    }

    async fn fill_at_leisure(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.held.is_empty() {
                match self.body.frame().await {
                    None => break,
                    Some(Err(error)) => return Err(format!("broke off after {} bytes: {error}", self.taken)),
                    // Trailers hold no data.
                    Some(Ok(frame)) => self.held = frame.into_data().unwrap_or_default(),
                }
                continue;
            }
            let count = self.held.len().min(buffer.len() - filled);
            self.held.copy_to_slice(&mut buffer[filled..filled + count]);
            filled += count;
            self.taken += count as u64;
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_in_any_portions() {
        let (sender, body) = vakt_wire::http::stream(8);
        for text in ["abc", "", "defg", "h"] {
            sender.send(Ok(Bytes::from(text))).await.unwrap();
        }
        drop(sender);
        let mut reader = BodyReader::new("x", body);
        let mut buffer = [0; 5];
        assert_eq!(reader.fill(&mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer, b"abcde");
        assert_eq!(reader.skip(1).await.unwrap(), 1);
        assert_eq!(reader.fill(&mut buffer).await.unwrap(), 2);
        assert_eq!((&buffer[..2], reader.taken()), (b"gh".as_slice(), 8));
        assert_eq!(reader.fill(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_sender_that_stalls_is_given_up() {
        let (sender, body) = vakt_wire::http::stream(8);
        sender.send(Ok(Bytes::from("abc"))).await.unwrap();
        let mut reader = BodyReader::new("https://u/x", body);
        reader.within = Duration::from_millis(20);
        let said = reader.fill(&mut [0; 5]).await.unwrap_err().to_string();
        assert!(said.contains("https://u/x: no piece within 20ms"), "{said}");
    }
}

//! An uploaded archive: a repository as one tar, in the order in which it is needed.
//!
//! First `metadata/`, then the manifest, the root, the UKI; what follows is passed over. So it is taken as a
//! stream, and nothing is written before everything that says what may be written was verified.

pub mod tar;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use crate::body::{BodyReader, PIECE_WITHIN};
use crate::refusal::Refusal;
use crate::trust::{DOCUMENT_BYTES_MAX, Documents};
use tar::{BLOCK, Entry};

/// Documents of metadata in an archive: a chain of 64 roots and the three others.
const DOCUMENTS_MAX: usize = 67;

/// Bytes of all documents together: they are held in memory until the signatures were checked.
const DOCUMENTS_BYTES_MAX: u64 = 4 << 20;

/// What is taken of an archive that was decided on: as much as the largest one has.
const LEFT_BYTES_MAX: u64 = 256 << 20;

/// An archive that is being read.
#[derive(Debug)]
pub struct Archive<B> {
    reader: BodyReader<B>,
    /// The entry whose contents come next, where its header was read already.
    next: Option<Entry>,
}

impl<B> Archive<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Reads the archive that `body` is.
    pub fn new(body: B) -> Archive<B> {
        Archive { reader: BodyReader::new("archive", body), next: None }
    }

    /// The metadata at the archive's beginning.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for what is no such archive, [`Refusal::Oversized`] past the bounds.
    pub async fn documents(&mut self) -> Result<Documents, Refusal> {
        let mut all = BTreeMap::new();
        let mut bytes = 0;
        while let Some(entry) = self.header().await? {
            let Some(name) = entry.path.strip_prefix("metadata/").map(str::to_owned) else {
                self.next = Some(entry);
                break;
            };
            bytes += entry.bytes;
            if entry.bytes > DOCUMENT_BYTES_MAX || bytes > DOCUMENTS_BYTES_MAX || all.len() == DOCUMENTS_MAX {
                return Err(Refusal::Oversized {
                    name: "the archive's metadata".into(),
                    expected: DOCUMENTS_BYTES_MAX,
                });
            }
            let mut document = vec![0; entry.bytes as usize];
            self.exactly(&entry, &mut document).await?;
            self.pad(&entry).await?;
            all.insert(name, document.into());
        }
        if all.is_empty() {
            return Err(malformed(
                "it does not begin with metadata/; make it with: vakt-image bundle --archive FILE",
            ));
        }
        Ok(Documents(Arc::new(all)))
    }

    /// Goes on to the contents of `path`, which was signed with `bytes`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when another file comes, [`Refusal::Truncated`] and [`Refusal::Oversized`] when
    /// it has another size, [`Refusal::Transfer`] when the archive ends before.
    pub async fn open(&mut self, path: &str, bytes: u64) -> Result<Entry, Refusal> {
        let entry = match self.next.take() {
            Some(entry) => Some(entry),
            None => self.header().await?,
        };
        let Some(entry) = entry else {
            return Err(Refusal::Truncated {
                name: format!("archive, before {path}"),
                found: 0,
                expected: bytes,
            });
        };
        if entry.path != path {
            return Err(malformed(&format!("{:?} comes where {path:?} belongs", entry.path)));
        }
        let name = path.to_owned();
        match entry.bytes.cmp(&bytes) {
            std::cmp::Ordering::Equal => Ok(entry),
            std::cmp::Ordering::Less => Err(Refusal::Truncated { name, found: entry.bytes, expected: bytes }),
            std::cmp::Ordering::Greater => Err(Refusal::Oversized { name, expected: bytes }),
        }
    }

    /// Fills `buffer` with the next contents of `entry`.
    ///
    /// # Errors
    /// [`Refusal::Truncated`] when the archive ends before, [`Refusal::Transfer`] when the sender breaks off.
    pub async fn exactly(&mut self, entry: &Entry, buffer: &mut [u8]) -> Result<(), Refusal> {
        let got = self.reader.fill(buffer).await?;
        if got == buffer.len() {
            return Ok(());
        }
        let found = self.reader.taken();
        Err(Refusal::Truncated {
            name: format!("archive, in {}", entry.path),
            found,
            expected: found + (buffer.len() - got) as u64,
        })
    }

    /// Passes over the padding behind `entry`.
    ///
    /// # Errors
    /// As [`BodyReader::skip`].
    pub async fn pad(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.reader.skip(entry.padding()).await.map(drop)
    }

    /// Takes what is left, and forgets it. A sender that is cut off while it sends does not read the answer.
    pub async fn drain(&mut self) {
        // Whoever sends more, or breaks off, loses only that answer.
        let _ = timeout(PIECE_WITHIN, self.reader.skip(LEFT_BYTES_MAX)).await;
    }

    async fn header(&mut self) -> Result<Option<Entry>, Refusal> {
        let mut block = [0; BLOCK];
        match self.reader.fill(&mut block).await? {
            BLOCK => Entry::decode(&block).map_err(|reason| malformed(&reason)),
            0 => Ok(None),
            _ => Err(malformed("it ends in the middle of a header")),
        }
    }
}

fn malformed(reason: &str) -> Refusal {
    Refusal::Malformed { name: "archive".into(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    fn archive(files: &[(&str, &[u8])]) -> Archive<Full<Bytes>> {
        let mut bytes = Vec::new();
        for (path, contents) in files {
            let entry = Entry { path: (*path).into(), bytes: contents.len() as u64 };
            bytes.extend(entry.encode().unwrap());
            bytes.extend(*contents);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        Archive::new(Full::new(bytes.into()))
    }

    #[tokio::test]
    async fn metadata_is_gathered_and_the_files_follow_in_order() {
        let mut all =
            archive(&[("metadata/timestamp.json", b"{}"), ("targets/a", b"abc"), ("targets/b", b"")]);
        let documents = all.documents().await.unwrap();
        assert_eq!(documents.0.keys().collect::<Vec<_>>(), ["timestamp.json"]);
        let entry = all.open("targets/a", 3).await.unwrap();
        let mut contents = [0; 3];
        all.exactly(&entry, &mut contents).await.unwrap();
        all.pad(&entry).await.unwrap();
        assert_eq!(&contents, b"abc");
        assert!(all.open("targets/b", 0).await.is_ok());
        assert_eq!(all.open("targets/c", 7).await.unwrap_err().kind(), "truncated");
    }

    #[tokio::test]
    async fn what_comes_out_of_order_or_in_another_size_is_refused() {
        let start = ("metadata/timestamp.json", b"{}".as_slice());
        for (path, bytes, kind) in
            [("targets/b", 3, "malformed"), ("targets/a", 4, "truncated"), ("targets/a", 2, "oversized")]
        {
            let mut all = archive(&[start, ("targets/a", b"abc")]);
            all.documents().await.unwrap();
            assert_eq!(all.open(path, bytes).await.unwrap_err().kind(), kind);
        }
        assert_eq!(archive(&[("targets/a", b"abc")]).documents().await.unwrap_err().kind(), "malformed");
        let many: Vec<String> = (0..=DOCUMENTS_MAX).map(|n| format!("metadata/{n}")).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|path| (path.as_str(), b"".as_slice())).collect();
        assert_eq!(archive(&many).documents().await.unwrap_err().kind(), "oversized");
    }
}

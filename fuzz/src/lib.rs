//! What the targets share: a disk in memory, and a request that is read as the store reads it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use vakt_store::disk::{Append, Disk, ReadAt};
use vakt_store::ingest::{RequestError, WriteRequest, onward};

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl MemoryDisk {
    /// A disk with one file.
    pub fn with(name: &str, bytes: Vec<u8>) -> MemoryDisk {
        let disk = MemoryDisk::default();
        disk.files().insert(name.to_owned(), bytes);
        disk
    }

    fn files(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct File(MemoryDisk, String);

impl Append for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.files().entry(self.1.clone()).or_default().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(self.0.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

impl Disk for MemoryDisk {
    fn create_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        Ok(self.files().keys().filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned())).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        self.files().insert(name.to_owned(), Vec::new());
        Ok(Box::new(File(self.clone(), name.to_owned())))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        let bytes = self.files().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Bytes(bytes)))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let bytes = self.files().get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        self.files().insert(to.to_owned(), bytes);
        Ok(())
    }

    fn folders(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn remove_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let bytes = self.files().remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files().insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn take_full(&self) -> bool {
        false
    }
}

/// Reads a request; one that is taken goes on to others as remote-write 1.0, which must be readable again and say the same.
pub fn read(by: impl FnOnce(&mut WriteRequest) -> Result<(), RequestError>) {
    let mut request = WriteRequest::default();
    if by(&mut request).is_err() {
        return;
    }
    let Ok(body) = onward::encode(&request) else { return };
    let mut unpacked = snap::raw::Decoder::new().decompress_vec(&body).expect("what was packed just now");
    let mut again = WriteRequest::default();
    if again.read_remote_write(&mut unpacked).is_ok() {
        let bits = |all: &[(i64, f64)]| all.iter().map(|(t, v)| (*t, v.to_bits())).collect::<Vec<_>>();
        assert_eq!(bits(&again.samples), bits(&request.samples));
        assert_eq!(again.histograms.len(), request.histograms.len());
    }
}

/// A zstd frame that holds `bytes` as they are (RFC 8878: one raw block, at most 64 KiB here).
pub fn stored(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(64 << 10)];
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
    frame.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    let head = (bytes.len() as u32) << 3 | 1;
    frame.extend_from_slice(&head.to_le_bytes()[..3]);
    frame.extend_from_slice(bytes);
    frame
}

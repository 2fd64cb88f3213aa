//! The slot that does not run: a partition under vakt-init, a file alone.
//!
//! It arrives open and is the only thing that this service writes an update to. Pieces are written at their place,
//! one at a time; what is read back comes from the disk and not from the page cache.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use crate::digest::Sha256;
use crate::refusal::Refusal;

/// A slot. Cheap to clone: all clones are one file.
#[derive(Clone, Debug)]
pub struct Slot {
    file: Arc<File>,
    bytes: u64,
}

impl Slot {
    /// The slot behind a descriptor that was handed over.
    ///
    /// # Errors
    /// When its size cannot be told.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Slot> {
        Slot::of(File::from(fd))
    }

    /// A file in the place of a slot; its length is the slot's size.
    ///
    /// # Errors
    /// When it cannot be opened for reading and writing.
    pub fn open(path: &Path) -> io::Result<Slot> {
        Slot::of(File::options().read(true).write(true).open(path)?)
    }

    fn of(mut file: File) -> io::Result<Slot> {
        // A block device has no length in its metadata; its end tells.
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok(Slot { file: Arc::new(file), bytes })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of `length` bytes at `offset`.
    ///
    /// # Errors
    /// [`Refusal::Disk`].
    pub async fn hash(&self, offset: u64, length: u64) -> Result<Sha256, Refusal> {
        Ok(Sha256::of(&self.read(offset, length).await?))
    }

    /// `length` bytes at `offset`; the caller asks for a piece at a time.
    ///
    /// # Errors
    /// [`Refusal::Disk`].
    pub async fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Refusal> {
        self.blocking(move |file| {
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        })
        .await
    }

    /// Writes `bytes` at `offset` and gives the buffer back.
    ///
    /// # Errors
    /// [`Refusal::Disk`], also for what would go past the slot's end: a file must not grow.
    pub async fn write(&self, offset: u64, bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.bytes) {
            let source =
                io::Error::new(io::ErrorKind::StorageFull, format!("a write ends past {}", self.bytes));
            return Err(Refusal::Disk { object: "slot".into(), source });
        }
        self.blocking(move |file| {
            file.write_all_at(&bytes, offset)?;
            Ok(bytes)
        })
        .await
    }

    /// Waits until everything written is on the disk, and forgets what is cached of it, so that the next
    /// read is one of the disk.
    ///
    /// # Errors
    /// [`Refusal::Disk`].
    pub async fn settle(&self) -> Result<(), Refusal> {
        self.blocking(|file| {
            file.sync_data()?;
            Ok(fadvise(file, 0, None, Advice::DontNeed)?)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let file = self.file.clone();
        let done = tokio::task::spawn_blocking(move || work(&file)).await;
        done.map_err(io::Error::other).flatten().map_err(Refusal::disk("slot"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_is_written_in_its_bounds_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8192).unwrap();
        let slot = Slot::open(file.path()).unwrap();
        slot.write(4096, vec![7; 4096]).await.unwrap();
        slot.settle().await.unwrap();
        assert_eq!(slot.hash(4096, 4096).await.unwrap(), Sha256::of(&[7; 4096]));
        assert_eq!(slot.write(4097, vec![7; 4096]).await.unwrap_err().kind(), "disk");
        assert_eq!(slot.write(u64::MAX, vec![7; 2]).await.unwrap_err().kind(), "disk");
        assert_eq!(file.as_file().metadata().unwrap().len(), 8192);
        assert_eq!(slot.read(8000, 500).await.unwrap_err().kind(), "disk");
    }
}

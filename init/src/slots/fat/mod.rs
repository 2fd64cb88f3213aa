//! FAT32, in an order that a power cut cannot hurt.
//!
//! A volume is changed by two operations only, and after each single write of them, and after any
//! subset of the writes between two syncs, every file that was there before is there with its bytes:
//!
//! - **put**: the bytes go to clusters that were free; sync; the allocation table learns of them (both
//!   copies); sync; then the name appears, by the write of one sector; sync.
//! - **remove**: the name goes (of one that firmware laid over two sectors, the short name first); sync; then
//!   the clusters that nothing leads to any more become free; sync.
//!
//! A cut leaves at worst clusters that are taken and belong to nobody, which [`Volume::mend`] frees. A
//! library that writes the name before the bytes, or frees the bytes before the name is gone, cannot
//! give this. Sectors are taken to be written whole, as every disk promises.
//!
//! Limits: directories do not grow (the image builder makes `EFI/Linux` large enough), files are at most
//! 64 MiB, FSInfo (which holds hints only) is left as it is. Nothing is trusted: a volume that makes no
//! sense is an error before anything is written.

mod directory;
mod geometry;
mod table;
mod volume;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub use volume::Volume;

/// Where a volume lies.
pub trait Disk {
    /// Fills `buffer` from byte `at` on.
    ///
    /// # Errors
    /// As pread(2); a short disk is an error.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` from byte `at` on; they may stay in a cache.
    ///
    /// # Errors
    /// As pwrite(2).
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything written so far will survive a power cut.
    ///
    /// # Errors
    /// As fsync(2).
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, at)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Why a volume cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The disk failed.
    #[error("cannot {doing} the boot partition: {source}")]
    Disk {
        /// `read`, `write` or `sync`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is no FAT32 volume that we could work on.
    #[error("the boot partition is not usable: {0}")]
    Damaged(String),
    /// There is no such file.
    #[error("{0} is not on the boot partition")]
    Absent(String),
    /// There is such a file already.
    #[error("{0} is on the boot partition already")]
    Present(String),
    /// No room is left.
    #[error(
        "{name} needs {needed} {what} of the boot partition and {free} are free; remove what is not needed"
    )]
    Full {
        /// The file.
        name: String,
        /// `clusters` or `directory entries`.
        what: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        free: usize,
    },
}

impl FatError {
    fn disk(doing: &'static str) -> impl FnOnce(io::Error) -> FatError {
        move |source| FatError::Disk { doing, source }
    }

    fn damaged(what: impl Into<String>) -> FatError {
        FatError::Damaged(what.into())
    }
}

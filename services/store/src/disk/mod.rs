//! The files under the data directory, behind one small seam so that crash tests can put a disk there
//! that fails, forgets what was not synced, and starts again.
//!
//! Names are relative to the data directory, with `/` between a folder and a file.

mod real;
mod room;
#[cfg(test)]
pub mod simulated;

use std::io;

pub use real::RealDisk;
pub use room::{Bell, Room};

/// A directory tree that can be made durable.
pub trait Disk: Send + Sync {
    /// Makes a folder unless it is there, durably.
    fn create_folder(&self, name: &str) -> io::Result<()>;
    /// The names of the files in a folder, in no order.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes an empty file (an old one of that name loses its content) and opens it for appending.
    fn create(&self, name: &str) -> io::Result<Box<dyn Append>>;
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>>;
    /// Gives a file one more name. Durable after [`Disk::sync_folder`].
    fn link(&self, from: &str, to: &str) -> io::Result<()>;
    /// The names of the folders in a folder, in no order.
    fn folders(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Removes a folder and what is in it.
    fn remove_folder(&self, name: &str) -> io::Result<()>;
    /// Renames a file or folder within the tree, replacing a file of the new name. Durable after
    /// [`Disk::sync_folder`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_folder`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Bytes that may still be written.
    fn free(&self) -> io::Result<u64>;
    /// Whether a write was refused for lack of room since this was asked last.
    fn take_full(&self) -> bool;
}

/// A file that grows at its end.
pub trait Append: Send {
    /// Appends all of `bytes`.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended so far durable (fdatasync).
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that does not change any more.
pub trait ReadAt: Send + Sync {
    /// Fills `into` from `offset` on; a file that ends before that is an error.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// The file's length in bytes.
    fn bytes(&self) -> io::Result<u64>;
}

/// Whether an error says that there is no room: on the disk, or in what its owner may use of it.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Reads `length` bytes from `offset` on.
///
/// # Errors
/// As [`ReadAt::read_at`].
pub fn read(file: &dyn ReadAt, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

//! The real directory tree.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Append, Disk, ReadAt, is_full};

/// A data directory on this machine, held by one process at a time.
pub struct RealDisk {
    root: PathBuf,
    /// Set by a write that found no room.
    full: Arc<AtomicBool>,
    /// Holds the lock; dropping it lets go.
    _lock: File,
}

impl RealDisk {
    /// Opens `root`, makes it when it is not there, and takes its lock.
    ///
    /// # Errors
    /// When it cannot be made, or another process holds it; the message names the directory.
    pub fn open(root: &Path) -> io::Result<RealDisk> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", root.display()));
        fs::create_dir_all(root).map_err(named)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("lock"))
            .map_err(named)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| named(io::Error::other("another process has this data directory open")))?;
        Ok(RealDisk { root: root.to_owned(), full: Arc::default(), _lock: lock })
    }
}

impl Disk for RealDisk {
    fn create_folder(&self, name: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(name))?;
        let mut above = Path::new(name).ancestors().skip(1);
        above.try_for_each(|folder| File::open(self.root.join(folder))?.sync_all())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        noted(&self.full, fs::hard_link(self.root.join(from), self.root.join(to)))
    }

    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            // Names that are no UTF-8 are not ours.
            if let (true, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        fs::remove_dir_all(self.root.join(name))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            // Names that are no UTF-8 are not ours.
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let file = noted(&self.full, File::create(self.root.join(name)))?;
        Ok(Box::new(Appended { file, full: self.full.clone() }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(Readable(File::open(self.root.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(name))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        noted(&self.full, File::open(self.root.join(folder))?.sync_all())
    }

    fn free(&self) -> io::Result<u64> {
        let all = rustix::fs::statvfs(&self.root)?;
        Ok(all.f_bavail.saturating_mul(all.f_frsize))
    }

    fn take_full(&self) -> bool {
        self.full.swap(false, Ordering::Relaxed)
    }
}

/// Notes that there was no room.
fn noted<T>(full: &AtomicBool, result: io::Result<T>) -> io::Result<T> {
    result.inspect_err(|error| {
        full.fetch_or(is_full(error), Ordering::Relaxed);
    })
}

struct Appended {
    file: File,
    full: Arc<AtomicBool>,
}

impl Append for Appended {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        noted(&self.full, self.file.write_all(bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        noted(&self.full, self.file.sync_data())
    }
}

struct Readable(File);

impl ReadAt for Readable {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

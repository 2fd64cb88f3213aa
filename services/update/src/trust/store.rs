//! What was seen of the repository, kept across power cuts.
//!
//! `tough` writes its files in place, and takes a torn one for none at all: a power cut at the wrong moment would
//! undo the protection against rollback. So it works on a copy (`work/`), and what it leaves there replaces the
//! files of `seen/` one by one, each by a rename of a file that is on the disk already. The order is that in which
//! they were verified, so that a cut between two of them leaves what an earlier end of the check would have left.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::refusal::Refusal;

/// The clock's last good reading; see [`Store::commit`].
const CLOCK: &str = "latest_known_time.json";

/// All files that are kept, in the order in which they are verified.
const FILES: [&str; 5] = ["root.json", "timestamp.json", "snapshot.json", "targets.json", CLOCK];

/// The directory.
#[derive(Debug)]
pub struct Store {
    seen: PathBuf,
    work: PathBuf,
}

impl Store {
    /// Opens the store in `data`, with a fresh copy to work on.
    ///
    /// # Errors
    /// [`Refusal::Disk`].
    pub fn open(data: &Path) -> Result<Store, Refusal> {
        let store = Store { seen: data.join("seen"), work: data.join("work") };
        match fs::remove_dir_all(&store.work) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
        .map_err(Refusal::disk(store.work.display()))?;
        for directory in [&store.seen, &store.work] {
            fs::create_dir_all(directory).map_err(Refusal::disk(directory.display()))?;
        }
        for name in FILES {
            if let Some(bytes) = store.get(name)? {
                let path = store.work.join(name);
                fs::write(&path, bytes).map_err(Refusal::disk(path.display()))?;
            }
        }
        Ok(store)
    }

    /// The directory for `tough`.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// A kept file.
    ///
    /// # Errors
    /// [`Refusal::Disk`] when it is there and cannot be read.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        read(&self.seen.join(name))
    }

    /// Keeps what is in the copy. The clock's reading only when `clock` says so: a clock that was once far ahead
    /// must not lock updates out for years.
    ///
    /// # Errors
    /// [`Refusal::Disk`].
    pub fn commit(&self, clock: bool) -> Result<(), Refusal> {
        for name in FILES.into_iter().filter(|name| clock || *name != CLOCK) {
            let (kept, worked) = (self.get(name)?, read(&self.work.join(name))?);
            if kept == worked {
                continue;
            }
            let path = self.seen.join(name);
            match worked {
                Some(bytes) => replace(&path, &bytes),
                None => fs::remove_file(&path),
            }
            .map_err(Refusal::disk(path.display()))?;
        }
        let synced = File::open(&self.seen).and_then(|directory| directory.sync_all());
        synced.map_err(Refusal::disk(self.seen.display()))
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Refusal> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Refusal::disk(path.display())(error)),
    }
}

/// The new contents or the old ones, whenever the power goes.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &Store, name: &str, text: &str) {
        fs::write(store.work().join(name), text).unwrap();
    }

    #[test]
    fn what_was_seen_is_there_the_next_time() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        put(&store, "timestamp.json", "5");
        put(&store, CLOCK, "now");
        assert_eq!(store.get("timestamp.json").unwrap(), None, "nothing counts before commit");
        store.commit(true).unwrap();

        let store = Store::open(data.path()).unwrap();
        assert_eq!(fs::read(store.work().join("timestamp.json")).unwrap(), b"5");
        fs::remove_file(store.work().join("timestamp.json")).unwrap();
        put(&store, CLOCK, "in 2040");
        store.commit(false).unwrap();
        assert_eq!(store.get("timestamp.json").unwrap(), None, "withdrawn keys take their documents along");
        assert_eq!(
            store.get(CLOCK).unwrap().as_deref(),
            Some(b"now".as_slice()),
            "a refused check tells no time"
        );
    }

    #[test]
    fn a_check_that_was_cut_off_leaves_what_was_there() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        put(&store, "timestamp.json", "5");
        store.commit(true).unwrap();
        put(&store, "timestamp.json", "torn");
        drop(store);
        let store = Store::open(data.path()).unwrap();
        assert_eq!(fs::read(store.work().join("timestamp.json")).unwrap(), b"5");
    }
}

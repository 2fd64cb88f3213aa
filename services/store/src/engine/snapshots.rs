//! Snapshots: a second name for every file of one moment, in a directory that another store can open.

use std::io;

use super::{Engine, hold};
use crate::block::FOLDER as BLOCKS;
use crate::deletions::file;

/// Where they are.
pub const FOLDER: &str = "snapshots";

/// Snapshots that are kept: each holds on to the room of what was deleted or merged since.
pub const SNAPSHOTS_MAX: usize = 32;

/// Marks one that is not whole.
const UNFINISHED: &str = ".tmp";

impl Engine {
    /// Makes the snapshot `name`, of all that was written before the call; without what is in memory when `skip_head`.
    ///
    /// # Errors
    /// As the disk says, or when there are too many.
    pub fn snapshot(&self, name: &str, skip_head: bool) -> io::Result<()> {
        self.disk.create_folder(FOLDER)?;
        let there = self.disk.folders(FOLDER)?.len();
        if there >= SNAPSHOTS_MAX {
            let text = format!("{there} snapshots are kept and no more; remove one from {FOLDER}/");
            return Err(io::Error::other(text));
        }
        if !skip_head {
            self.flush_all()?;
        }
        let whole = format!("{FOLDER}/{name}");
        let unfinished = format!("{whole}{UNFINISHED}");
        let blocks = format!("{unfinished}/{BLOCKS}");
        self.disk.create_folder(&blocks)?;
        let done = self.link_all(&blocks).and_then(|()| {
            self.disk.sync_folder(&blocks)?;
            self.disk.rename(&unfinished, &whole)?;
            self.disk.sync_folder(FOLDER)
        });
        done.inspect_err(|_| {
            // What cannot be removed now is removed by the next start.
            let _ = self.disk.remove_folder(&unfinished);
        })
    }

    fn link_all(&self, to: &str) -> io::Result<()> {
        let _list = hold(&self.deleting);
        // Files of blocks in use are removed only after they are out of use, which takes this lock.
        let state = self.lock();
        for block in state.blocks.iter().chain(&state.tiers) {
            self.disk.link(&block.name.path(), &format!("{to}/{}.blk", block.name))?;
        }
        if !state.deletions.is_empty() {
            self.disk.link(&format!("{BLOCKS}/{}", file::NAME), &format!("{to}/{}", file::NAME))?;
        }
        Ok(())
    }

    /// Removes what a crash left of snapshots that were being made.
    pub(super) fn remove_unfinished_snapshots(&self) -> io::Result<()> {
        // Without the folder there is none.
        let names = self.disk.folders(FOLDER).unwrap_or_default();
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
            self.disk.remove_folder(&format!("{FOLDER}/{name}"))?;
        }
        Ok(())
    }

    /// Removes the oldest snapshot, by its name. Says whether there was one.
    pub(super) fn remove_oldest_snapshot(&self) -> io::Result<bool> {
        let names = self.disk.folders(FOLDER).unwrap_or_default();
        let Some(oldest) = names.into_iter().min() else { return Ok(false) };
        tracing::warn!(snapshot = oldest, "the disk is full; the oldest snapshot is deleted");
        self.disk.remove_folder(&format!("{FOLDER}/{oldest}"))?;
        Ok(true)
    }
}

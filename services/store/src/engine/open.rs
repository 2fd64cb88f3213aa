//! Opening: what a start finds on the disk, and what it does about what is broken.

use std::io;
use std::sync::{Arc, Mutex, atomic::AtomicBool};
use std::time::Instant;

use super::sources::Sources;
use super::{Clock, Engine, Keep, Settings, State};
use crate::block::{self, Block, BlockError, BlockName, Decoded};
use crate::counters::Counters;
use crate::deletions::file;
use crate::disk::{Disk, Room};
use crate::hot::Hot;
use crate::notes::Notes;
use crate::series::Registry;
use crate::wal::{self, Replayed, Wal, exemplars};

/// Why the store cannot start. Damage is no reason: it is set aside, counted and logged.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {source}")]
pub struct OpenError {
    /// What was tried.
    action: &'static str,
    /// What the system said.
    source: io::Error,
}

/// What a start found.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Blocks in use.
    pub blocks: usize,
    /// Blocks set aside, each with its reason.
    pub bad: Vec<String>,
    /// What was in the log.
    pub log: Replayed,
}

impl Engine {
    /// Opens what is on `disk`. Nobody else may have it open.
    ///
    /// # Errors
    /// [`OpenError`] when folders or files cannot be made, listed or read at all.
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: Settings,
        clock: Clock,
    ) -> Result<(Arc<Engine>, Opened), OpenError> {
        let cannot = |action| move |source| OpenError { action, source };
        let counters = Arc::new(Counters::default());
        let mut registry = Registry::new(settings.series_max);
        for folder in [block::FOLDER, wal::FOLDER] {
            disk.create_folder(folder).map_err(cannot("make the folders"))?;
        }
        let mut opened = Opened::default();
        let mut blocks =
            open_blocks(&*disk, &mut registry, &mut opened).map_err(cannot("open the blocks"))?;
        blocks.sort_by_key(|block| block.name.first);
        let (deletions, broken) = file::load(&*disk).map_err(cannot("read the list of deletions"))?;
        if let Some(broken) = broken {
            tracing::error!(%broken, "some deletions are lost and what they named is seen again; the file is kept as .bad");
            opened.bad.push(broken.to_string());
        }
        counters.blocks_bad.add(opened.bad.len() as u64);
        let mut hot = Hot::default();
        let in_blocks = blocks.iter().map(|block| block.log_up_to()).max().unwrap_or(0);
        let in_blocks = in_blocks.max(deletions.log_up_to);
        opened.log =
            wal::replay(&*disk, in_blocks, &mut registry, &mut hot).map_err(cannot("read the log"))?;
        let notes = Notes::default();
        let known = exemplars::load(&*disk, in_blocks, |key| registry.find(key));
        notes.restore(known.map_err(cannot("read the exemplars"))?);
        let newest_flush = blocks.iter().map(|block| block.name.last).max().unwrap_or(0);
        let next_flush = newest_flush.max(deletions.newest_flush()) + 1;
        let (tiers, blocks): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| block.name.tier.is_some());
        opened.blocks = blocks.len();
        let state = State {
            named_in: Vec::new(),
            looked_at: hashbrown::HashMap::new(),
            next_flush,
            segment: opened.log.segments.last().copied().unwrap_or(0).max(in_blocks) + 1,
            registry,
            hot,
            hot_since: Instant::now(),
            sources: Sources::new(settings.source),
            frozen: None,
            blocks,
            tiers,
            deletions: Arc::new(deletions),
        };
        let room = Arc::new(Room::new(disk.clone(), settings.reserve_bytes));
        let wal = Wal::start(disk.clone(), counters.clone(), room.clone())
            .map_err(cannot("start the log's thread"))?;
        let stopping = AtomicBool::new(false);
        let keep = Keep { rules: settings.keep_rules.clone(), otherwise_ms: settings.retention_ms };
        let (started, state) = (Instant::now(), Mutex::new(state));
        let [flushing, work, deleting] = [(); 3].map(Mutex::new);
        let decoded = Decoded::default();
        let engine = Engine {
            disk,
            settings,
            keep,
            clock,
            counters,
            notes,
            started,
            wal,
            state,
            decoded,
            flushing,
            work,
            deleting,
            room,
            stopping,
        };
        engine.finish_deletions().map_err(cannot("finish what was deleted"))?;
        engine.remove_unfinished_snapshots().map_err(cannot("remove unfinished snapshots"))?;
        Ok((Arc::new(engine), opened))
    }
}

fn open_blocks(disk: &dyn Disk, registry: &mut Registry, opened: &mut Opened) -> io::Result<Vec<Arc<Block>>> {
    let mut names = Vec::new();
    for file in disk.list(block::FOLDER)? {
        if file.ends_with(".tmp") {
            // A flush or merge that was cut short; its samples are still in the log or in other blocks.
            disk.remove(&format!("{}/{file}", block::FOLDER))?;
        }
        names.extend(BlockName::parse(&file));
    }
    // Merged blocks first, so that their parts are recognised.
    names.sort_by_key(|name| std::cmp::Reverse(name.last - name.first));
    let mut blocks: Vec<Arc<Block>> = Vec::new();
    for name in names {
        if let Some(merged) = blocks.iter().find(|block| block.name.replaces(&name)) {
            tracing::info!(part = %name, merged = %merged.name, "part of a finished merge is removed");
            disk.remove(&name.path())?;
            continue;
        }
        match Block::open(disk, name, registry) {
            Ok(block) => blocks.push(Arc::new(block)),
            Err(error @ BlockError::Corrupt { .. }) => {
                set_aside(disk, name, &error)?;
                opened.bad.push(error.to_string());
            }
            Err(BlockError::Io { file, source }) => {
                return Err(io::Error::new(source.kind(), format!("{file}: {source}")));
            }
        }
    }
    Ok(blocks)
}

/// Renames a corrupt block, so that the next start does not try it and a person can look at it.
pub(super) fn set_aside(disk: &dyn Disk, name: BlockName, reason: &BlockError) -> io::Result<()> {
    tracing::error!(block = %name, %reason, "block is corrupt and set aside; the rest serves");
    disk.rename(&name.path(), &name.path_bad())?;
    disk.sync_folder(block::FOLDER)
}

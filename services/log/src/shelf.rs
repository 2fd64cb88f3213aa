//! What can be queried now: hot rows in memory and blocks on disk, seen as one.
//!
//! A row is on the shelf exactly once at any moment: the step from memory to blocks is one exchange
//! under the lock. Readers take a snapshot and hold nothing up.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::BlockError;
use crate::metrics::Metrics;
use crate::time;

/// Damaged files that are kept for a look; older ones are removed.
pub const SET_ASIDE_MAX: usize = 64;

/// Encoded rows that are in the append log.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Rows ([`crate::row`]).
    pub bytes: Vec<u8>,
    /// How many.
    pub rows: usize,
}

/// A full generation on its way into blocks.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The segment that holds its rows.
    pub segment: u64,
    /// Its rows.
    pub frames: Vec<Arc<Frame>>,
}

/// A block at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// UTC day, in days since the epoch.
    pub day: i64,
    /// Segment it was made of.
    pub segment: u64,
    /// Place among the segment's blocks.
    pub part: u32,
    /// Time of the first row.
    pub min_ns: i64,
    /// Time of the last row.
    pub max_ns: i64,
    /// Rows.
    pub rows: u32,
    /// Bytes of the file.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    hot: Vec<Arc<Frame>>,
    sealed: Vec<Sealed>,
    blocks: Arc<Vec<BlockRef>>,
}

/// Everything at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Rows that are in no block yet, oldest frame first.
    pub hot: Vec<Arc<Frame>>,
    /// Blocks, in no order.
    pub blocks: Arc<Vec<BlockRef>>,
}

/// Sizes, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Rows in memory.
    pub hot_rows: usize,
    /// Blocks.
    pub blocks: usize,
    /// Their bytes.
    pub blocks_bytes: u64,
}

/// The shelf. Shared by writer, flusher and queries.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

/// `DIR/blocks/2026-11-22`.
pub fn day_dir(dir: &Path, day: i64) -> PathBuf {
    dir.join("blocks").join(time::day_name(day))
}

/// `0000000000000012-000.block`.
pub fn block_name(segment: u64, part: u32) -> String {
    format!("{segment:016}-{part:03}.block")
}

impl Shelf {
    /// A shelf over the data directory with these blocks.
    pub fn new(dir: &Path, metrics: Arc<Metrics>, blocks: Vec<BlockRef>) -> Shelf {
        let state = State { blocks: Arc::new(blocks), ..State::default() };
        Shelf { dir: dir.to_owned(), metrics, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock, so a poisoned one holds a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a block's file is.
    pub fn path_of(&self, block: &BlockRef) -> PathBuf {
        day_dir(&self.dir, block.day).join(block_name(block.segment, block.part))
    }

    /// Everything, as of now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let sealed = state.sealed.iter().flat_map(|sealed| sealed.frames.iter().cloned());
        let hot = sealed.chain(state.hot.iter().cloned()).collect();
        Snapshot { hot, blocks: state.blocks.clone() }
    }

    /// Adds rows that were just appended.
    pub fn add_hot(&self, frame: Frame) {
        self.lock().hot.push(Arc::new(frame));
    }

    /// Turns the hot rows into a sealed generation and returns it; hot is empty then.
    pub fn seal(&self, segment: u64) -> Sealed {
        let mut state = self.lock();
        let sealed = Sealed { segment, frames: std::mem::take(&mut state.hot) };
        state.sealed.push(sealed.clone());
        sealed
    }

    /// Puts blocks in the place of the generation they were made of.
    pub fn replace(&self, segment: u64, blocks: &[BlockRef]) {
        let mut state = self.lock();
        state.sealed.retain(|sealed| sealed.segment != segment);
        Arc::make_mut(&mut state.blocks).extend_from_slice(blocks);
    }

    /// Takes blocks off the shelf for which `goes` holds, and returns them. Their files are the
    /// caller's to remove.
    pub fn take(&self, goes: impl Fn(&BlockRef) -> bool) -> Vec<BlockRef> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        Arc::make_mut(&mut state.blocks).retain(|block| {
            let stays = !goes(block);
            if !stays {
                taken.push(*block);
            }
            stays
        });
        taken
    }

    /// Takes a damaged block off the shelf and moves its file to `DIR/set-aside`, with the reason in a
    /// file beside it. The rest goes on serving.
    pub fn set_aside(&self, block: &BlockRef, error: &BlockError) {
        let path = self.path_of(block);
        if !error.is_damage() {
            // A read that failed says nothing about the bytes; the next query tries again.
            tracing::error!(block = %path.display(), %error, "cannot read a block");
            return;
        }
        if !self.take(|known| known == block).is_empty() {
            set_aside(&self.dir, &path, &error.to_string(), &self.metrics);
        }
    }

    /// Sizes, as of now.
    pub fn sizes(&self) -> Sizes {
        let state = self.lock();
        let sealed = state.sealed.iter().flat_map(|sealed| &sealed.frames);
        Sizes {
            hot_rows: state.hot.iter().chain(sealed).map(|frame| frame.rows).sum(),
            blocks: state.blocks.len(),
            blocks_bytes: state.blocks.iter().map(|block| block.bytes).sum(),
        }
    }
}

/// Moves `path` to `dir/set-aside` with a `.reason` beside it. At most [`SET_ASIDE_MAX`] files stay.
/// What fails is logged: the file then stays where it is and is met again at the next start.
pub fn set_aside(dir: &Path, path: &Path, reason: &str, metrics: &Metrics) {
    metrics.set_aside.add(1);
    tracing::error!(file = %path.display(), reason, "damaged; it is set aside and the rest serves");
    let aside = dir.join("set-aside");
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let target = aside.join(&name);
    let moved = std::fs::create_dir_all(&aside)
        .and_then(|()| std::fs::rename(path, &target))
        .and_then(|()| std::fs::write(aside.join(format!("{name}.reason")), format!("{reason}\n")));
    if let Err(error) = moved {
        tracing::error!(file = %path.display(), %error, "cannot set a damaged file aside");
    }
    if let Err(error) = forget_oldest(&aside) {
        tracing::warn!(%error, "cannot bound the files that were set aside");
    }
}

fn forget_oldest(aside: &Path) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(aside)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    // Two files for each damaged one.
    for (_, path) in files.iter().take(files.len().saturating_sub(2 * SET_ASIDE_MAX)) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

//! The engine: where a sample goes when it comes, and where it is found again.
//!
//! ```text
//!   write -> registry -> hot window -> frozen window -> block -> merged block -> expired
//!         \-> log, synced, then acknowledged       \-> log segments removed
//! ```
//!
//! **Invariant:** an acknowledged sample is in a synced log segment or in a committed block, at every moment.
//! **Invariant:** reading lays blocks (by flush number), the frozen window and the hot window over each other in
//! that order, so of one time of one series the value written last is seen.

mod asked;
mod delete;
#[cfg(test)]
mod delete_tests;
#[cfg(test)]
mod flip_tests;
mod flush;
mod ingest;
mod keep;
#[cfg(test)]
mod keep_tests;
mod maintenance;
mod merge;
mod open;
mod partition;
mod retention;
#[cfg(test)]
mod room_tests;
mod select;
mod snapshots;
mod sources;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tier_query_tests;
#[cfg(test)]
mod tier_tests;
mod tiering;
mod trimming;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::block::{Block, BlockName, Decoded};
use crate::counters::Counters;
use crate::deletions::Deletions;
use crate::disk::{Disk, Room};
use crate::hot::Hot;
use crate::notes::Notes;
use crate::series::Registry;
use crate::wal::Wal;

use sources::Sources;

pub use delete::DeleteError;
pub use ingest::{Report, WriteError};
pub use keep::{Keep, KeepRule, RULES_MAX};
pub use maintenance::Maintenance;
pub use open::{OpenError, Opened};
pub use partition::Partitions;
pub use select::Snapshot;
pub use snapshots::{FOLDER as SNAPSHOTS_FOLDER, SNAPSHOTS_MAX};
pub use sources::{Source, SourceLimits};

/// The clock: milliseconds since the epoch.
pub type Clock = Box<dyn Fn() -> i64 + Send + Sync>;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long samples are kept, in milliseconds.
    pub retention_ms: i64,
    /// Series that are kept shorter or longer than that.
    pub keep_rules: Vec<KeepRule>,
    /// How long the tiers are kept, in milliseconds: minutes, then hours. At least as long as the samples themselves.
    pub tier_retention_ms: [i64; 2],
    /// A partition gets tiers when it has this many samples: below, reading it raw costs as little.
    pub tier_samples_min: u64,
    /// A tier is made when it has this many samples for each bucket: at 30 it adds a fifth to what is on the disk ...
    pub tier_worth: u64,
    /// ... and its partition this many buckets of time.
    pub tier_buckets_min: i64,
    /// Bytes of blocks past which the oldest ones go.
    pub bytes_max: u64,
    /// Bytes of the disk that are kept free for writing memory to blocks ([`Room`]); 0 for none.
    pub reserve_bytes: u64,
    /// Series that the store takes. At some 350 bytes a series in memory (10 labels, by the
    /// sizes of the parts) the default of 1,000,000 needs 350 MB; the appliance gives less in its manifest.
    pub series_max: usize,
    /// What each source may bring.
    pub source: SourceLimits,
    /// How long a window stays in memory before it becomes a block.
    pub window: Duration,
    /// A window becomes a block early when it holds this many samples ...
    pub window_samples_max: u64,
    /// ... or this many bytes of memory. Writers are turned away at twice this, when blocks cannot be
    /// written fast enough.
    pub window_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retention_ms: 365 * 86_400_000,
            keep_rules: Vec::new(),
            tier_retention_ms: [365 * 86_400_000; 2],
            tier_samples_min: 1_000_000,
            tier_worth: 30,
            tier_buckets_min: 48,
            bytes_max: u64::MAX,
            reserve_bytes: 0,
            series_max: 1_000_000,
            source: SourceLimits { series_max: 500_000, rate_max: 1_000_000 },
            window: Duration::from_secs(30 * 60),
            window_samples_max: 8_000_000,
            window_bytes_max: 24 << 20,
        }
    }
}

/// A window on its way to a block.
struct Frozen {
    hot: Arc<Hot>,
    /// The flush that it will be.
    number: u64,
    /// The log segments up to this one hold nothing that is not in it or in blocks.
    segments_up_to: u64,
}

struct State {
    registry: Registry,
    hot: Hot,
    hot_since: Instant,
    sources: Sources,
    frozen: Option<Frozen>,
    /// Sorted by first flush.
    blocks: Vec<Arc<Block>>,
    /// Tiers made of blocks, one for each partition and width at most; in no order.
    tiers: Vec<Arc<Block>>,
    /// What was deleted and may be in these.
    deletions: Arc<Deletions>,
    /// When a block was looked at for samples that are too old, by the clock.
    looked_at: hashbrown::HashMap<BlockName, i64>,
    /// The log segment that records go to.
    segment: u64,
    /// For each series the last segment that names it; 0 for none.
    named_in: Vec<u64>,
    next_flush: u64,
}

/// A store of samples on one disk. Threads share it behind an `Arc`.
pub struct Engine {
    disk: Arc<dyn Disk>,
    settings: Settings,
    keep: Keep,
    clock: Clock,
    counters: Arc<Counters>,
    notes: Notes,
    started: Instant,
    wal: Wal,
    state: Mutex<State>,
    /// Held by who writes memory to blocks: one at a time.
    flushing: Mutex<()>,
    /// Held by who writes blocks anew; taken before all others.
    work: Mutex<()>,
    /// Held by who changes the list of deletions.
    deleting: Mutex<()>,
    /// What queries decoded, for the next ones.
    decoded: Decoded,
    /// Room on the disk, and the bell that is rung when a window is due or room is short.
    room: Arc<Room>,
    stopping: AtomicBool,
}

impl State {
    /// The newest sample's time.
    fn newest(&self) -> i64 {
        let hot = self.hot.span().map(|(_, newest)| newest);
        self.blocks.iter().map(|block| block.span().1).chain(hot).max().unwrap_or(i64::MIN)
    }
}

/// Numbers for `/metrics`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    /// Series in memory's registry.
    pub series: u64,
    /// Different label pairs.
    pub label_pairs: u64,
    /// Samples of the hot and the frozen window.
    pub hot_samples: u64,
    /// Their bytes.
    pub hot_bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of all blocks on disk.
    pub block_bytes: u64,
    /// Samples in all blocks.
    pub block_samples: u64,
    /// Bytes of all tiers on disk.
    pub tier_bytes: u64,
    /// Bytes that wait for the log.
    pub wal_waiting: u64,
    /// Deletions that may still have samples in blocks.
    pub deletions: u64,
}

impl Engine {
    /// What the engine counts.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every source that sent samples since the start, by name.
    pub fn sources(&self) -> Vec<(String, Source)> {
        let mut all: Vec<_> =
            self.lock().sources.all().map(|(name, source)| (name.to_owned(), source.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Descriptions of metrics, and exemplars.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The clock's time: milliseconds since the epoch.
    pub fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Levels at this moment.
    pub fn levels(&self) -> Levels {
        let state = self.lock();
        let frozen = state.frozen.as_ref().map(|frozen| (frozen.hot.len(), frozen.hot.bytes()));
        let (frozen_samples, frozen_bytes) = frozen.unwrap_or_default();
        Levels {
            series: state.registry.live() as u64,
            label_pairs: state.registry.pairs_len() as u64,
            hot_samples: state.hot.len() + frozen_samples,
            hot_bytes: (state.hot.bytes() + frozen_bytes) as u64,
            blocks: state.blocks.len() as u64,
            block_bytes: state.blocks.iter().map(|block| block.file_bytes()).sum(),
            block_samples: state.blocks.iter().map(|block| block.samples()).sum(),
            tier_bytes: state.tiers.iter().map(|block| block.file_bytes()).sum(),
            wal_waiting: self.wal.waiting() as u64,
            deletions: state.deletions.all().len() as u64,
        }
    }

    /// Writes and syncs what is queued for the log; later writes are refused. What is in memory stays
    /// in the log and is read again at the next start.
    pub fn close(&self) {
        self.wal.close();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug that ends one request; the state is never left half changed
        // in a way that loses acknowledged samples, because those are in the log.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for its turn. A panic under such a lock is a bug that ends one piece of work; none leaves anything half done in memory.
fn hold(lock: &Mutex<()>) -> MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

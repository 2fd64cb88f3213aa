//! The three threads behind the receivers: parse, write, flush.
//!
//! Each ends when the one before it has ended and its ring is empty, so closing the first ring drains
//! them all. A sync that fails ends the process: nothing is known about the disk then, and a restart
//! replays what is really there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::Context;
use vakt_wire::heap;

use crate::append::Segment;
use crate::flush::{self, Retention};
use crate::gate::Held;
use crate::intake::{BATCH_BYTES, Batch, Entered, Intake, Parser};
use crate::ring::{Ring, Taken};
use crate::shelf::{Frame, Sealed, Shelf};
use crate::time;

/// What was appended is durable at the latest after this time: together with
/// [`crate::gate::IN_FLIGHT_BYTES_MAX`] it bounds what a power cut takes of unacknowledged messages.
pub const SYNC_WITHIN: Duration = Duration::from_millis(100);
/// Bytes of messages (as [`crate::gate`] counts them) after which the writer syncs without waiting for the time.
pub const SYNC_BYTES: usize = 512 << 10;
/// Bytes of encoded rows after which a generation is sealed and becomes blocks.
pub const HOT_BYTES_MAX: usize = 4 << 20;
/// Rows after which it is sealed.
pub const HOT_ROWS_MAX: usize = crate::block::ROWS_MAX;
/// Age after which it is sealed, so that a quiet box has one block an hour and not one a row.
pub const HOT_AGE_MAX: Duration = Duration::from_secs(3600);
/// Generations that may wait for the flusher; then the writer waits for it.
pub const SEALED_MAX: usize = 1;
/// How often retention is applied.
const RETENTION_EVERY: Duration = Duration::from_secs(60);
/// How long the flusher waits before it tries a full disk again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a stage sleeps at most before it looks at the clock.
const IDLE: Duration = Duration::from_secs(1);

/// Runs the parser until the intake's lanes are closed and empty, then closes `out`.
pub fn parse(intake: &Intake, parser: &Parser, out: &Ring<Batch>) {
    let mut turn: Vec<Entered> = Vec::new();
    loop {
        match intake.lanes.take_turn(&mut turn, IDLE) {
            Taken::Some => {}
            Taken::Nothing => continue,
            Taken::Closed => break,
        }
        let now_ns = time::now();
        let mut batch = Batch::default();
        for Entered { raw, held } in turn.drain(..) {
            batch.held.add_all(held);
            parser.parse(raw, now_ns, &mut batch, &intake.metrics);
            if batch.bytes.len() >= BATCH_BYTES {
                push(out, std::mem::take(&mut batch));
            }
        }
        if !batch.is_empty() {
            push(out, batch);
        }
    }
    out.close();
}

fn push(out: &Ring<Batch>, batch: Batch) {
    let rows = batch.rows.max(1);
    out.push_blocking(batch, rows);
}

/// Is it time to sync? Pure.
fn sync_due(somebody_waits: bool, bytes: usize, age: Option<Duration>) -> bool {
    somebody_waits || bytes >= SYNC_BYTES || age.is_some_and(|age| age >= SYNC_WITHIN)
}

/// Is the generation full? Pure.
fn seal_due(rows: usize, bytes: usize, age: Option<Duration>) -> bool {
    rows > 0 && (rows >= HOT_ROWS_MAX || bytes >= HOT_BYTES_MAX || age.is_some_and(|age| age >= HOT_AGE_MAX))
}

/// The writer: appends batches, syncs in groups, seals generations.
#[derive(Debug)]
pub struct Writer {
    /// Where rows are shown.
    pub shelf: Arc<Shelf>,
    /// For the gate.
    pub intake: Arc<Intake>,
    /// The directory of segments.
    pub append_dir: PathBuf,
    /// Takes sealed generations.
    pub flusher: SyncSender<Sealed>,
    /// Set when the disk refused rows; the flusher makes room.
    pub disk_full: Arc<AtomicBool>,
    /// The segment that is written.
    pub segment: Segment,
    pending: Pending,
    hot: Hot,
}

/// What is appended but not synced.
#[derive(Debug, Default)]
struct Pending {
    held: Held,
    frames: usize,
    since: Option<Instant>,
    barriers: Vec<tokio::sync::oneshot::Sender<()>>,
}

/// The generation that grows.
#[derive(Debug, Default)]
struct Hot {
    rows: usize,
    bytes: usize,
    since: Option<Instant>,
}

impl Writer {
    /// A writer that begins with `segment`.
    pub fn new(
        shelf: Arc<Shelf>,
        intake: Arc<Intake>,
        append_dir: PathBuf,
        flusher: SyncSender<Sealed>,
        disk_full: Arc<AtomicBool>,
        segment: Segment,
    ) -> Writer {
        let (pending, hot) = (Pending::default(), Hot::default());
        Writer { shelf, intake, append_dir, flusher, disk_full, segment, pending, hot }
    }

    /// Writes until the ring is closed and empty; then everything is durable.
    ///
    /// # Errors
    /// When a sync fails or no new segment can be made: the process must end.
    pub fn run(mut self, ring: &Ring<Batch>) -> anyhow::Result<()> {
        let mut batches = Vec::new();
        loop {
            let wait = match self.pending.since {
                Some(since) => SYNC_WITHIN.saturating_sub(since.elapsed()),
                None => IDLE,
            };
            let taken = ring.take(&mut batches, wait);
            for batch in batches.drain(..) {
                self.append(batch);
                // Within a long burst too, nothing waits beyond the bounds.
                if sync_due(false, self.pending.held.bytes(), self.pending.since.map(|since| since.elapsed()))
                {
                    self.sync()?;
                }
                if seal_due(self.hot.rows, self.hot.bytes, None) {
                    self.seal()?;
                }
            }
            let age = self.pending.since.map(|since| since.elapsed());
            if sync_due(!self.pending.barriers.is_empty(), self.pending.held.bytes(), age)
                || taken == Taken::Closed
            {
                self.sync()?;
            }
            if seal_due(self.hot.rows, self.hot.bytes, self.hot.since.map(|since| since.elapsed())) {
                self.seal()?;
            }
            if taken == Taken::Closed {
                return Ok(());
            }
        }
    }

    fn append(&mut self, batch: Batch) {
        let now = Instant::now();
        self.pending.held.add_all(batch.held);
        self.pending.barriers.extend(batch.barriers);
        self.pending.since.get_or_insert(now);
        if batch.rows == 0 {
            return;
        }
        let metrics = self.shelf.metrics();
        if let Err(error) = self.segment.append(&batch.bytes) {
            metrics.rows_failed.add(batch.rows as u64);
            batch.inserts.iter().for_each(|tally| tally.failed.store(true, Ordering::Release));
            if !self.disk_full.swap(true, Ordering::AcqRel) {
                tracing::error!(rows = batch.rows, %error, "the append log refuses rows; they are lost");
            }
            return;
        }
        metrics.rows_appended.add(batch.rows as u64);
        metrics.append_bytes.add(batch.bytes.len() as u64);
        self.pending.frames += 1;
        self.hot.rows += batch.rows;
        self.hot.bytes += batch.bytes.len();
        self.hot.since.get_or_insert(now);
        let mut bytes = batch.bytes;
        bytes.shrink_to_fit();
        self.shelf.add_hot(Frame { bytes, rows: batch.rows });
    }

    /// Makes what was appended durable and tells who waits.
    fn sync(&mut self) -> anyhow::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if pending.frames > 0 {
            let start = Instant::now();
            self.segment.sync().context("cannot sync the append log")?;
            let metrics = self.shelf.metrics();
            metrics.syncs.add(1);
            metrics.sync_us.add(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        for barrier in pending.barriers {
            // Who no longer waits has gone away.
            let _ = barrier.send(());
        }
        self.intake.gate.leave(pending.held);
        Ok(())
    }

    /// Begins a new segment and hands the full generation to the flusher.
    fn seal(&mut self) -> anyhow::Result<()> {
        self.sync()?;
        let full = self.segment.id();
        match Segment::create(&self.append_dir, full + 1) {
            Ok(segment) => self.segment = segment,
            Err(error) => {
                // The old segment still takes rows where there is room; the flusher makes some.
                self.disk_full.store(true, Ordering::Release);
                // The half-made file must not be in the way of the next attempt.
                let _ = std::fs::remove_file(self.append_dir.join(crate::append::file_name(full + 1)));
                tracing::error!(segment = full + 1, %error, "cannot begin a new segment");
                self.hot.since = Some(Instant::now());
                anyhow::ensure!(self.hot.bytes < 4 * HOT_BYTES_MAX, "no new segment can be made: {error}");
                return Ok(());
            }
        }
        self.hot = Hot::default();
        let sealed = self.shelf.seal(full);
        // The flusher lives as long as the writer; it ends when the writer's end is dropped.
        self.flusher.send(sealed).context("the flusher is gone")
    }
}

/// The flusher: turns sealed generations into blocks, applies retention, makes room on a full disk.
#[derive(Debug)]
pub struct Flusher {
    /// Where blocks are shown.
    pub shelf: Arc<Shelf>,
    /// The directory of segments.
    pub append_dir: PathBuf,
    /// What is kept.
    pub retention: Retention,
    /// Set by the writer.
    pub disk_full: Arc<AtomicBool>,
    /// Set when the service stops: a block that cannot be written then waits for the next start.
    pub stopping: Arc<AtomicBool>,
}

impl Flusher {
    /// Flushes until the writer is gone.
    pub fn run(&self, sealed: &Receiver<Sealed>) {
        let mut checked: Option<Instant> = None;
        loop {
            match sealed.recv_timeout(IDLE) {
                Ok(sealed) => {
                    self.flush(&sealed);
                    drop(sealed);
                    heap::trim();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.disk_full.swap(false, Ordering::AcqRel) {
                self.make_room();
            }
            if checked.is_none_or(|at| at.elapsed() >= RETENTION_EVERY) {
                flush::apply_retention(&self.shelf, self.retention, time::now());
                heap::trim();
                checked = Some(Instant::now());
            }
        }
    }

    fn flush(&self, sealed: &Sealed) {
        loop {
            let frames = sealed.frames.iter().map(Arc::as_ref);
            match flush::write_blocks(self.shelf.dir(), sealed.segment, frames, self.shelf.metrics()) {
                Ok(blocks) => {
                    self.shelf.replace(sealed.segment, &blocks);
                    if let Err(error) = flush::remove_segment(&self.append_dir, sealed.segment) {
                        // The next start sees that its blocks are there and removes it.
                        tracing::warn!(segment = sealed.segment, %error, "cannot remove a flushed segment");
                    }
                    return;
                }
                Err(error) => {
                    tracing::error!(segment = sealed.segment, %error, "cannot write blocks; trying again");
                    if self.stopping.load(Ordering::Acquire) {
                        return; // Its segment is durable and is replayed at the next start.
                    }
                    self.make_room();
                    std::thread::sleep(RETRY_AFTER);
                }
            }
        }
    }

    fn make_room(&self) {
        if flush::remove_oldest(&self.shelf) {
            tracing::warn!("the disk is full; the oldest block was removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_due_by_waiter_size_or_age() {
        assert!(!sync_due(false, 0, None));
        assert!(!sync_due(false, SYNC_BYTES - 1, Some(SYNC_WITHIN / 2)));
        assert!(sync_due(true, 0, None));
        assert!(sync_due(false, SYNC_BYTES, None));
        assert!(sync_due(false, 1, Some(SYNC_WITHIN)));
    }

    #[test]
    fn a_generation_is_sealed_when_full_or_old_but_never_empty() {
        assert!(!seal_due(0, 0, Some(HOT_AGE_MAX)));
        assert!(seal_due(1, 9, Some(HOT_AGE_MAX)));
        assert!(seal_due(HOT_ROWS_MAX, 9, None));
        assert!(seal_due(1, HOT_BYTES_MAX, None));
        assert!(!seal_due(1, 9, Some(HOT_AGE_MAX / 2)));
    }
}

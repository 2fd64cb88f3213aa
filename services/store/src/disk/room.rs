//! Room on the disk: how much of it is kept back, and who is told when there is less.
//!
//! Three amounts, of which the first is the [`Room::reserve`]:
//!
//! - Below the reserve the log does not grow: writers are told to come again. What is left is for blocks, by which the log
//!   becomes shorter.
//! - Below twice the reserve and as much as the log has now, memory is written to blocks: a block is never larger than the
//!   log of its samples, so it fits, and writers need not wait for it.
//! - Below four times the reserve, after that, the oldest blocks go.
//!
//! So a store on a disk that it fills itself goes on without a write that fails; one on a disk that others fill meets
//! refusals all the same, and is told of them by [`Disk::take_full`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Disk;

/// Memory is not written to blocks for less of a log than this part of the reserve: where somebody else has taken all
/// room, blocks would become ever smaller.
const LOG_PART: u64 = 4;

/// Reserves that are free beside the log's bytes when memory is written to blocks.
const FLUSH_AT: u64 = 2;

/// Reserves below which blocks go.
const DROP_AT: u64 = 4;

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// For everything.
    Enough,
    /// For the log, but memory should become blocks.
    Tight,
    /// For blocks alone.
    Short,
}

/// What `free` bytes are enough for, when the log has `log` bytes and is to have `more`. Pure.
fn judge(free: u64, reserve: u64, log: u64, more: u64) -> Verdict {
    let left = free.saturating_sub(more);
    if left < reserve {
        Verdict::Short
    } else if left < reserve.saturating_mul(FLUSH_AT).saturating_add(log) && log >= reserve / LOG_PART {
        Verdict::Tight
    } else {
        Verdict::Enough
    }
}

/// Wakes one thread; a ring that nobody waits for yet is heard by who waits next.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }

    /// Waits for a ring, but not for longer than this.
    pub fn wait(&self, within: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(rung, within, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// The room of one disk, as the log, the writers and the maintenance thread share it.
pub struct Room {
    disk: Arc<dyn Disk>,
    reserve: u64,
    short: AtomicBool,
    tight: AtomicBool,
    /// Rung when maintenance has something to do.
    pub bell: Bell,
}

impl Room {
    /// The room of `disk`, of which `reserve` bytes are kept back; with 0 nobody looks.
    pub fn new(disk: Arc<dyn Disk>, reserve: u64) -> Room {
        let (short, tight) = (AtomicBool::new(false), AtomicBool::new(false));
        Room { disk, reserve, short, tight, bell: Bell::default() }
    }

    /// Bytes that only blocks may use.
    pub fn reserve(&self) -> u64 {
        self.reserve
    }

    /// Whether a log of `log` bytes may have `more`; maintenance is woken when there is something to do for it.
    pub fn admits(&self, log: u64, more: u64) -> bool {
        if self.reserve == 0 {
            return true;
        }
        // Without an answer it is tried: the disk has the last word.
        let free = self.disk.free().unwrap_or(u64::MAX);
        let verdict = judge(free, self.reserve, log, more);
        let flag = match verdict {
            Verdict::Enough => return true,
            Verdict::Tight => &self.tight,
            Verdict::Short => &self.short,
        };
        if !flag.swap(true, Ordering::Relaxed) {
            self.bell.ring();
        }
        verdict == Verdict::Tight
    }

    /// Whether writers are to come again later. Costs no look at the disk.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Whether memory should become blocks, for lack of room.
    pub fn is_pressed(&self) -> bool {
        self.is_short() || self.tight.load(Ordering::Relaxed)
    }

    /// Bytes by which blocks must become fewer.
    pub fn missing(&self) -> u64 {
        let wanted = self.reserve.saturating_mul(DROP_AT);
        wanted.saturating_sub(self.disk.free().unwrap_or(u64::MAX))
    }

    /// Whether blocks of `bytes` may be written beside those that they are to replace.
    pub fn holds(&self, bytes: u64) -> bool {
        let wanted = self.reserve.saturating_mul(FLUSH_AT).saturating_add(bytes);
        self.reserve == 0 || self.disk.free().is_ok_and(|free| free >= wanted)
    }

    /// Lets writers in again when there is room for them. Call it when what can be done was done.
    pub fn look_again(&self) {
        self.tight.store(false, Ordering::Relaxed);
        let short = self.reserve > 0 && self.disk.free().is_ok_and(|free| free < self.reserve);
        self.short.store(short, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_grows_down_to_the_reserve_and_is_written_to_blocks_before() {
        let check = |free, log, more, expected| {
            assert_eq!(judge(free, 100, log, more), expected, "{free} free, {log} and {more}");
        };
        check(1000, 0, 10, Verdict::Enough);
        check(1000, 790, 10, Verdict::Enough);
        check(1000, 800, 10, Verdict::Tight);
        check(110, 500, 10, Verdict::Tight);
        check(109, 500, 10, Verdict::Short);
        check(0, 0, 0, Verdict::Short);
        // A log of next to nothing is no use.
        check(110, 24, 10, Verdict::Enough);
        check(110, 25, 10, Verdict::Tight);
        check(5, 0, u64::MAX, Verdict::Short);
    }

    #[test]
    fn a_ring_is_heard_by_who_waits_later_and_once() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        bell.wait(Duration::from_secs(3600));
        bell.wait(Duration::from_millis(1));
    }
}

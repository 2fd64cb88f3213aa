//! Bounded queues between the stages receive, parse and write.
//!
//! A ring is bounded by slots, the whole intake by bytes ([`Gate`]): together they bound what a kill
//! can lose. Who can wait (TCP, HTTP) waits for room; who cannot (UDP) is told that there is none.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Slots of each ring: one a message between receive and parse, one a row between parse and write.
pub const SLOTS_MAX: usize = 65_536;

/// Bytes of messages that are received but not yet durable, over both rings and the unsynced end of
/// the append log. This is the size that a kill can lose, and less than 64 Ki short messages.
pub const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

/// The share of [`IN_FLIGHT_BYTES_MAX`] for senders that can wait, so that a bulk insert does not
/// make UDP lose messages.
pub const PATIENT_BYTES_MAX: usize = 3 << 20;

/// A queue of items that weigh one slot or more. Any number of producers, one consumer thread.
#[derive(Debug)]
pub struct Ring<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    emptied: Condvar,
    room: Notify,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    slots: usize,
    closed: bool,
}

/// What [`Ring::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// At least one item.
    Some,
    /// Nothing within the time.
    Nothing,
    /// Nothing, and nothing will come any more.
    Closed,
}

impl<T> Default for Ring<T> {
    fn default() -> Ring<T> {
        let state = State { items: VecDeque::new(), slots: 0, closed: false };
        Ring {
            state: Mutex::new(state),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            room: Notify::new(),
        }
    }
}

impl<T> Ring<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while holding the lock, so a poisoned one holds a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item that takes `slots` slots, or gives it back when there is no room or the ring is
    /// closed. An empty ring takes an item of any weight.
    ///
    /// # Errors
    /// The item.
    pub fn try_push(&self, item: T, slots: usize) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || (state.slots + slots > SLOTS_MAX && !state.items.is_empty()) {
            return Err(item);
        }
        state.slots += slots;
        state.items.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Adds an item as soon as there is room; blocks the thread. The item is lost when the ring is
    /// closed, which its consumer does never while a producer lives.
    pub fn push_blocking(&self, item: T, slots: usize) {
        let mut state = self.lock();
        while state.slots + slots > SLOTS_MAX && !state.items.is_empty() && !state.closed {
            state = self.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.slots += slots;
        state.items.push_back(item);
        drop(state);
        self.filled.notify_one();
    }

    /// Moves all items to the end of `into`, waiting at most `within` for the first.
    pub fn take(&self, into: &mut Vec<T>, within: Duration) -> Taken {
        let (mut state, _) = self
            .filled
            .wait_timeout_while(self.lock(), within, |state| state.items.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if state.items.is_empty() {
            return if state.closed { Taken::Closed } else { Taken::Nothing };
        }
        into.extend(state.items.drain(..));
        // A burst must not pin its memory for good.
        state.items.shrink_to(1024);
        state.slots = 0;
        drop(state);
        self.emptied.notify_all();
        self.room.notify_waiters();
        Taken::Some
    }

    /// No more items are taken; what is in the ring still comes out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    /// Fires when the consumer has made room. Create it before trying, await it after a refusal.
    pub fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    /// Slots that are taken now.
    pub fn slots(&self) -> usize {
        self.lock().slots
    }
}

/// Counts the bytes that were received and are not yet durable.
#[derive(Debug, Default)]
pub struct Gate {
    bytes: AtomicUsize,
    left: Notify,
}

impl Gate {
    /// Lets `bytes` in if no more than `bytes_max` are inside then. A message larger than that goes
    /// in alone.
    pub fn try_enter(&self, bytes: usize, bytes_max: usize) -> bool {
        let inside = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let fits = inside == 0 || inside + bytes <= bytes_max;
        if !fits {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        fits
    }

    /// Waits until `bytes` are let in.
    pub async fn enter(&self, bytes: usize, bytes_max: usize) {
        loop {
            let left = self.left.notified();
            let mut left = std::pin::pin!(left);
            left.as_mut().enable();
            if self.try_enter(bytes, bytes_max) {
                return;
            }
            left.await;
        }
    }

    /// `bytes` are durable, or were given up.
    pub fn leave(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.left.notify_waiters();
    }

    /// Bytes inside now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_gives_the_item_back() {
        let ring = Ring::default();
        assert_eq!(ring.try_push('a', SLOTS_MAX), Ok(()));
        assert_eq!(ring.try_push('b', 1), Err('b'));
        let mut out = Vec::new();
        assert_eq!(ring.take(&mut out, Duration::ZERO), Taken::Some);
        assert_eq!((out.as_slice(), ring.slots()), (['a'].as_slice(), 0));
        assert_eq!(ring.take(&mut out, Duration::ZERO), Taken::Nothing);
    }

    #[test]
    fn a_closed_ring_is_emptied_and_takes_no_more() {
        let ring = Ring::default();
        ring.try_push(1, 1).unwrap();
        ring.close();
        assert_eq!(ring.try_push(2, 1), Err(2));
        let mut out = Vec::new();
        assert_eq!(ring.take(&mut out, Duration::MAX), Taken::Some);
        assert_eq!(ring.take(&mut out, Duration::MAX), Taken::Closed);
    }

    #[test]
    fn the_gate_bounds_bytes_and_lets_one_giant_pass_alone() {
        let gate = Gate::default();
        assert!(gate.try_enter(10, 5));
        assert!(!gate.try_enter(1, 5));
        gate.leave(10);
        assert!(gate.try_enter(5, 5));
        assert_eq!(gate.bytes(), 5);
    }
}

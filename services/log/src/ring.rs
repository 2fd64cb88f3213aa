//! The bounded queue between parser and writer, in rows.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Rows in the ring. It is short because whatever is in it stands before the next insert; the place to wait
/// is the lanes, where inserts overtake. Four of the parser's turns keep the writer busy.
pub const ROWS_MAX: usize = 4096;

/// A queue of items that weigh one row or more. One producer thread, one consumer thread.
#[derive(Debug)]
pub struct Ring<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    rows: usize,
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
        let state = State { items: VecDeque::new(), rows: 0, closed: false };
        Ring { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new() }
    }
}

impl<T> Ring<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while holding the lock, so a poisoned one holds a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item of `rows` as soon as there is room; blocks the thread. An empty ring takes an item of
    /// any weight. After [`Ring::close`] the item is dropped: nobody would take it.
    pub fn push_blocking(&self, item: T, rows: usize) {
        let mut state = self
            .emptied
            .wait_while(self.lock(), |state| {
                state.rows + rows > ROWS_MAX && !state.items.is_empty() && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return;
        }
        state.rows += rows;
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
        state.rows = 0;
        drop(state);
        self.emptied.notify_all();
        Taken::Some
    }

    /// No more items are taken; what is in the ring still comes out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    /// Rows in it now.
    pub fn rows(&self) -> usize {
        self.lock().rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_holds_its_producer_until_it_is_taken() {
        let ring = Ring::default();
        ring.push_blocking('a', ROWS_MAX * 2);
        std::thread::scope(|scope| {
            scope.spawn(|| ring.push_blocking('b', 1));
            let (mut first, mut second) = (Vec::new(), Vec::new());
            assert_eq!(ring.take(&mut first, Duration::MAX), Taken::Some);
            assert_eq!(ring.take(&mut second, Duration::MAX), Taken::Some);
            assert_eq!((first, second), (vec!['a'], vec!['b']));
        });
        assert_eq!(ring.take(&mut Vec::new(), Duration::ZERO), Taken::Nothing);
    }

    #[test]
    fn a_closed_ring_is_emptied_and_takes_no_more() {
        let ring = Ring::default();
        ring.push_blocking(1, 1);
        ring.close();
        ring.push_blocking(2, 1);
        let mut out = Vec::new();
        assert_eq!(ring.take(&mut out, Duration::MAX), Taken::Some);
        assert_eq!(ring.take(&mut out, Duration::MAX), Taken::Closed);
        assert_eq!((out.as_slice(), ring.rows()), ([1].as_slice(), 0));
    }
}

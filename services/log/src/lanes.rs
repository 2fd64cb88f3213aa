//! Two lanes into the parser: HTTP inserts in one, syslog and kernel records in the other.
//!
//! The parser takes turns: at each one, up to [`TURN_COST_MAX`] from either lane, inserts first. So what
//! syslog has standing in its lane is never in an insert's way. From its lane to the disk an insert has
//! before it one turn in the parser's hands and twice [`crate::ring::ROWS_MAX`] rows, in the ring and in the
//! writer's hands: 9,216 rows of syslog at most, whatever is sent. Its barrier goes the same way after it.
//!
//! The lanes have no bound of their own: [`crate::gate`] bounds what is in them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ring::Taken;

/// Cost (see [`crate::gate`]) that a turn takes from each lane: 1,024 short messages, some milliseconds of
/// the parser's time. One message more, when it does not fit any more.
pub const TURN_COST_MAX: usize = 64 << 10;

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// HTTP inserts: somebody waits for each.
    Insert,
    /// Everything else.
    Flow,
}

/// The lanes. Any number of producers, one consumer thread.
#[derive(Debug)]
pub struct Lanes<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<T> {
    insert: VecDeque<(T, usize)>,
    flow: VecDeque<(T, usize)>,
    closed: bool,
}

impl<T> State<T> {
    fn is_empty(&self) -> bool {
        self.insert.is_empty() && self.flow.is_empty()
    }
}

impl<T> Default for Lanes<T> {
    fn default() -> Lanes<T> {
        let state = State { insert: VecDeque::new(), flow: VecDeque::new(), closed: false };
        Lanes { state: Mutex::new(state), filled: Condvar::new() }
    }
}

impl<T> Lanes<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while holding the lock, so a poisoned one holds a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an item at the end of a lane, or gives it back when the lanes are closed.
    ///
    /// # Errors
    /// The item.
    pub fn push(&self, lane: Lane, item: T, cost: usize) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        let was_empty = state.is_empty();
        match lane {
            Lane::Insert => state.insert.push_back((item, cost)),
            Lane::Flow => state.flow.push_back((item, cost)),
        }
        drop(state);
        // The consumer sleeps only when both are empty: one wake-up a burst, not one a message.
        if was_empty {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Moves a turn's items to the end of `into`, inserts first, waiting at most `within` for the first.
    pub fn take_turn(&self, into: &mut Vec<T>, within: Duration) -> Taken {
        let (mut state, _) = self
            .filled
            .wait_timeout_while(self.lock(), within, |state| state.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if state.is_empty() {
            return if state.closed { Taken::Closed } else { Taken::Nothing };
        }
        take(&mut state.insert, into);
        take(&mut state.flow, into);
        Taken::Some
    }

    /// No more items are taken; what is in the lanes still comes out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Items in both lanes.
    pub fn items(&self) -> usize {
        let state = self.lock();
        state.insert.len() + state.flow.len()
    }
}

fn take<T>(lane: &mut VecDeque<(T, usize)>, into: &mut Vec<T>) {
    let mut cost_taken = 0;
    while cost_taken < TURN_COST_MAX
        && let Some((item, cost)) = lane.pop_front()
    {
        cost_taken += cost;
        into.push(item);
    }
    if lane.is_empty() {
        // A burst must not pin its memory for good.
        lane.shrink_to(1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_is_taken_at_the_next_turn_however_long_the_other_lane_is() {
        let lanes = Lanes::default();
        for n in 0..5000 {
            lanes.push(Lane::Flow, n, 64).unwrap();
        }
        let mut out = Vec::new();
        assert_eq!(lanes.take_turn(&mut out, Duration::ZERO), Taken::Some);
        assert_eq!(out.len(), 1024);
        lanes.push(Lane::Insert, -1, 64).unwrap();
        out.clear();
        lanes.take_turn(&mut out, Duration::ZERO);
        assert_eq!((out.len(), out[0], out[1]), (1025, -1, 1024));
    }

    #[test]
    fn inserts_do_not_keep_syslog_from_its_turn() {
        let lanes = Lanes::default();
        for _ in 0..5000 {
            lanes.push(Lane::Insert, 'i', 64).unwrap();
        }
        lanes.push(Lane::Flow, 'f', 64).unwrap();
        let mut out = Vec::new();
        lanes.take_turn(&mut out, Duration::ZERO);
        assert_eq!((out.len(), out.last()), (1025, Some(&'f')));
    }

    #[test]
    fn a_giant_is_taken_alone() {
        let lanes = Lanes::default();
        lanes.push(Lane::Flow, 'g', TURN_COST_MAX * 3).unwrap();
        lanes.push(Lane::Flow, 'x', 1).unwrap();
        let mut out = Vec::new();
        lanes.take_turn(&mut out, Duration::ZERO);
        assert_eq!(out, ['g']);
    }

    #[test]
    fn closed_lanes_are_emptied_and_take_no_more() {
        let lanes = Lanes::default();
        lanes.push(Lane::Flow, 1, 1).unwrap();
        lanes.close();
        assert_eq!(lanes.push(Lane::Insert, 2, 1), Err(2));
        let mut out = Vec::new();
        assert_eq!(lanes.take_turn(&mut out, Duration::MAX), Taken::Some);
        assert_eq!(lanes.take_turn(&mut out, Duration::MAX), Taken::Closed);
    }
}

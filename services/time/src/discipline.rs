//! What is to be done with the clock for an offset. Nothing is done here.

use vakt_wire::clock::EARLIEST_S;

/// At the start an offset of this much is set at once; programs that began a moment ago have measured little.
const STEP_AT_START_S: f64 = 0.128;

/// Later the clock is only steered, unless it is off by more than this: the kernel's loop takes at most half a
/// second, and would need hours.
const STEP_LATER_S: f64 = 0.4;

/// Later a step needs this many offsets in a row, so that one storm on the way moves no clock.
const IN_A_ROW: u32 = 3;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Set the clock by this many seconds at once.
    Step(f64),
    /// Have the kernel steer it by this many seconds.
    Steer(f64),
    /// Wait for more.
    Wait,
    /// The servers agree on a time that cannot be.
    Refuse,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Discipline {
    settled: bool,
    far_in_a_row: u32,
}

impl Discipline {
    /// Whether the clock was ever brought to the servers' time.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// What to do for an offset at the wall clock's `now_s`.
    pub fn decide(&mut self, now_s: i64, offset_s: f64) -> Action {
        if (now_s as f64 + offset_s) < EARLIEST_S as f64 {
            return Action::Refuse;
        }
        let bound_s = if self.settled { STEP_LATER_S } else { STEP_AT_START_S };
        if offset_s.abs() < bound_s {
            (self.settled, self.far_in_a_row) = (true, 0);
            return Action::Steer(offset_s);
        }
        self.far_in_a_row += 1;
        if self.settled && self.far_in_a_row < IN_A_ROW {
            return Action::Wait;
        }
        (self.settled, self.far_in_a_row) = (true, 0);
        Action::Step(offset_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_start_a_clock_that_is_off_is_set_and_later_it_is_steered() {
        let now = EARLIEST_S + 1000;
        let mut clock = Discipline::default();
        assert_eq!(clock.decide(now, 1_800_000.0), Action::Step(1_800_000.0));
        assert_eq!(clock.decide(now, 0.3), Action::Steer(0.3));
        let mut near = Discipline::default();
        assert_eq!(near.decide(now, -0.1), Action::Steer(-0.1));
        assert_eq!(near.decide(now, 0.2), Action::Steer(0.2));
    }

    #[test]
    fn later_a_step_needs_three_in_a_row() {
        let now = EARLIEST_S + 1000;
        let mut clock = Discipline::default();
        clock.decide(now, 0.0);
        assert_eq!(clock.decide(now, 2.0), Action::Wait);
        assert_eq!(clock.decide(now, 2.0), Action::Wait);
        assert_eq!(clock.decide(now, 0.0), Action::Steer(0.0));
        for _ in 0..2 {
            assert_eq!(clock.decide(now, -2.0), Action::Wait);
        }
        assert_eq!(clock.decide(now, -2.0), Action::Step(-2.0));
    }

    #[test]
    fn no_server_sets_the_clock_before_this_release() {
        let mut clock = Discipline::default();
        assert_eq!(clock.decide(EARLIEST_S + 10, -11.0), Action::Refuse);
        assert!(!clock.is_settled());
    }
}

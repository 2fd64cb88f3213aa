//! The two clocks: one for people and evidence, one that never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::Instant as TokioInstant;

use crate::engine::Moment;

/// What [`Clock::now`] is at the start, so that the past two hours (the guards look back one) have a moment.
const START: Moment = 2 * 3_600_000;

/// Both clocks of one process. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts the monotonic clock.
    pub fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    /// Now, by the clock that never goes back.
    pub fn now(self) -> Moment {
        START + self.started.elapsed().as_millis() as u64
    }

    /// Now in milliseconds since 1970, by the machine's clock; 0 when that is before 1970.
    pub fn wall_ms(self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    /// The moment of a time in the past; the oldest that there is when it is long ago, now when it lies in
    /// the future (the machine's clock was put back).
    pub fn moment_of(self, wall_ms: u64) -> Moment {
        self.now().saturating_sub(self.wall_ms().saturating_sub(wall_ms))
    }

    /// A moment in milliseconds since 1970.
    pub fn wall_of(self, moment: Moment) -> u64 {
        (self.wall_ms() + moment).saturating_sub(self.now())
    }

    /// When to wake for a moment.
    pub fn deadline(self, moment: Moment) -> TokioInstant {
        TokioInstant::now() + Duration::from_millis(moment.saturating_sub(self.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_and_the_future_have_moments() {
        let clock = Clock::start();
        let (now, wall) = (clock.now(), clock.wall_ms());
        assert!(clock.moment_of(wall - 3_600_000).abs_diff(now - 3_600_000) < 1_000);
        assert!(clock.moment_of(wall + 3_600_000).abs_diff(now) < 1_000);
        assert!(clock.wall_of(now + 5_000).abs_diff(wall + 5_000) < 1_000);
        assert_eq!(clock.moment_of(0), 0);
    }
}

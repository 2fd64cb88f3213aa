//! When not to act: rate limit, cooldown, back-off.

use std::collections::VecDeque;

use super::Moment;
use crate::policy::Guards;

const HOUR_MS: u64 = 3_600_000;

/// Longest wait after failures. A unit that cannot be repaired is still tried once in this time, within the
/// rate limit: what broke it may have been mended.
pub const BACKOFF_MAX_MS: u64 = HOUR_MS;

/// What the guards remember of one policy on one machine: the calls of the last hour (at most 60, the largest
/// `max_per_hour`), and the failures since the last success.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    called: VecDeque<Moment>,
    failures: u32,
}

/// A guard says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which, in words.
    pub reason: String,
    /// When it may say yes.
    pub until: Moment,
}

impl Guard {
    /// One that remembers these calls, oldest first.
    pub fn new(called: impl IntoIterator<Item = Moment>) -> Guard {
        let mut guard = Guard::default();
        called.into_iter().for_each(|at| guard.called(at));
        guard
    }

    /// May the verb be sent now?
    ///
    /// # Errors
    /// The guard that says no, and when to ask again.
    pub fn permits(&self, guards: &Guards, now: Moment) -> Result<(), Refusal> {
        let max = guards.max_per_hour as usize;
        let recent: Vec<_> = self.called.iter().filter(|at| now.saturating_sub(**at) < HOUR_MS).collect();
        if recent.len() >= max {
            // The next call is due when only `max - 1` of these are left in the hour.
            let until = recent[recent.len() - max] + HOUR_MS;
            return Err(Refusal { reason: format!("rate limit: {max} an hour are used up"), until });
        }
        let until = self.called.back().map_or(0, |last| last + self.wait_ms(guards));
        if now < until {
            return Err(Refusal {
                reason: format!("cooldown of {} after the last action", guards.cooldown),
                until,
            });
        }
        Ok(())
    }

    /// The verb is sent.
    pub fn called(&mut self, now: Moment) {
        while self.called.front().is_some_and(|at| now.saturating_sub(*at) >= HOUR_MS) {
            self.called.pop_front();
        }
        self.called.push_back(now);
    }

    /// Calls in the hour before `now`.
    pub fn last_hour(&self, now: Moment) -> usize {
        self.called.iter().filter(|at| now.saturating_sub(**at) < HOUR_MS).count()
    }

    /// It did not help. Returns when it may be tried again.
    pub fn failed(&mut self, guards: &Guards, now: Moment) -> Moment {
        self.failures = self.failures.saturating_add(1);
        now + self.wait_ms(guards)
    }

    /// It helped.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// The cooldown, doubled for each failure after the first.
    fn wait_ms(&self, guards: &Guards) -> u64 {
        let cooldown = guards.cooldown.millis();
        let doublings = self.failures.saturating_sub(1).min(20);
        cooldown.saturating_mul(1 << doublings).min(BACKOFF_MAX_MS.max(cooldown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Span;

    fn check(called_s: &[u64], failures: u32, now_s: u64, expected: Result<(), u64>) {
        let guards = Guards { max_per_hour: 3, cooldown: Span::seconds(10) };
        let mut guard = Guard::new(called_s.iter().map(|s| s * 1_000));
        guard.failures = failures;
        let said = guard.permits(&guards, now_s * 1_000).map_err(|refusal| refusal.until / 1_000);
        assert_eq!(said, expected, "called at {called_s:?}, {failures} failures, now {now_s}");
    }

    #[test]
    fn three_an_hour_and_never_two_within_the_cooldown() {
        check(&[], 0, 0, Ok(()));
        check(&[100], 0, 109, Err(110));
        check(&[100], 0, 110, Ok(()));
        check(&[100, 200, 300], 0, 400, Err(3_700));
        check(&[100, 200, 300], 0, 3_699, Err(3_700));
        check(&[100, 200, 300], 0, 3_700, Ok(()));
        check(&[100, 200, 300, 400], 0, 500, Err(3_800));
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_an_hour() {
        check(&[100], 1, 109, Err(110));
        check(&[100], 2, 110, Err(120));
        check(&[100], 3, 110, Err(140));
        check(&[100], 30, 110, Err(3_700));
    }
}

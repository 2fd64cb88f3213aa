//! What is done when memory gets short, before the kernel kills somebody: a pure policy.
//!
//! The kernel says when the services have stood still for want of memory (pressure stall information). Each time,
//! one step is taken, the mildest first:
//!
//! 1. memory is taken back from the service that is furthest over its share, a few times;
//! 2. the largest service that is not critical is restarted in order, seldom;
//! 3. nothing: what is critical is bounded by its own cgroup, and the kernel's last word is its memory.max.

use std::collections::VecDeque;

/// Two steps are at least this far apart: the kernel tells once a second, and a step must have time to show.
const STEP_EVERY_MS: u64 = 2_000;

/// Without pressure for this long, the next one begins at the mildest step again.
const CALM_MS: u64 = 30_000;

/// Times that memory is taken back before somebody is restarted.
const RECLAIMS_MAX: u32 = 3;

/// Taken back at once, in bytes. PID 1 does it itself: this much takes milliseconds.
const RECLAIM_BYTES_MAX: u64 = 8 << 20;

/// Two restarts are at least this far apart, whoever it is.
const RESTART_EVERY_MS: u64 = 60_000;

/// Restarts in an hour. Past that the box is too small for its work, and restarts make that worse.
const RESTARTS_PER_HOUR_MAX: usize = 6;

const HOUR_MS: u64 = 3_600_000;

/// A service with less is not worth a restart.
const WORTH_BYTES: u64 = 8 << 20;

/// A service as the policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// Bytes in use.
    pub current: u64,
    /// The bound of its cgroup in bytes. Half of it is its share: what it may keep when memory is short.
    pub max: u64,
    /// It is never restarted for memory.
    pub critical: bool,
    /// It has a process that can be asked to end.
    pub is_running: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relief {
    /// Take this much back from this service.
    Reclaim(String, u64),
    /// Restart this service in order.
    Restart(String),
}

/// What was done so far.
#[derive(Clone, Debug, Default)]
pub struct Pressure {
    /// The last time that the kernel told of pressure.
    felt_ms: Option<u64>,
    /// The last step.
    stepped_ms: Option<u64>,
    /// Reclaims since it was calm.
    reclaims: u32,
    /// When services were restarted, of the last hour.
    restarts: VecDeque<u64>,
}

impl Pressure {
    /// The kernel tells of pressure: what is to be done, if anything.
    pub fn felt(&mut self, now_ms: u64, loads: &[Load]) -> Option<Relief> {
        if self.felt_ms.is_none_or(|last| now_ms >= last + CALM_MS) {
            self.reclaims = 0;
        }
        self.felt_ms = Some(now_ms);
        if self.stepped_ms.is_some_and(|last| now_ms < last + STEP_EVERY_MS) {
            return None;
        }
        let relief = self.reclaim(loads).or_else(|| self.restart(now_ms, loads))?;
        self.stepped_ms = Some(now_ms);
        Some(relief)
    }

    fn reclaim(&mut self, loads: &[Load]) -> Option<Relief> {
        let over = |load: &Load| load.current.saturating_sub(load.max / 2);
        let furthest = loads.iter().max_by_key(|load| over(load)).filter(|load| over(load) > 0)?;
        if self.reclaims == RECLAIMS_MAX {
            return None;
        }
        self.reclaims += 1;
        Some(Relief::Reclaim(furthest.name.clone(), over(furthest).min(RECLAIM_BYTES_MAX)))
    }

    fn restart(&mut self, now_ms: u64, loads: &[Load]) -> Option<Relief> {
        while self.restarts.front().is_some_and(|at| now_ms >= at + HOUR_MS) {
            self.restarts.pop_front();
        }
        let too_soon = self.restarts.back().is_some_and(|at| now_ms < at + RESTART_EVERY_MS);
        if too_soon || self.restarts.len() >= RESTARTS_PER_HOUR_MAX {
            return None;
        }
        let may = |load: &&Load| load.is_running && !load.critical && load.current >= WORTH_BYTES;
        let largest = loads.iter().filter(may).max_by_key(|load| load.current)?;
        self.restarts.push_back(now_ms);
        Some(Relief::Restart(largest.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn load(name: &str, current_mib: u64, max_mib: u64) -> Load {
        let critical = matches!(name, "store" | "log" | "web");
        Load { name: name.into(), current: current_mib * MIB, max: max_mib * MIB, critical, is_running: true }
    }

    /// What is done at each of `times`.
    fn steps(pressure: &mut Pressure, times: &[u64], loads: &[Load]) -> Vec<String> {
        let one = |now_ms: &u64| match pressure.felt(*now_ms, loads) {
            Some(Relief::Reclaim(name, bytes)) => format!("reclaim {} of {name}", bytes / MIB),
            Some(Relief::Restart(name)) => format!("restart {name}"),
            None => "-".into(),
        };
        times.iter().map(one).collect()
    }

    #[test]
    fn memory_is_taken_back_before_anybody_is_restarted() {
        let loads = [load("store", 90, 160), load("collector", 40, 96), load("repair", 20, 64)];
        let said = steps(&mut Pressure::default(), &[0, 1_000, 2_000, 4_000, 6_000, 8_000], &loads);
        let expected = ["reclaim 8 of store", "-", "reclaim 8 of store", "reclaim 8 of store"];
        assert_eq!(said, [&expected[..], &["restart collector", "-"]].concat());
    }

    #[test]
    fn no_more_is_taken_than_what_is_over_the_share() {
        let said = steps(&mut Pressure::default(), &[0], &[load("store", 83, 160), load("log", 65, 128)]);
        assert_eq!(said, ["reclaim 3 of store"]);
    }

    #[test]
    fn a_calm_while_begins_at_the_mildest_step_again() {
        let loads = [load("store", 100, 160), load("collector", 40, 96)];
        let mut pressure = Pressure::default();
        steps(&mut pressure, &[0, 2_000, 4_000], &loads);
        assert_eq!(steps(&mut pressure, &[4_000 + CALM_MS], &loads), ["reclaim 8 of store"]);
        let lasting: Vec<u64> = (1..=3).map(|n| 4_000 + CALM_MS + n * (CALM_MS - 1)).collect();
        let expected = ["reclaim 8 of store", "reclaim 8 of store", "restart collector"];
        assert_eq!(steps(&mut pressure, &lasting, &loads), expected);
    }

    #[test]
    fn restarts_are_a_minute_apart_and_six_an_hour_at_most() {
        let loads = [load("collector", 40, 96)];
        let mut pressure = Pressure::default();
        let times: Vec<u64> = (0..3_600_000 / 2_000).map(|n| n * 2_000).collect();
        let said = steps(&mut pressure, &times, &loads);
        let restarts: Vec<u64> = said
            .iter()
            .zip(&times)
            .filter(|(said, _)| *said == "restart collector")
            .map(|(_, at)| *at)
            .collect();
        assert_eq!(restarts, [0, 60_000, 120_000, 180_000, 240_000, 300_000]);
        assert_eq!(steps(&mut pressure, &[HOUR_MS], &loads), ["restart collector"]);
    }

    #[test]
    fn the_critical_the_small_and_those_without_a_process_are_left_alone() {
        let away = Load { is_running: false, ..load("collector", 40, 96) };
        let loads = [load("store", 80, 160), load("web", 60, 128), load("repair", 7, 64), away];
        assert_eq!(steps(&mut Pressure::default(), &[0, 2_000], &loads), ["-", "-"]);
        assert_eq!(steps(&mut Pressure::default(), &[0], &[]), ["-"]);
    }
}

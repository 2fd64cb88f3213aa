//! When groups are evaluated: one thread, and a pure rule for the next time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::{Group, Place, Rules, evaluate};

/// Longest sleep: a clock that is set is noticed after this.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The thread that evaluates rules.
pub struct Schedule {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Schedule {
    /// Starts evaluating.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(place: Place, rules: Arc<Rules>) -> std::io::Result<Schedule> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let bell = stop.clone();
        let thread =
            std::thread::Builder::new().name("rules".into()).spawn(move || run(&place, &rules, &bell))?;
        Ok(Schedule { stop, thread })
    }

    /// Ends after the rule that is being evaluated.
    pub fn stop(self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        // A panic of the thread was logged by its hook.
        let _ = self.thread.join();
    }
}

fn run(place: &Place, rules: &Rules, stop: &(Mutex<bool>, Condvar)) {
    // By file and name.
    let mut last: HashMap<(String, String), i64> = HashMap::new();
    loop {
        for mut gone in rules.take_over() {
            evaluate::end(place, &mut gone, place.engine.now());
        }
        let groups: Vec<Arc<Group>> = rules.lock().iter().map(|state| state.group.clone()).collect();
        last.retain(|(file, name), _| groups.iter().any(|group| group.file == *file && group.name == *name));
        let mut wait = SLEEP_MAX;
        for (index, group) in groups.iter().enumerate() {
            let (key, now) = ((group.file.clone(), group.name.clone()), place.engine.now());
            match due(group, last.get(&key).copied(), now) {
                Due::Now { slot, missed } => {
                    last.insert(key, slot);
                    evaluate_group(place, rules, index, slot, missed, stop);
                    wait = Duration::ZERO;
                }
                Due::In(ms) => wait = wait.min(Duration::from_millis(ms)),
            }
        }
        let stopping = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopping, _) =
            stop.1.wait_timeout_while(stopping, wait, |stop| !*stop).unwrap_or_else(PoisonError::into_inner);
        if *stopping {
            return;
        }
    }
}

/// Whether a group is to be evaluated.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// At this time, in milliseconds since the epoch, after so many that were missed.
    Now { slot: i64, missed: u64 },
    /// In so many milliseconds.
    In(u64),
}

/// A group's evaluations are multiples of its interval, shifted by a part of it that depends on its name, so that groups
/// do not all come at once. What was missed is skipped; a clock that went back begins anew.
fn due(group: &Group, last: Option<i64>, now: i64) -> Due {
    let interval = group.interval_ms;
    let shift = group
        .file
        .bytes()
        .chain(group.name.bytes())
        .fold(0u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        % interval.unsigned_abs();
    let slot = (now - shift as i64).div_euclid(interval) * interval + shift as i64;
    match last {
        // The first evaluation waits for its time, as the ones before a restart did.
        None => Due::Now { slot, missed: 0 },
        Some(last) if slot > last => Due::Now { slot, missed: ((slot - last) / interval - 1) as u64 },
        Some(last) if last - slot > interval => Due::Now { slot, missed: 0 },
        Some(_) => Due::In((slot + interval - now).unsigned_abs()),
    }
}

fn evaluate_group(
    place: &Place,
    rules: &Rules,
    index: usize,
    slot: i64,
    missed: u64,
    stop: &(Mutex<bool>, Condvar),
) {
    let began = Instant::now();
    let group = rules.lock()[index].group.clone();
    for (number, rule) in group.rules.iter().enumerate() {
        if *stop.0.lock().unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        // Evaluated outside of the lock; nobody else changes a rule's state.
        let mut state = rules.lock()[index].rules[number].clone();
        evaluate::rule(place, &group, rule, &mut state, slot);
        rules.lock()[index].rules[number] = state;
    }
    let state = &mut rules.lock()[index];
    (state.evaluated_at, state.took_s) = (slot, began.elapsed().as_secs_f64());
    state.missed += missed;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_keep_their_times_whatever_the_clock_does() {
        let group = Group {
            file: String::new(),
            name: String::new(),
            interval_ms: 1_000,
            offset_ms: 0,
            limit: 0,
            rules: Vec::new(),
        };
        let check = |last, now, expected| assert_eq!(due(&group, last, now), expected);
        check(None, 5_300, Due::Now { slot: 5_000, missed: 0 });
        check(Some(5_000), 5_300, Due::In(700));
        check(Some(5_000), 6_000, Due::Now { slot: 6_000, missed: 0 });
        check(Some(5_000), 9_999, Due::Now { slot: 9_000, missed: 3 });
        check(Some(9_000), 8_400, Due::In(600));
        check(Some(90_000), 8_400, Due::Now { slot: 8_000, missed: 0 });
    }
}

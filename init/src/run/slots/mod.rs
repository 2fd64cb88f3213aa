//! The slots as PID 1's loop holds them: what is known, what was decided, what is under way.
//!
//! Each turn collects what a child did to the ESP, asks [`assess`] what is to be done, and sends the next
//! child. Nothing here waits.

mod api;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::machine::console::Console;
use crate::slots::assess::{Decision, Health, State, View, Which, Why, assess, may_feed};
use crate::slots::entry::{Entry, Slot};
use crate::slots::errand::{Errands, Outcome};
use crate::slots::esp::{Listed, Verb};
use crate::slots::evidence::Evidence;
use crate::slots::history::{History, Rollback};
use crate::slots::watchdog::Watchdog;

/// After a change of the ESP failed, the next try is this much later.
const RETRY_AFTER_MS: u64 = 30_000;

/// Failures in a row after which nothing more is tried until the next boot.
const FAILURES_MAX: u32 = 5;

/// The watchdog is fed this often while the loop turns more often.
const FEED_EVERY_MS: u64 = 1000;

/// Where the slots are.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The slot that runs; `None` where there are no slots.
    pub running: Option<Slot>,
    /// The boot partition, or a file in its place.
    pub esp: Option<PathBuf>,
    /// The other slot's partition, or a file in its place.
    pub inactive: Option<PathBuf>,
}

/// What stage 2 found.
#[derive(Debug)]
pub struct Found {
    /// Where the slots are.
    pub place: Place,
    /// The version that runs.
    pub version: String,
    /// The history, begun for this boot.
    pub history: History,
    /// Where it is kept.
    pub history_at: PathBuf,
    /// How the last boot ended.
    pub evidence: Evidence,
    /// The watchdog.
    pub watchdog: Watchdog,
    /// When a slot on trial must be well.
    pub gate_until_ms: u64,
}

/// The last UKI that was staged, in `GET /v1/slots`.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Staging {
    slot: Slot,
    version: String,
    done: bool,
    error: Option<String>,
}

/// All about the slots.
#[derive(Debug)]
pub struct Slots {
    found: Found,
    errands: Option<Errands>,
    /// What is on the ESP; `None` until it was looked at.
    entries: Option<Vec<(Entry, u64)>>,
    staging: Option<Staging>,
    /// The last failure on the ESP.
    error: Option<String>,
    failures: u32,
    retry_at_ms: u64,
    leaving: bool,
    fed_at_ms: u64,
}

impl Slots {
    /// Nothing is known of the ESP yet; the first turn sends a child to tidy it and look.
    pub fn new(found: Found) -> Slots {
        let errands = found.place.esp.as_deref().map(Errands::new);
        Slots {
            found,
            errands,
            entries: None,
            staging: None,
            error: None,
            failures: 0,
            retry_at_ms: 0,
            leaving: false,
            fed_at_ms: 0,
        }
    }

    /// The other slot's partition, for the service that writes it.
    pub fn inactive(&self) -> Option<&PathBuf> {
        self.found.place.inactive.as_ref()
    }

    /// Why the slot that runs does, for pages.
    pub fn why(&self) -> String {
        match self.running() {
            None => String::new(),
            Some(State::Counted { left }) => format!("on trial, with {left} more tries"),
            Some(State::Empty) => "without an entry on the boot partition".into(),
            Some(_) => match self.other() {
                State::Counted { left: 0 } => "blessed; the other slot was left".into(),
                State::Counted { left } => format!("blessed; the other slot boots next, with {left} tries"),
                State::Empty | State::Blessed => "blessed".into(),
            },
        }
    }

    /// The last slot that was left.
    pub fn last_rollback(&self) -> Option<&Rollback> {
        self.found.history.last_rollback.as_ref()
    }

    /// Goes on, with the services as they are (`ill` says what is wrong). True when the machine is to
    /// reboot into the other slot.
    pub fn turn(&mut self, now_ms: u64, health: Health, ill: &str, console: &mut Console) -> bool {
        self.feed(now_ms, health);
        let outcome = self.errands.as_mut().and_then(|errands| errands.turn(now_ms));
        if let Some(outcome) = outcome {
            self.done(now_ms, outcome, console);
        }
        let busy = self.errands.as_ref().is_none_or(Errands::are_busy);
        if busy || now_ms < self.retry_at_ms || self.failures >= FAILURES_MAX {
            return self.leaving && !busy;
        }
        if self.leaving {
            return true;
        }
        match self.view(health) {
            Some(view) => self.carry_out(assess(&view, now_ms), ill, console),
            None => self.look(),
        }
        false
    }

    /// While the machine goes down only the watchdog is fed: a hang on the way is its to end.
    pub fn wait_for_the_end(&mut self, now_ms: u64) {
        self.feed(now_ms, Health::Ill);
    }

    /// A child that is no service has ended.
    pub fn ended(&mut self, now_ms: u64, pid: i32, ended: crate::sys::Ended, console: &mut Console) {
        let outcome = self.errands.as_mut().and_then(|errands| errands.ended(pid, ended));
        if let Some(outcome) = outcome {
            self.done(now_ms, outcome, console);
        }
    }

    /// The machine goes down in order: writes that down and disarms the watchdog.
    pub fn end_in_order(&mut self) {
        if let Some(boot) = &mut self.found.history.boot {
            boot.orderly = true;
        }
        // There is nobody left to tell.
        let _ = self.found.history.save(&self.found.history_at);
        self.found.watchdog.disarm();
    }

    fn feed(&mut self, now_ms: u64, health: Health) {
        let may = self.view(health).is_none_or(|view| may_feed(&view, now_ms));
        if may && now_ms >= self.fed_at_ms + FEED_EVERY_MS {
            self.found.watchdog.feed();
            self.fed_at_ms = now_ms;
        }
    }

    fn look(&mut self) {
        if let Some(running) = self.found.place.running {
            self.send(Verb::Tidy(running, self.found.version.clone()));
        }
    }

    fn done(&mut self, now_ms: u64, outcome: Outcome, console: &mut Console) {
        let failed = outcome.result.as_ref().err().cloned();
        if let Verb::Stage(slot, staged) = &outcome.verb {
            self.staging = Some(Staging {
                slot: *slot,
                version: staged.version.clone(),
                done: failed.is_none(),
                error: failed.clone(),
            });
            if failed.is_none() {
                self.found.history.renew(*slot, &staged.version);
            }
        }
        match outcome.result {
            Ok(listed) => {
                let first = self.entries.is_none();
                self.take_entries(&listed);
                (self.error, self.failures, self.retry_at_ms) = (None, 0, 0);
                self.say(&outcome.verb, first, console);
            }
            Err(reason) => {
                console.line(&format!("vakt: boot partition: {reason}"));
                self.error = Some(reason);
                // What was asked for from outside is for the caller to try again.
                if !matches!(outcome.verb, Verb::Stage(..) | Verb::Clear(_)) {
                    self.failures += 1;
                    self.retry_at_ms = now_ms + RETRY_AFTER_MS;
                }
            }
        }
    }

    fn take_entries(&mut self, listed: &[Listed]) {
        let entries: Vec<(Entry, u64)> =
            listed.iter().filter_map(|one| Some((Entry::parse(&one.name)?, one.bytes))).collect();
        let seen =
            entries.iter().map(|(entry, _)| (entry.slot, entry.version.as_str(), entry.tries.is_none()));
        self.found.history.see(seen);
        self.entries = Some(entries);
        self.save();
    }

    fn say(&self, verb: &Verb, first: bool, console: &mut Console) {
        let Some(running) = self.found.place.running else { return };
        if first || matches!(verb, Verb::Bless(_) | Verb::GiveBack(_)) {
            console.line(&format!("vakt: slot {running} {} runs: {}", self.found.version, self.why()));
        }
        if let (true, Some(rollback)) = (first, self.last_rollback()) {
            console.line(&rollback_line(rollback));
        }
    }

    fn carry_out(&mut self, decision: Decision, ill: &str, console: &mut Console) {
        let Some(running) = self.found.place.running else { return };
        match decision {
            Decision::Wait { .. } => {}
            Decision::Close => self.found.history.previous = None,
            Decision::GiveBack(which) => {
                let slot = if which == Which::Running { running } else { running.other() };
                if let Some(version) = self.entry(slot).map(|(entry, _)| entry.version.clone()) {
                    // Counted first: a cut in between costs a try and never gives one too many.
                    self.found.history.count_give_back(slot, &version);
                    self.found.history.previous = None;
                    self.save();
                    console.line(&format!("vakt: slot {slot} {version} gets the try of its last boot back"));
                    self.send(Verb::GiveBack(slot));
                }
            }
            Decision::Tell => self.tell(running.other(), console),
            Decision::Bless => self.send(Verb::Bless(running)),
            Decision::Leave(why) => {
                let reason = match why {
                    Why::NotWell => format!("not well in time: {ill}"),
                    Why::WasUnhealthy => self.reason_of_last_boot(),
                };
                console.line(&format!("vakt: slot {running} {} is left: {reason}", self.found.version));
                self.found.history.mark_unhealthy(&reason);
                self.save();
                self.leaving = true;
                self.send(Verb::Condemn(running));
            }
        }
    }

    fn tell(&mut self, slot: Slot, console: &mut Console) {
        let Some(version) = self.entry(slot).map(|(entry, _)| entry.version.clone()) else { return };
        let reason = self.found.history.reason_for(slot, &version, &self.found.evidence);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let rollback = Rollback { slot, version, reason, at };
        console.line(&rollback_line(&rollback));
        self.found.history.tell(rollback);
        self.save();
    }

    fn reason_of_last_boot(&self) -> String {
        let last = self.found.history.previous.as_ref().and_then(|ended| ended.boot.unhealthy.clone());
        last.unwrap_or_else(|| "its last boot was unhealthy".into())
    }

    fn send(&mut self, verb: Verb) {
        // Only sent while nothing waits, so there is room.
        let _ = self.errands.as_mut().map(|errands| errands.add(verb));
    }

    fn save(&mut self) {
        if let Err(error) = self.found.history.save(&self.found.history_at) {
            self.error = Some(format!("{error:#}"));
        }
    }

    fn entry(&self, slot: Slot) -> Option<&(Entry, u64)> {
        self.entries.as_ref()?.iter().find(|(entry, _)| entry.slot == slot)
    }

    fn state(&self, slot: Slot) -> State {
        match self.entry(slot) {
            None => State::Empty,
            Some((Entry { tries: None, .. }, _)) => State::Blessed,
            Some((Entry { tries: Some(tries), .. }, _)) => State::Counted { left: tries.left },
        }
    }

    fn running(&self) -> Option<State> {
        self.entries.as_ref()?;
        self.found.place.running.map(|slot| self.state(slot))
    }

    fn other(&self) -> State {
        self.found.place.running.map_or(State::Empty, |slot| self.state(slot.other()))
    }

    fn view(&self, health: Health) -> Option<View> {
        let slot = self.found.place.running?;
        let running = self.running()?;
        let history = &self.found.history;
        let is_there = |slot: Slot, version: &str| {
            self.entry(slot).is_some_and(|(entry, _)| entry.slot == slot && entry.version == version)
        };
        let previous =
            history.previous.as_ref().filter(|ended| is_there(ended.boot.slot, &ended.boot.version));
        let other = self.entry(slot.other());
        Some(View {
            running,
            other: self.other(),
            previous: previous.map(|ended| {
                (if ended.boot.slot == slot { Which::Running } else { Which::Other }, ended.end)
            }),
            give_backs: previous
                .map_or(0, |ended| history.give_backs_of(ended.boot.slot, &ended.boot.version)),
            health,
            gate_until_ms: self.found.gate_until_ms,
            is_told: other.is_some_and(|(entry, _)| history.is_told(entry.slot, &entry.version)),
        })
    }
}

fn rollback_line(rollback: &Rollback) -> String {
    format!("vakt: last rollback: slot {} {}: {}", rollback.slot, rollback.version, rollback.reason)
}

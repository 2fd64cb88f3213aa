//! What is remembered from boot to boot: `/state/init/slots.json`, written whole and synced.
//!
//! A boot that reaches stage 2 writes itself down at once. What it leaves, or does not leave, tells the next
//! one how it ended ([`History::begin`]); no field is trusted to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::assess::End;
use super::entry::Slot;
use super::evidence::Evidence;
use crate::machine::identity;

/// Largest file that is read.
const BYTES_MAX: u64 = 64 << 10;

/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 300;

/// Watchdog resets of a blessed slot in an hour, after which the watchdog is not armed: a PID 1 that hangs
/// each time would else reset the box for ever, and its pages would never be seen.
pub const RESETS_MAX: usize = 3;

/// The hour.
const RESETS_WITHIN_S: u64 = 3600;

/// The file's contents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The newest boot that reached stage 2.
    pub boot: Option<Boot>,
    /// The one before it, until it is judged.
    pub previous: Option<Ended>,
    /// Tries given back, by `slot version`. Only what is on the ESP is kept.
    pub give_backs: BTreeMap<String, u32>,
    /// The last slot that was left, and why.
    pub last_rollback: Option<Rollback>,
    /// What was found blessed (`slot version`): a boot that hangs before it has read the boot partition is one
    /// of a blessed slot all the same.
    pub blessed: BTreeSet<String>,
    /// The version in a slot (`slot version`) whose rollback was told of.
    pub told: Option<String>,
    /// When the watchdog reset a blessed slot, in seconds since the epoch; the newest three.
    pub watchdog_resets: Vec<u64>,
}

/// A boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// The kernel's boot id.
    pub id: String,
    /// The slot that ran.
    pub slot: Slot,
    /// The version that ran.
    pub version: String,
    /// Whether the slot was blessed by then.
    pub blessed: bool,
    /// Whether it ended in order.
    pub orderly: bool,
    /// Why it was found unhealthy.
    pub unhealthy: Option<String>,
}

/// A boot that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The boot.
    pub boot: Boot,
    /// How it ended.
    pub end: End,
}

/// A slot that was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The slot.
    pub slot: Slot,
    /// Its version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// When that was found, in seconds since the epoch.
    pub at: u64,
}

impl History {
    /// Reads the file. One that is absent or makes no sense is an empty history, which gives no try back
    /// and rolls nothing back.
    pub fn load(path: &Path) -> History {
        let small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= BYTES_MAX);
        let text = if small { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written; the old one is whole then.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        identity::write_whole(path, &serde_json::to_vec_pretty(self)?)
    }

    /// A boot reaches stage 2: the one before becomes `previous`, with its end as the evidence tells.
    /// Does not write to the disk.
    pub fn begin(&mut self, mut boot: Boot, evidence: &Evidence, now_s: u64) {
        if let Some(before) = self.boot.take() {
            let end = end_of(&before, evidence);
            if end == End::Watchdog && before.blessed {
                self.watchdog_resets.push(now_s);
            }
            self.previous = Some(Ended { boot: before, end });
        }
        // A clock that was set back must not keep a reset for ever.
        self.watchdog_resets.retain(|at| *at <= now_s && now_s - at < RESETS_WITHIN_S);
        let surplus = self.watchdog_resets.len().saturating_sub(RESETS_MAX);
        self.watchdog_resets.drain(..surplus);
        boot.blessed |= self.blessed.contains(&key(boot.slot, &boot.version));
        self.boot = Some(boot);
    }

    /// Whether the watchdog has reset a blessed slot so often that it is better not armed.
    pub fn is_reset_too_often(&self) -> bool {
        self.watchdog_resets.len() >= RESETS_MAX
    }

    /// Marks the boot that runs as unhealthy; the first reason stays. Does not write to the disk.
    pub fn mark_unhealthy(&mut self, reason: &str) {
        if let Some(boot) = &mut self.boot
            && boot.unhealthy.is_none()
        {
            boot.unhealthy = Some(reason.chars().take(REASON_CHARS_MAX).collect());
        }
    }

    /// Tries given back to a version in a slot.
    pub fn give_backs_of(&self, slot: Slot, version: &str) -> u32 {
        self.give_backs.get(&key(slot, version)).copied().unwrap_or(0)
    }

    /// Counts a try given back. Does not write to the disk.
    pub fn count_give_back(&mut self, slot: Slot, version: &str) {
        *self.give_backs.entry(key(slot, version)).or_default() += 1;
    }

    /// Keeps why the version in `slot` was left. Does not write to the disk.
    pub fn tell(&mut self, rollback: Rollback) {
        self.told = Some(key(rollback.slot, &rollback.version));
        self.last_rollback = Some(rollback);
    }

    /// Whether it was told why the version in `slot` was left.
    pub fn is_told(&self, slot: Slot, version: &str) -> bool {
        self.told.as_deref() == Some(key(slot, version).as_str())
    }

    /// A version is in a slot anew: it has all its chances. Does not write to the disk.
    pub fn renew(&mut self, slot: Slot, version: &str) {
        let key = key(slot, version);
        self.give_backs.remove(&key);
        self.told.take_if(|told| *told == key);
        self.blessed.remove(&key);
    }

    /// What is on the boot partition now: slot, version and whether it is blessed. What is remembered of
    /// others is forgotten. Does not write to the disk.
    pub fn see<'a>(&mut self, present: impl Iterator<Item = (Slot, &'a str, bool)>) {
        let present: BTreeMap<String, bool> =
            present.map(|(slot, version, blessed)| (key(slot, version), blessed)).collect();
        self.give_backs.retain(|key, _| present.contains_key(key));
        self.blessed = present.into_iter().filter_map(|(key, blessed)| blessed.then_some(key)).collect();
        if let Some(boot) = &mut self.boot {
            boot.blessed = self.blessed.contains(&key(boot.slot, &boot.version));
        }
    }

    /// Why the version in `slot` used up its tries, as far as anything tells.
    pub fn reason_for(&self, slot: Slot, version: &str, evidence: &Evidence) -> String {
        let of_it =
            self.previous.as_ref().filter(|ended| ended.boot.slot == slot && ended.boot.version == version);
        let marked = of_it.and_then(|ended| ended.boot.unhealthy.clone());
        let panicked = evidence.panic.as_ref().map(|line| format!("kernel panic: {line}"));
        let reset = evidence.watchdog.then(|| "the hardware watchdog ended it: its PID 1 hung".to_owned());
        let text = marked.or(panicked).or(reset);
        text.unwrap_or_else(|| "all its tries were used up before it was blessed".to_owned())
            .chars()
            .take(REASON_CHARS_MAX)
            .collect()
    }
}

/// What a boot wrote about itself comes first; what was found later may be of one after it that never
/// reached stage 2.
fn end_of(boot: &Boot, evidence: &Evidence) -> End {
    match boot {
        Boot { unhealthy: Some(_), .. } => End::Unhealthy,
        Boot { orderly: true, .. } => End::Orderly,
        _ if evidence.panic.is_some() => End::Panic,
        _ if evidence.watchdog => End::Watchdog,
        _ => End::Cut,
    }
}

fn key(slot: Slot, version: &str) -> String {
    format!("{slot} {version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str, blessed: bool) -> Boot {
        Boot { id: id.into(), slot: Slot::B, version: "2".into(), blessed, orderly: false, unhealthy: None }
    }

    fn evidence(panic: bool, watchdog: bool) -> Evidence {
        Evidence { panic: panic.then(|| "Attempted to kill init!".into()), watchdog, ..Evidence::default() }
    }

    fn check(last: Boot, evidence: &Evidence, end: End, reason: &str) {
        let mut history = History { boot: Some(last), ..History::default() };
        history.begin(boot("next", false), evidence, 1000);
        assert_eq!(history.previous.as_ref().unwrap().end, end);
        let said = history.reason_for(Slot::B, "2", evidence);
        assert!(said.contains(reason), "{said}");
    }

    #[test]
    fn how_a_boot_ended_is_told_by_what_it_left() {
        check(boot("1", false), &evidence(false, false), End::Cut, "used up");
        check(boot("1", false), &evidence(false, true), End::Watchdog, "watchdog");
        check(boot("1", false), &evidence(true, true), End::Panic, "kernel panic: Attempted to kill init!");
        check(Boot { orderly: true, ..boot("1", false) }, &evidence(false, false), End::Orderly, "used up");
        let ill = Boot { orderly: true, unhealthy: Some("store is not ready".into()), ..boot("1", false) };
        check(ill, &evidence(true, true), End::Unhealthy, "store is not ready");
    }

    #[test]
    fn three_watchdog_resets_of_a_blessed_slot_within_an_hour_are_enough() {
        let mut history = History { boot: Some(boot("x", true)), ..History::default() };
        let reset = evidence(false, true);
        for (number, now_s) in [(0, 0), (1, 100)] {
            assert_eq!(history.watchdog_resets.len(), number);
            history.begin(boot("x", true), &reset, now_s);
            assert!(!history.is_reset_too_often());
        }
        history.begin(boot("x", true), &reset, 200);
        assert!(history.is_reset_too_often());
        history.begin(boot("x", true), &evidence(false, false), 3700);
        assert!(!history.is_reset_too_often(), "an hour later it is armed again");
        history.begin(boot("x", false), &reset, 3800);
        let before = history.watchdog_resets.len();
        history.begin(boot("x", false), &reset, 3900);
        assert_eq!(history.watchdog_resets.len(), before, "a slot on trial has its tries instead");
    }

    #[test]
    fn a_blessed_slot_is_known_before_the_boot_partition_is_read() {
        let mut history = History { boot: Some(boot("1", false)), ..History::default() };
        history.see([(Slot::B, "2", true), (Slot::A, "1", false)].into_iter());
        assert!(history.boot.as_ref().unwrap().blessed);
        for number in 1..=RESETS_MAX {
            // It hangs each time before it sees anything.
            history.begin(boot("2", false), &evidence(false, true), 100);
            assert_eq!(history.watchdog_resets.len(), number);
        }
        assert!(history.is_reset_too_often());
        history.renew(Slot::B, "2");
        history.begin(boot("3", false), &evidence(false, false), 100);
        assert!(!history.boot.unwrap().blessed, "staged anew, it is on trial");
    }

    #[test]
    fn it_is_kept_and_a_broken_file_is_an_empty_history() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slots.json");
        assert_eq!(History::load(&path), History::default());
        let mut history = History { boot: Some(boot("1", false)), ..History::default() };
        history.mark_unhealthy("first");
        history.mark_unhealthy("second");
        history.count_give_back(Slot::B, "2");
        history.count_give_back(Slot::A, "1");
        history.see([(Slot::B, "2", false)].into_iter());
        history.save(&path).unwrap();
        let read = History::load(&path);
        assert_eq!(read, history);
        assert_eq!(read.boot.unwrap().unhealthy.as_deref(), Some("first"));
        assert_eq!((read.give_backs.len(), history.give_backs_of(Slot::B, "2")), (1, 1));
        fs::write(&path, b"{\"boot\": 7").unwrap();
        assert_eq!(History::load(&path), History::default());
    }
}

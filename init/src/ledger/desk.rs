//! The ledger at work: it is written first, then the machine is brought to what it says.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use sha2::{Digest, Sha256};
use vakt_wire::config::{self, ConfigError, MachineConfig};
use vakt_wire::role::Role;

use super::{CONFIRM_S_DEFAULT, Ledger, Refusal, Wish, file};
use crate::machine::config::{Places, complete_keys, write_slices};

/// An undo that did not work is tried again after this: soon for who is locked out, and no flood of lines.
const UNDO_AGAIN_MS: u64 = 10_000;
/// The ledger's file in init's own state.
pub const LEDGER: &str = "ledger.json";

/// What an applied change does to the machine.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// Whose slice is another; these are restarted.
    pub restart: Vec<Role>,
    /// A line for the console and the log.
    pub line: String,
}

/// What a change would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Services that would be restarted.
    pub restarts: Vec<&'static str>,
    /// Whether it can cut the operator off, so that it has to be confirmed.
    pub needs_confirmation: bool,
}

/// Why a request ended without effect.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The document is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The ledger does not grant it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be written down, so nothing was done.
    #[error("{0:#}")]
    Disk(anyhow::Error),
}

/// The ledger with its file and the slices.
#[derive(Debug)]
pub struct Desk {
    places: Places,
    file: PathBuf,
    ledger: Ledger,
    config: MachineConfig,
    public_keys: Vec<(&'static str, String)>,
    /// When the trial is over, on the boot clock.
    trial_ends_ms: Option<u64>,
    /// What was wrong at boot and was lived with.
    refused: Option<String>,
}

impl Desk {
    /// Opens the ledger at boot and writes the slices. `offered` is a document from a disk with its
    /// origin. A wrong one is refused and what was settled stays in force.
    ///
    /// # Errors
    /// When the state directory cannot be written.
    pub fn open(
        places: Places,
        offered: Option<(String, String)>,
        now_ms: u64,
        at_s: i64,
    ) -> anyhow::Result<Desk> {
        let file = places.state.join(LEDGER);
        let (mut ledger, mut refused) = file::load(&file, at_s)?;
        let mut changed = ledger.boot();
        if let Some((source, text)) = offered {
            match config::parse(&text) {
                Ok(_) => {
                    let digest = Sha256::digest(text.as_bytes());
                    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    changed |= ledger.offer(Wish { text, by: source, at_s, ..Wish::default() }, digest);
                }
                Err(error) => {
                    refused = Some(format!("{source}: {error}; the previous config stays in force"));
                }
            }
        }
        let config = match config::parse(&ledger.in_force().text) {
            Ok(config) => config,
            Err(error) => {
                // A build that reads less than the one before: nothing of it can be used.
                let number = ledger.in_force().number;
                refused =
                    Some(format!("revision {number}: {error}; the newest one that can be read is in force"));
                changed |= ledger.undo("this build cannot read it");
                newest_readable(&ledger)
            }
        };
        if changed || !file.exists() {
            file::save(&file, &ledger)?;
        }
        let mut desk =
            Desk { places, file, ledger, config, public_keys: Vec::new(), trial_ends_ms: None, refused };
        desk.start_trial(now_ms);
        desk.carry_out()?;
        Ok(desk)
    }

    /// The config in force, with the keys that the box made.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where the ledger lies.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Public SSH keys that the box made, by purpose.
    pub fn public_keys(&self) -> &[(&'static str, String)] {
        &self.public_keys
    }

    /// Why an offered or stored document is not in force.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The version of the document in force, when an older Vakt's: it is read as today's says.
    pub fn read_from_version(&self) -> Option<u32> {
        config::version(&self.ledger.in_force().text).ok().filter(|version| *version < config::VERSION)
    }

    /// Seconds until the trial is over.
    pub fn trial_left_s(&self, now_ms: u64) -> Option<u64> {
        self.trial_ends_ms.map(|end| end.saturating_sub(now_ms).div_ceil(1000))
    }

    /// When [`Desk::turn`] has something to do.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.trial_ends_ms
    }

    /// What a document would do.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn forecast(&self, text: &str) -> Result<Forecast, ConfigError> {
        let mut next = config::parse(text)?;
        // Keys that the box makes are the same ones again.
        for (slot, present) in [
            (&mut next.ssh.read_key, &self.config.ssh.read_key),
            (&mut next.ssh.repair_key, &self.config.ssh.repair_key),
        ] {
            if slot.is_none() {
                slot.clone_from(present);
            }
        }
        let restarts = Role::ALL
            .into_iter()
            .filter(|role| *role != Role::Init && self.config.slice_for(*role) != next.slice_for(*role))
            .map(Role::name)
            .collect();
        let present = &self.config;
        let needs_confirmation = present.network != next.network
            || present.tls != next.tls
            || present.admin != next.admin
            || present.tokens != next.tokens;
        Ok(Forecast { restarts, needs_confirmation })
    }

    /// Applies a document. One that can cut the operator off gets a trial also when none was wished.
    /// Returns the revision, or `None` when the document is in force already.
    ///
    /// # Errors
    /// [`Problem`]; nothing has changed then.
    pub fn apply(&mut self, mut wish: Wish, now_ms: u64) -> Result<Option<(u64, Effect)>, Problem> {
        let forecast = self.forecast(&wish.text)?;
        if forecast.needs_confirmation && wish.confirm_within_s.is_none() {
            wish.confirm_within_s = Some(CONFIRM_S_DEFAULT);
        }
        let by = wish.by.clone();
        let mut next = self.ledger.clone();
        let Some(number) = next.apply(wish)? else { return Ok(None) };
        let effect = self.commit(next, now_ms)?;
        let line = match self.ledger.pending() {
            Some(pending) if pending.on_trial => {
                format!("config revision {number} by {by} on trial for {} s", pending.confirm_within_s)
            }
            Some(_) => format!("config revision {number} by {by} comes into force at the next boot"),
            None => format!("config revision {number} by {by} is in force"),
        };
        Ok(Some((number, Effect { line, ..effect })))
    }

    /// Settles what is on trial.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn confirm(&mut self, number: u64, by: &str, now_ms: u64) -> Result<Effect, Problem> {
        let mut next = self.ledger.clone();
        next.confirm(number)?;
        let effect = self.commit(next, now_ms)?;
        Ok(Effect { line: format!("config revision {number} confirmed by {by}"), ..effect })
    }

    /// Undoes what waits.
    ///
    /// # Errors
    /// [`Problem`], also when nothing waits.
    pub fn take_back(&mut self, by: &str, now_ms: u64) -> Result<Effect, Problem> {
        let number = self.ledger.pending().map_or(0, |pending| pending.revision.number);
        let mut next = self.ledger.clone();
        if !next.undo(&format!("taken back by {by}")) {
            return Err(Refusal::NotPending(number).into());
        }
        let effect = self.commit(next, now_ms)?;
        Ok(Effect { line: format!("config revision {number} taken back by {by}"), ..effect })
    }

    /// Undoes a trial whose time is over, also when the disk takes no writes: the operator may be locked
    /// out, and the file still calls it a trial, which the next boot undoes. Slices that cannot be written
    /// are tried again after [`UNDO_AGAIN_MS`].
    pub fn turn(&mut self, now_ms: u64) -> Option<Effect> {
        self.trial_ends_ms.filter(|end| now_ms >= *end)?;
        let pending = self.ledger.pending()?;
        let (number, seconds) = (pending.revision.number, pending.confirm_within_s);
        let trial = self.ledger.clone();
        let mut next = trial.clone();
        next.undo(&format!("not confirmed within {seconds} s"));
        let written = file::save(&self.file, &next);
        let restart = match self.bring_to(next, now_ms) {
            Ok(restart) => restart,
            Err(error) => {
                self.ledger = trial;
                self.trial_ends_ms = Some(now_ms + UNDO_AGAIN_MS);
                let line = format!("cannot undo config revision {number}: {error:#}");
                return Some(Effect { line, ..Effect::default() });
            }
        };
        let mut line = format!("config revision {number} was not confirmed within {seconds} s and is undone");
        if let Err(error) = written {
            line += &format!(", which is not written down: {error:#}");
        }
        Some(Effect { restart, line })
    }

    /// Writes the next ledger, then brings the machine to it. When the machine does not follow, both are
    /// put back.
    fn commit(&mut self, next: Ledger, now_ms: u64) -> Result<Effect, Problem> {
        file::save(&self.file, &next).map_err(Problem::Disk)?;
        let (ledger, config) = (self.ledger.clone(), self.config.clone());
        let trial_ends_ms = self.trial_ends_ms;
        match self.bring_to(next, now_ms) {
            Ok(restart) => Ok(Effect { restart, line: String::new() }),
            Err(error) => {
                (self.ledger, self.config, self.trial_ends_ms) = (ledger, config, trial_ends_ms);
                let back = file::save(&self.file, &self.ledger).and_then(|()| self.carry_out());
                Err(Problem::Disk(match back {
                    Ok(_) => error,
                    Err(worse) => error.context(format!("{worse:#}, and the config before was not put back")),
                }))
            }
        }
    }

    fn bring_to(&mut self, next: Ledger, now_ms: u64) -> anyhow::Result<Vec<Role>> {
        self.config = config::parse(&next.in_force().text).unwrap_or_else(|_| newest_readable(&next));
        self.ledger = next;
        self.start_trial(now_ms);
        let restart = self.carry_out()?;
        self.refused = None;
        Ok(restart)
    }

    fn start_trial(&mut self, now_ms: u64) {
        let pending = self.ledger.pending().filter(|pending| pending.on_trial);
        self.trial_ends_ms = pending.map(|pending| now_ms + u64::from(pending.confirm_within_s) * 1000);
    }

    fn carry_out(&mut self) -> anyhow::Result<Vec<Role>> {
        self.public_keys = complete_keys(&self.places, &mut self.config)?;
        write_slices(&self.places, &self.config).context("cannot write the config slices")
    }
}

fn newest_readable(ledger: &Ledger) -> MachineConfig {
    let readable = ledger.revisions().iter().rev().filter(|revision| revision.undone.is_none());
    readable.filter_map(|revision| config::parse(&revision.text).ok()).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Effective;

    fn desk(directory: &std::path::Path, offered: Option<&str>) -> Desk {
        let places = Places { state: directory.into(), slices: directory.join("slices") };
        Desk::open(places, offered.map(|text| ("disk".into(), text.into())), 0, 0).unwrap()
    }

    fn wish(text: &str) -> Wish {
        Wish { text: text.into(), by: "admin".into(), effective: Effective::Now, ..Wish::default() }
    }

    #[test]
    fn a_wrong_offer_is_refused_and_the_previous_config_stays_in_force() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(desk(directory.path(), None).config().hostname.as_str(), "vakt");
        let good = desk(directory.path(), Some("version = 1\nhostname = \"guard\""));
        assert_eq!((good.config().hostname.as_str(), good.refused()), ("guard", None));
        let bad = desk(directory.path(), Some("version = 1\nhostnam = \"other\""));
        assert_eq!(bad.config().hostname.as_str(), "guard");
        let refused = bad.refused().unwrap();
        assert!(refused.starts_with("disk: line 2, column 1: hostnam: unknown field"), "{refused}");
        assert!(refused.ends_with("the previous config stays in force"));
        assert_eq!(desk(directory.path(), None).config().hostname.as_str(), "guard");
    }

    #[test]
    fn a_change_of_the_network_is_on_trial_and_is_undone_when_nobody_confirms() {
        let directory = tempfile::tempdir().unwrap();
        let mut desk = desk(directory.path(), None);
        let text = "version = 1\n[[network.interface]]\nname = \"eth0\"\naddress = [\"192.0.2.9/24\"]\n";
        let forecast = desk.forecast(text).unwrap();
        assert_eq!(forecast, Forecast { restarts: vec!["network"], needs_confirmation: true });
        let (number, effect) = desk.apply(wish(text), 1000).unwrap().unwrap();
        assert_eq!((number, effect.restart), (2, vec![Role::Network]));
        assert_eq!(desk.trial_left_s(1000), Some(300));
        assert!(desk.turn(300_999).is_none());
        let undone = desk.turn(301_000).unwrap();
        assert_eq!(undone.restart, [Role::Network]);
        assert!(undone.line.contains("not confirmed within 300 s"), "{}", undone.line);
        assert!(desk.config().network.interfaces.is_empty());
    }

    #[test]
    fn a_change_that_cuts_nobody_off_is_settled_and_restarts_only_whom_it_concerns() {
        let directory = tempfile::tempdir().unwrap();
        let mut desk = desk(directory.path(), None);
        let (_, effect) = desk.apply(wish("version = 1\n[scrape]\ninterval_s = 7\n"), 0).unwrap().unwrap();
        assert_eq!(effect.restart, [Role::Collector, Role::Probe]);
        assert!(desk.ledger().pending().is_none());
        let wrong = desk.apply(wish("version = 1\n[scrape]\ninterval_s = 99\n"), 0);
        assert!(matches!(wrong, Err(Problem::Config(_))));
        assert!(matches!(desk.take_back("admin", 0), Err(Problem::Refused(_))));
        assert_eq!(desk.config().scrape.interval.get(), 7);
    }

    #[test]
    fn a_trial_that_is_confirmed_stays_after_a_boot_and_one_that_is_not_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let trial = |text: &str| Wish { confirm_within_s: Some(60), ..wish(text) };
        let mut first = desk(directory.path(), None);
        first.apply(trial("version = 1\nhostname = \"one\"\n"), 0).unwrap();
        first.confirm(2, "admin", 0).unwrap();
        first.apply(trial("version = 1\nhostname = \"two\"\n"), 0).unwrap();
        let second = desk(directory.path(), None);
        assert_eq!(second.config().hostname.as_str(), "one");
        assert!(second.ledger().revisions()[2].undone.as_deref().unwrap().contains("restarted"));
    }

    /// A directory that takes no files: a file lies in its place.
    fn block(path: &std::path::Path) {
        std::fs::rename(path, path.with_extension("aside")).unwrap();
        std::fs::write(path, "").unwrap();
    }

    fn unblock(path: &std::path::Path) {
        std::fs::remove_file(path).unwrap();
        std::fs::rename(path.with_extension("aside"), path).unwrap();
    }

    #[test]
    fn a_change_whose_slices_cannot_be_written_leaves_the_one_before_in_force_everywhere() {
        let directory = tempfile::tempdir().unwrap();
        let slices = directory.path().join("slices");
        let mut first = desk(directory.path(), Some("version = 1\nhostname = \"one\"\n"));
        block(&slices);
        let refused = first.apply(wish("version = 1\nhostname = \"two\"\n"), 0);
        assert!(matches!(refused, Err(Problem::Disk(_))), "{refused:?}");
        assert_eq!(first.config().hostname.as_str(), "one");
        assert!(first.ledger().in_force().text.contains("one"));
        unblock(&slices);
        assert_eq!(desk(directory.path(), None).config().hostname.as_str(), "one");
        assert!(first.apply(wish("version = 1\nhostname = \"two\"\n"), 0).unwrap().is_some());
    }

    #[test]
    fn a_trial_ends_in_time_when_the_disk_takes_no_writes_and_when_the_slices_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut desk = desk(directory.path(), None);
        let trial = Wish { confirm_within_s: Some(10), ..wish("version = 1\nhostname = \"two\"\n") };
        desk.apply(trial.clone(), 0).unwrap();
        let slices = directory.path().join("slices");
        block(&slices);
        let said = desk.turn(10_000).unwrap().line;
        assert!(said.starts_with("cannot undo config revision 2"), "{said}");
        assert!(desk.turn(10_001).is_none(), "not again at once");
        unblock(&slices);
        assert!(desk.turn(20_000).unwrap().line.contains("is undone"));
        assert_eq!(desk.config().hostname.as_str(), "vakt");

        desk.apply(trial, 30_000).unwrap();
        desk.file = directory.path().join("gone/ledger.json");
        let said = desk.turn(40_000).unwrap().line;
        assert!(said.contains("is undone, which is not written down"), "{said}");
        assert_eq!((desk.config().hostname.as_str(), desk.trial_left_s(40_000)), ("vakt", None));
    }

    #[test]
    fn a_config_of_an_older_version_is_in_force_and_stays_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let old = "version = 1\n[scrape]\ninterval_s = 7\n";
        file::save(&directory.path().join("ledger.json"), &Ledger::new(old, "admin", 0)).unwrap();
        let mut desk = desk(directory.path(), None);
        assert_eq!((desk.config().scrape.interval.get(), desk.refused()), (7, None));
        assert_eq!((desk.read_from_version(), desk.ledger().in_force().text.as_str()), (Some(1), old));
        let new = config::current(old).unwrap();
        let (number, effect) = desk.apply(wish(&new), 0).unwrap().unwrap();
        assert_eq!((number, effect.restart), (2, vec![]));
        assert_eq!(desk.read_from_version(), None);
    }

    #[test]
    fn a_config_that_this_build_cannot_read_gives_way_to_the_newest_one_that_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::new("version = 1\nhostname = \"old\"\n", "admin", 0);
        ledger.apply(wish("version = 3\nnew = true\n")).unwrap();
        file::save(&directory.path().join("ledger.json"), &ledger).unwrap();
        let desk = desk(directory.path(), None);
        assert_eq!(desk.config().hostname.as_str(), "old");
        assert!(desk.refused().unwrap().contains("this build reads versions 1 to 2"));
    }
}

//! The two resets: *settings* and *everything*.
//!
//! A reset is asked for while the box runs and obeyed by the next boot, before anything of state is used:
//!
//! 1. The wish is written to `/state/init/reset.json`, synced, and the box restarts. Before this file is there nothing
//!    was reset; from then on all of it will be.
//! 2. Stage 2 finds the file and carries out the [`plan`], whose steps can each be done again. The wish is removed
//!    after the last one, so that a power cut anywhere in between is followed by the whole plan once more.
//! 3. `/state/init/last-reset.json` says what was done and who asked; the console, the log and the pages tell it.
//!
//! *Settings* forgets the machine config with its history, users, sessions and set-up code; metrics, logs, evidence and
//! the box' keys stay. *Everything* removes all of state but what the boot itself must know (`slots.json`, `clock`):
//! the box wakes up with a new machine id and new SSH, TLS and evidence keys. Files are removed one by one instead of a
//! template being written: that works at every size state has grown to, and needs no mkfs on the box. Keys are
//! overwritten first; other bytes stay on the disk until their blocks are used again.

pub mod boot_entry;
mod carry;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use carry::{ask, forget, last, obey};

/// The wish, and the account of the last reset, in init's own state.
const WISH: &str = "init/reset.json";
const LAST: &str = "init/last-reset.json";

/// What the store is to forget before it serves: names of catalog tables, one a line (services/store, FORMAT.md).
pub const FORGET: &str = "store/forget";

/// What the boot itself must know, and what is the file system's own.
const KEPT: [&str; 5] = ["lost+found", "init", WISH, "init/slots.json", "init/clock"];

/// What a reset of the settings removes, besides what the store forgets.
const SETTINGS: [&str; 4] =
    ["init/ledger.json", "init/ledger.unusable", "init/config.toml", "web/setup-code"];

/// Tables of the catalog that hold settings, and those that hold who may sign in.
const SETTINGS_TABLES: &str = "users\nsessions\nsettings\nconfig\n";
pub const USER_TABLES: &str = "users\nsessions\n";

/// Which reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The machine config, users and sessions.
    Settings,
    /// All of state.
    Everything,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Settings, Kind::Everything];

    /// `settings` or `everything`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Settings => "settings",
            Kind::Everything => "everything",
        }
    }
}

/// A wish for a reset, and when it was obeyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Which.
    pub kind: Kind,
    /// Who asked: a user, a token, the console, the boot menu.
    pub by: String,
    /// When it was asked for, in Unix seconds.
    pub at_s: i64,
    /// When it was done; `None` in a wish.
    #[serde(default)]
    pub done_s: Option<i64>,
}

/// One step. Each can be done again without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The store is to forget these tables at its next start.
    Forget(&'static str),
    /// A file or a directory with all that is in it goes; one that is gone already is no error.
    Remove(PathBuf),
    /// What was done is written down.
    Account,
    /// The wish goes: the reset is over.
    Over,
}

/// The steps of a reset in their order. `present` are the paths below state that are there: all of the first level,
/// and those below `init`.
pub fn plan(kind: Kind, present: &[PathBuf]) -> Vec<Step> {
    let mut steps = Vec::new();
    match kind {
        Kind::Settings => {
            // First, so that no user outlives the config that named the peers.
            steps.push(Step::Forget(SETTINGS_TABLES));
            steps.extend(SETTINGS.iter().map(|path| Step::Remove(path.into())));
        }
        Kind::Everything => {
            let goes = |path: &&PathBuf| !KEPT.iter().any(|kept| path.as_path() == Path::new(kept));
            steps.extend(present.iter().filter(goes).cloned().map(Step::Remove));
        }
    }
    steps.extend([Step::Account, Step::Over]);
    steps
}

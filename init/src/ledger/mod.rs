//! The ledger: which machine configs were, which one is in force, and which one waits to be confirmed.
//!
//! One file, written whole, is the only truth ([`file`]); everything here is a pure function over it.
//! A change is applied whole or not at all, and what can cut the operator off is undone by itself:
//!
//! | from | event | to |
//! |---|---|---|
//! | settled | a change without a confirmation | settled, the change is in force |
//! | settled | a change to be confirmed, now | on trial |
//! | settled | a change to be confirmed, at the next boot | staged |
//! | staged | boot | on trial |
//! | on trial | confirmed | settled, the change is in force |
//! | on trial | not confirmed in time, taken back, or boot | settled, the one before is in force |
//! | staged | taken back | settled |
//!
//! So a box that loses power during a trial comes back with the config that was confirmed last.

pub mod desk;
mod file;
pub mod mirror;
pub mod secrets;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// The file's format.
const FORMAT: u32 = 1;

/// Revisions that are kept, the one in force among them.
const REVISIONS_MAX: usize = 50;

/// Bytes of all their texts; the newest ones are kept. A config is at most 1 MiB.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// The document that was confirmed last, of a ledger's file.
///
/// # Errors
/// When these bytes are no ledger.
pub fn settled_text(json: &[u8]) -> anyhow::Result<String> {
    Ok(serde_json::from_slice::<Ledger>(json)?.settled().text.clone())
}

/// What can cut the operator off waits this long for its confirmation when nothing was said.
pub const CONFIRM_S_DEFAULT: u32 = 300;

/// Shortest and longest trial: time to sign in again, and no trial that is forgotten.
pub const CONFIRM_S: std::ops::RangeInclusive<u32> = 10..=3600;

/// A config as somebody made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// 1 and up, never used twice.
    pub number: u64,
    /// Unix time at which it was applied.
    pub at_s: i64,
    /// Who applied it.
    pub by: String,
    /// Why, in their words.
    #[serde(default)]
    pub why: String,
    /// Why it is not in force any more without having been replaced: it was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<String>,
    /// The document.
    pub text: String,
}

/// Since when a change works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effective {
    /// At once.
    #[default]
    Now,
    /// From the next boot on.
    Boot,
}

/// A change that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The change.
    pub revision: Revision,
    /// Length of its trial.
    pub confirm_within_s: u32,
    /// Whether it is in force, on trial; else it is staged for the next boot.
    pub on_trial: bool,
}

/// A wish for a change, checked already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The document.
    pub text: String,
    /// Who wishes it.
    pub by: String,
    /// Why.
    pub why: String,
    /// Now, in Unix seconds.
    pub at_s: i64,
    /// The revision that it was made from; `None` when that does not matter.
    pub base: Option<u64>,
    /// Length of its trial; `None` for none.
    pub confirm_within_s: Option<u32>,
    /// Since when it works.
    pub effective: Effective,
}

/// Why a wish is not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another change waits.
    #[error("revision {0} waits for its confirmation; confirm it or take it back first")]
    Busy(u64),
    /// Somebody else was quicker.
    #[error("revision {found} is in force, not {base}; read it again and repeat the change")]
    Outdated {
        /// What the wish was made from.
        base: u64,
        /// What is in force.
        found: u64,
    },
    /// The trial is too short or too long.
    #[error("a trial of {0} s is not from {min} to {max} s", min = CONFIRM_S.start(), max = CONFIRM_S.end())]
    Trial(u32),
    /// A change for the next boot cannot be settled without a trial.
    #[error("a change from the next boot on needs a time to confirm it within")]
    BootUnconfirmed,
    /// Nothing waits, or something else does.
    #[error("revision {0} does not wait for a confirmation")]
    NotPending(u64),
    /// It has not been tried.
    #[error("revision {0} comes into force at the next boot and can be confirmed then")]
    NotTried(u64),
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    format: u32,
    next: u64,
    /// Oldest first; the last one that was not undone is in force, beneath what is on trial.
    revisions: Vec<Revision>,
    pending: Option<Pending>,
    /// SHA-256 of the last document that a disk offered: the disk may stay in the box.
    offered: Option<String>,
}

impl Ledger {
    /// A box that was told nothing: the defaults are in force, as revision 1.
    pub fn new(text: &str, by: &str, at_s: i64) -> Ledger {
        let revision = Revision {
            number: 1,
            at_s,
            by: by.to_owned(),
            why: String::new(),
            undone: None,
            text: text.to_owned(),
        };
        Ledger { format: FORMAT, next: 2, revisions: vec![revision], pending: None, offered: None }
    }

    /// What was confirmed last.
    pub fn settled(&self) -> &Revision {
        let settled = self.revisions.iter().rev().find(|revision| revision.undone.is_none());
        // `check` holds that there is one.
        settled.unwrap_or(&self.revisions[0])
    }

    /// What the machine is to run by: what is on trial, or else what was confirmed last.
    pub fn in_force(&self) -> &Revision {
        match &self.pending {
            Some(pending) if pending.on_trial => &pending.revision,
            _ => self.settled(),
        }
    }

    /// What waits.
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// Every revision that is kept, oldest first, without what waits.
    pub fn revisions(&self) -> &[Revision] {
        &self.revisions
    }

    /// Takes a wish; returns the revision's number, or `None` when the text is in force already.
    ///
    /// # Errors
    /// [`Refusal`]; nothing changes then.
    pub fn apply(&mut self, wish: Wish) -> Result<Option<u64>, Refusal> {
        if let Some(pending) = &self.pending {
            return Err(Refusal::Busy(pending.revision.number));
        }
        let found = self.settled().number;
        if let Some(base) = wish.base.filter(|base| *base != found) {
            return Err(Refusal::Outdated { base, found });
        }
        if self.settled().text == wish.text {
            return Ok(None);
        }
        let number = self.next;
        let revision =
            Revision { number, at_s: wish.at_s, by: wish.by, why: wish.why, undone: None, text: wish.text };
        match (wish.confirm_within_s, wish.effective) {
            (Some(seconds), _) if !CONFIRM_S.contains(&seconds) => return Err(Refusal::Trial(seconds)),
            (None, Effective::Boot) => return Err(Refusal::BootUnconfirmed),
            (None, Effective::Now) => self.keep(revision),
            (Some(confirm_within_s), effective) => {
                self.pending =
                    Some(Pending { revision, confirm_within_s, on_trial: effective == Effective::Now });
            }
        }
        self.next += 1;
        Ok(Some(number))
    }

    /// What is on trial works: it is settled.
    ///
    /// # Errors
    /// When `number` is not on trial.
    pub fn confirm(&mut self, number: u64) -> Result<(), Refusal> {
        match self.pending.take() {
            Some(pending) if pending.revision.number == number && pending.on_trial => {
                self.keep(pending.revision);
                Ok(())
            }
            Some(pending) if pending.revision.number == number => {
                self.pending = Some(pending);
                Err(Refusal::NotTried(number))
            }
            other => {
                self.pending = other;
                Err(Refusal::NotPending(number))
            }
        }
    }

    /// Undoes what waits, and says whether anything did.
    pub fn undo(&mut self, reason: &str) -> bool {
        let Some(mut pending) = self.pending.take() else { return false };
        pending.revision.undone = Some(reason.to_owned());
        self.keep(pending.revision);
        true
    }

    /// The machine starts: what was staged goes on trial, what was on trial is undone. Says whether
    /// anything changed; it must be on disk before anything is done by it.
    pub fn boot(&mut self) -> bool {
        match &mut self.pending {
            None => false,
            Some(pending) if pending.on_trial => self.undo("the box restarted before it was confirmed"),
            Some(pending) => {
                pending.on_trial = true;
                true
            }
        }
    }

    /// A document from a disk at boot, with its digest. It is taken without a trial, for who can put a
    /// disk into the box needs no other way in; and once, so that a disk may stay in the box. Says whether it was taken.
    pub fn offer(&mut self, wish: Wish, digest: String) -> bool {
        if self.offered.as_ref() == Some(&digest) {
            return false;
        }
        self.offered = Some(digest);
        self.undo("a disk with another config was put in");
        // It cannot be refused: nothing waits, and there is no base.
        let _ = self.apply(Wish { base: None, confirm_within_s: None, effective: Effective::Now, ..wish });
        true
    }

    /// Adds a revision and forgets the oldest ones past the bounds, never the one in force.
    fn keep(&mut self, revision: Revision) {
        self.revisions.push(revision);
        let settled = self.settled().number;
        while self.revisions.len() > 1 && self.is_over_bounds() {
            let Some(oldest) = self.revisions.iter().position(|revision| revision.number != settled) else {
                return;
            };
            self.revisions.remove(oldest);
        }
    }

    fn is_over_bounds(&self) -> bool {
        let bytes: usize = self.revisions.iter().map(|revision| revision.text.len()).sum();
        self.revisions.len() > REVISIONS_MAX || bytes > TEXT_BYTES_MAX
    }

    /// Whether a ledger that was read can be used.
    ///
    /// # Errors
    /// With what is wrong with it.
    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {} is not {FORMAT}; a newer Vakt wrote it", self.format));
        }
        if !self.revisions.iter().any(|revision| revision.undone.is_none()) {
            return Err("no revision in it is in force".into());
        }
        Ok(())
    }
}

//! The slots' API: what `GET /v1/slots` shows, and what the update service may ask for.

use serde::{Deserialize, Serialize};

use super::{Slots, Staging};
use crate::run::ctl::{Answer, refusal};
use crate::slots::assess::State;
use crate::slots::entry::{Entry, Slot, Tries};
use crate::slots::errand::Errands;
use crate::slots::esp::{Staged, UKI_BYTES_MAX, Verb};
use crate::slots::{loader, version};

/// A slot in `GET /v1/slots`.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Shown {
    slot: Slot,
    version: Option<String>,
    state: &'static str,
    tries_left: Option<u32>,
    bytes: u64,
}

/// The body of `POST /v1/slots/stage`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    version: String,
    uki_offset: u64,
    uki_length: u64,
    uki_sha256: String,
}

impl Slots {
    /// `GET /v1/slots`.
    pub fn answer(&self) -> Answer {
        let shown = |slot: Slot| {
            let entry = self.entry(slot);
            Shown {
                slot,
                version: entry.map(|(entry, _)| entry.version.clone()),
                state: match self.state(slot) {
                    State::Empty => "empty",
                    State::Blessed => "blessed",
                    State::Counted { left: 0 } if self.found.place.running != Some(slot) => "bad",
                    State::Counted { .. } => "trying",
                },
                tries_left: entry.and_then(|(entry, _)| entry.tries).map(|tries| tries.left),
                bytes: entry.map_or(0, |(_, bytes)| *bytes),
            }
        };
        let slots: Vec<Shown> =
            if self.entries.is_some() { Slot::ALL.into_iter().map(shown).collect() } else { Vec::new() };
        let body = serde_json::json!({
            "running": {
                "slot": self.found.place.running.map_or("", Slot::letter),
                "version": self.found.version,
                "why": self.why(),
            },
            "slots": slots,
            "staging": self.staging,
            "last_rollback": self.last_rollback(),
            "busy": self.errands.as_ref().is_some_and(Errands::are_busy),
            "error": self.error,
        });
        Answer { status: 200, body: body.to_string() }
    }

    /// `POST /v1/slots/clear`: the other slot's UKI is to be removed.
    pub fn clear(&mut self) -> Answer {
        match self.may_change().and_then(|slot| self.queue(Verb::Clear(slot.other()))) {
            Ok(()) => accepted(),
            Err(reason) => refusal(409, &reason),
        }
    }

    /// `POST /v1/slots/stage`: a UKI in the other slot's partition is to become its entry.
    pub fn stage(&mut self, body: &[u8]) -> Answer {
        let wish: Wish = match serde_json::from_slice(body) {
            Ok(wish) => wish,
            Err(error) => return refusal(400, &format!("the body is no wish to stage: {error}")),
        };
        if let Err(reason) = check(&wish) {
            return refusal(400, &reason);
        }
        match self.may_change().and_then(|running| self.stage_beside(running, wish)) {
            Ok(()) => accepted(),
            Err(reason) => refusal(409, &reason),
        }
    }

    fn stage_beside(&mut self, running: Slot, wish: Wish) -> Result<(), String> {
        let slot = running.other();
        let from = self.inactive().ok_or("there is no other slot to take a UKI from")?;
        let from = from.to_string_lossy().into_owned();
        let new = Entry { slot, version: wish.version.clone(), tries: Some(Tries::default()) };
        let running_entry = self.entry(running).map(|(entry, _)| entry.clone());
        let both: Vec<Entry> = running_entry.into_iter().chain([new.clone()]).collect();
        if loader::choice(&both) != Some(&new) {
            return Err(format!(
                "the boot loader would not take {}: {} is not older",
                new.version, self.found.version
            ));
        }
        let staged = Staged {
            version: wish.version.clone(),
            from,
            offset: wish.uki_offset,
            length: wish.uki_length,
            sha256: wish.uki_sha256,
        };
        self.queue(Verb::Stage(slot, staged))?;
        self.staging = Some(Staging { slot, version: wish.version, done: false, error: None });
        Ok(())
    }

    fn queue(&mut self, verb: Verb) -> Result<(), String> {
        self.errands.as_mut().ok_or("this box has no boot partition")?.add(verb)
    }

    /// The slot that runs, when the other one may be changed: while this one is not blessed, the other is the
    /// only way back.
    fn may_change(&self) -> Result<Slot, String> {
        let slot = self.found.place.running.ok_or("this box has no slots")?;
        match self.running() {
            None => Err("the boot partition has not been read yet; try again".into()),
            Some(State::Blessed) => Ok(slot),
            Some(State::Counted { .. }) => {
                Err(format!("slot {slot} is on trial; the other one stays until it is blessed"))
            }
            Some(State::Empty) => Err(format!("slot {slot} has no boot entry; the other one must stay")),
        }
    }
}

fn check(wish: &Wish) -> Result<(), String> {
    let is_hash = wish.uki_sha256.len() == 64
        && wish.uki_sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !version::is_valid(&wish.version) {
        return Err(format!("{:?} is no version; it has 1 to 32 of a-z A-Z 0-9 . ~ ^ -", wish.version));
    }
    if !is_hash {
        return Err("uki_sha256 is no SHA-256 in lower-case hex".into());
    }
    if !(1..=UKI_BYTES_MAX).contains(&wish.uki_length) {
        return Err(format!("uki_length is {}; 1 to {UKI_BYTES_MAX} fit", wish.uki_length));
    }
    Ok(())
}

fn accepted() -> Answer {
    Answer { status: 202, body: "{}".into() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::run::slots::{Found, Place};
    use crate::slots::esp::Listed;
    use crate::slots::evidence::Evidence;
    use crate::slots::history::History;
    use crate::slots::watchdog::Watchdog;

    /// What a box whose slot a runs, with these boot entries, answers to clear and to stage.
    fn check_answers(entries: &[&str], version: &str, clear: u16, stage: u16) {
        let directory = tempfile::tempdir().unwrap();
        let make = || {
            let file = Some(PathBuf::from("/nowhere"));
            let mut slots = Slots::new(Found {
                place: Place { running: Some(Slot::A), esp: file.clone(), inactive: file },
                version: "0.1.0".into(),
                history: History::default(),
                history_at: directory.path().join("slots.json"),
                evidence: Evidence::default(),
                watchdog: Watchdog::none(),
                gate_until_ms: 0,
            });
            let listed = |name: &&str| Listed { name: (*name).to_owned(), bytes: 1 };
            slots.take_entries(&entries.iter().map(listed).collect::<Vec<_>>());
            slots
        };
        assert_eq!(make().clear().status, clear, "clear beside {entries:?}");
        let hash = "0".repeat(64);
        let wish = format!(
            "{{\"version\":\"{version}\",\"uki_offset\":0,\"uki_length\":1,\"uki_sha256\":\"{hash}\"}}"
        );
        let answer = make().stage(wish.as_bytes());
        assert_eq!(answer.status, stage, "stage {version} beside {entries:?}: {}", answer.body);
    }

    #[test]
    fn the_other_slot_is_changed_only_while_the_running_one_is_blessed() {
        check_answers(&["vakt-a_0.1.0.efi", "vakt-b_0.0.9.efi"], "0.2.0", 202, 202);
        check_answers(&["vakt-a_0.1.0+2-1.efi", "vakt-b_0.0.9.efi"], "0.2.0", 409, 409);
        check_answers(&["vakt-a_0.1.0+0-3.efi", "vakt-b_0.0.9.efi"], "0.2.0", 409, 409);
        check_answers(&["vakt-b_0.0.9.efi"], "0.2.0", 409, 409);
    }

    #[test]
    fn what_the_loader_would_not_take_is_not_staged() {
        check_answers(&["vakt-a_0.1.0.efi"], "0.0.9", 202, 409);
        check_answers(&["vakt-a_0.1.0.efi"], "0.1.0~rc1", 202, 409);
        check_answers(&["vakt-a_0.1.0.efi"], "0.1.0+1", 202, 400);
        check_answers(&["vakt-a_0.1.0.efi"], "0.10.0", 202, 202);
    }
}

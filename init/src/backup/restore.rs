//! `vakt-init restore`: takes a backup, checks all of it, and only then puts it in place.
//!
//! Evidence comes back into a box that has none, together with the key that signs it; a box with evidence of its own
//! keeps both, for two chains do not become one. Users that the box has stay as they are, so that nobody is locked out
//! by an old password; the others are added. Settings are overwritten. The config comes last, as a change of the ledger:
//! what it can lock out is on trial.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};
use vakt_wire::role::Role;

use super::age::Opener;
use super::call::{Caller, ask, encoded, remove_if_there};
use super::contents::{Head, Line, read_lines, seed};
use super::{EVIDENCE_CHANGED, INIT, OWN_STATE, STORE, Told};
use crate::machine::config::write_owned;
use crate::machine::identity::write_whole;
use crate::sandbox::RUN;

/// Where the file lies while it is worked on: in state, for it may be larger than memory, and as encrypted as it came.
const KEPT_AT: &str = "/state/init/restore.age";

/// What came of it.
#[derive(Debug, Default)]
struct Done {
    users_added: u64,
    users_kept: u64,
    settings: u64,
    evidence: u64,
    evidence_kept: bool,
    config: Value,
}

/// Answers the caller that PID 1 handed over.
///
/// # Errors
/// When nobody can be answered.
pub fn main() -> anyhow::Result<ExitCode> {
    let mut caller = Caller::take()?;
    let kept = PathBuf::from(KEPT_AT);
    let restored = receive(&mut caller, &kept).and_then(|()| restore(&caller.told, &kept));
    let removed = remove_if_there(&kept);
    match restored {
        Ok((head, done)) => {
            caller.answer(
                200,
                &json!({
                    "of": head.name, "at_s": head.at_s, "users_added": done.users_added, "users_kept": done.users_kept,
                    "settings": done.settings, "evidence": done.evidence, "evidence_kept": done.evidence_kept,
                    "config": done.config,
                }),
            )?;
            removed?;
            let has_new_key = done.evidence > 0;
            Ok(if has_new_key { ExitCode::from(EVIDENCE_CHANGED as u8) } else { ExitCode::SUCCESS })
        }
        Err(error) => {
            caller.answer(422, &json!({ "error": format!("{error:#}") }))?;
            Err(error)
        }
    }
}

fn receive(caller: &mut Caller, kept: &Path) -> anyhow::Result<()> {
    remove_if_there(kept)?;
    let length = caller.told.length;
    let mut file = File::create(kept).with_context(|| format!("cannot make {}", kept.display()))?;
    let received = io::copy(&mut caller.body()?, &mut file).context("cannot keep the backup")?;
    anyhow::ensure!(received == length, "{received} of {length} bytes came");
    Ok(())
}

/// Two passes: the first changes nothing.
fn restore(told: &Told, kept: &Path) -> anyhow::Result<(Head, Done)> {
    let lines = |take: &mut dyn FnMut(Line) -> anyhow::Result<()>| {
        let opener = Opener::new(BufReader::new(File::open(kept)?), &told.passphrase)?;
        read_lines(BufReader::new(opener), take)
    };
    let (mut config, mut key) = (String::new(), None);
    let head = lines(&mut |line| {
        match line {
            Line::Config { config: text } => config = text,
            Line::Key { evidence_key } => key = seed(&evidence_key),
            Line::Row { .. } | Line::End { .. } => {}
        }
        Ok(())
    })?;
    let present = call(INIT, "GET", "/v1/config", "")?;
    anyhow::ensure!(present["pending"].is_null(), "a config change waits; keep it or take it back first");
    call(INIT, "POST", "/v1/config/validate", &json!({ "text": config }).to_string())?;
    let is_chainless = call(STORE, "GET", "/catalog/v1/evidence?limit=1", "")?["items"] == json!([]);
    let mut done = Done { evidence_kept: !is_chainless, ..Done::default() };
    lines(&mut |line| match line {
        Line::Row { table, key, value } => put(&table, &key, &value, &mut done),
        _ => Ok(()),
    })?;
    if let Some(seed) = key.filter(|_| done.evidence > 0) {
        write_whole(&Path::new(OWN_STATE).join("evidence.key"), &seed)?;
        write_owned(&Path::new(RUN).join("evidence.key"), &seed, Role::Repair.uid())?;
    }
    let why = format!("restored from the backup of {}", head.name);
    let wish = json!({ "text": config, "by": told.by, "why": why });
    done.config = call(INIT, "POST", "/v1/config/apply", &wish.to_string())
        .context("everything but the config was restored")?;
    Ok((head, done))
}

fn put(table: &str, key: &str, value: &Value, done: &mut Done) -> anyhow::Result<()> {
    let path = format!("/catalog/v1/{table}/{}", encoded(key));
    match table {
        "users" => {
            let (status, _) = ask(STORE, "GET", &path, "")?;
            if status == 200 {
                done.users_kept += 1;
                return Ok(());
            }
            done.users_added += 1;
        }
        "settings" => done.settings += 1,
        "evidence" if !done.evidence_kept => done.evidence += 1,
        // The history of another box is for who reads the backup; this one's goes on with one more revision.
        _ => return Ok(()),
    }
    call(STORE, "PUT", &path, &value.to_string()).map(|_| ())
}

/// A request that must succeed.
fn call(socket: &str, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    let (status, said) = ask(socket, method, path, body)?;
    let reason = said["error"].as_str().unwrap_or("no reason given");
    anyhow::ensure!((200..300).contains(&status), "{method} {path}: {status} {reason}");
    Ok(said)
}

/// Removes what a restore that was cut off has left.
pub fn clean_up() {
    let _ = fs::remove_file(KEPT_AT);
}

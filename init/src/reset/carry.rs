//! The plan carried out on the disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use vakt_wire::role::Role;

use super::{FORGET, LAST, Reset, Step, WISH, plan};
use crate::machine::identity::write_whole;

/// Below these are keys; a file of at most this size is overwritten before it goes.
const SECRET: [&str; 2] = ["init", "web"];
const OVERWRITTEN_BYTES_MAX: u64 = 2 << 20;

/// Writes a wish down. When this returns, the next boot obeys it.
///
/// # Errors
/// When it cannot be written; nothing will be reset then.
pub fn ask(state: &Path, wish: &Reset) -> anyhow::Result<()> {
    write_whole(&state.join(WISH), &serde_json::to_vec(wish)?)
}

/// The last reset, if there was one.
pub fn last(state: &Path) -> Option<Reset> {
    serde_json::from_slice(&fs::read(state.join(LAST)).ok()?).ok()
}

/// Carries out the wish, if there is one, and returns what was done. `now_s` is Unix time.
///
/// # Errors
/// When a step fails. The wish stays then, and the next boot tries again.
pub fn obey(state: &Path, now_s: i64) -> anyhow::Result<Option<Reset>> {
    let text = match fs::read(state.join(WISH)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {WISH}")),
    };
    let wish: Reset = match serde_json::from_slice(&text) {
        Ok(wish) => wish,
        Err(error) => {
            // It is written whole, so this is no torn one: no reset is begun on a guess.
            fs::remove_file(state.join(WISH)).with_context(|| format!("cannot remove {WISH}"))?;
            anyhow::bail!("{WISH} is no wish for a reset and was removed: {error}");
        }
    };
    let done = Reset { done_s: Some(now_s), ..wish };
    for step in plan(done.kind, &present(state)?) {
        take(state, &done, &step)?;
    }
    Ok(Some(done))
}

/// The paths that [`plan`] is asked about.
pub(super) fn present(state: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for below in ["", "init"] {
        let entries = match fs::read_dir(state.join(below)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("cannot list {}", state.join(below).display()))?,
        };
        for entry in entries {
            all.push(Path::new(below).join(entry?.file_name()));
        }
    }
    Ok(all)
}

/// Does one step.
pub(super) fn take(state: &Path, done: &Reset, step: &Step) -> anyhow::Result<()> {
    match step {
        Step::Forget(tables) => forget(state, tables),
        Step::Remove(path) => {
            let is_secret = SECRET.iter().any(|directory| path.starts_with(directory));
            remove(&state.join(path), is_secret).with_context(|| format!("cannot remove {}", path.display()))
        }
        Step::Account => write_whole(&state.join(LAST), &serde_json::to_vec(done)?),
        Step::Over => {
            // What was removed must be gone for good before the wish is.
            rustix::fs::syncfs(File::open(state)?).context("cannot sync state")?;
            fs::remove_file(state.join(WISH)).with_context(|| format!("cannot remove {WISH}"))?;
            Ok(File::open(state.join("init"))?.sync_all()?)
        }
    }
}

/// Tells the store, which does it before it serves. A box whose store never ran has nothing to forget.
///
/// # Errors
/// When the file cannot be written or given to the store.
pub fn forget(state: &Path, tables: &str) -> anyhow::Result<()> {
    let path = state.join(FORGET);
    if !path.parent().is_some_and(Path::is_dir) {
        return Ok(());
    }
    let next = path.with_extension("next");
    let uid = Role::Store.uid();
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&next)?;
        file.write_all(tables.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        chown(&next, Some(uid), Some(uid))?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        File::open(path.parent().unwrap_or(state))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file, or a directory with all that is in it. No link is followed.
fn remove(path: &Path, is_secret: bool) -> std::io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            remove(&entry?.path(), is_secret)?;
        }
        return fs::remove_dir(path);
    }
    if is_secret && kind.is_file() && kind.len() <= OVERWRITTEN_BYTES_MAX {
        let mut file = File::options().write(true).open(path)?;
        file.write_all(&vec![0; kind.len() as usize])?;
        file.sync_all()?;
    }
    fs::remove_file(path)
}

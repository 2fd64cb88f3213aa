//! The signed repository: `metadata/` and `targets/`, as The Update Framework has it.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::{Span, Timestamp};
use serde::de::DeserializeOwned;
use tough::editor::RepositoryEditor;
use tough::schema::{Role, Root, Signed, Snapshot, Target, Targets, Timestamp as TimestampRole};
use vakt_update::digest::Sha256;

use super::keys;

/// With what a repository is signed.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The root.json that says who may.
    pub root: PathBuf,
    /// The private keys at hand.
    pub keys: Vec<PathBuf>,
}

/// How long signatures are good for, in days. A box refuses what is past that, so sign anew before: run the same
/// command again.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// What the updates are.
    pub targets_days: i64,
    /// That they are the newest ones: an attacker can hold a box back for this long at most.
    pub online_days: i64,
}

impl Signing {
    /// All that the directory `vakt-image keys` made holds.
    pub fn with(directory: &Path) -> Signing {
        Signing { root: keys::root(directory), keys: keys::signing(directory) }
    }
}

/// The metadata that a repository has.
struct Present {
    timestamp: Signed<TimestampRole>,
    snapshot: Signed<Snapshot>,
    targets: Signed<Targets>,
}

/// Adds `files` as targets to the repository in `output`, which is made when absent, and signs all of it anew.
///
/// # Errors
/// When what is there was not signed by these keys, too few keys are at hand, or a file cannot be written.
pub async fn publish(
    output: &Path,
    files: &[PathBuf],
    signing: &Signing,
    validity: Validity,
) -> anyhow::Result<()> {
    let trusted: Signed<Root> = document(&signing.root).with_context(|| {
        format!("no root in {}; make keys with: vakt-image keys DIR", signing.root.display())
    })?;
    let (metadata, targets) = (output.join("metadata"), output.join("targets"));
    for directory in [&metadata, &targets] {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let mut editor = RepositoryEditor::new(&signing.root).await?;
    let mut versions = [NonZeroU64::MIN; 3];
    if let Some(present) = present(&metadata, &trusted.signed)? {
        let after = |version: NonZeroU64| version.checked_add(1).context("a version has no successor");
        versions = [
            after(present.targets.signed.version)?,
            after(present.snapshot.signed.version)?,
            after(present.timestamp.signed.version)?,
        ];
        editor.targets(present.targets)?;
    }
    for file in files {
        let (name, target) = RepositoryEditor::build_target(file).await?;
        place(file, &target, &targets, trusted.signed.consistent_snapshot)?;
        editor.add_target(name, target)?;
    }
    let (lasting, online) = (after_days(validity.targets_days)?, after_days(validity.online_days)?);
    editor.targets_version(versions[0])?.targets_expires(lasting)?;
    editor.snapshot_version(versions[1]).snapshot_expires(online);
    editor.timestamp_version(versions[2]).timestamp_expires(online);
    let signed = editor.sign(&keys::sources(&signing.keys)).await;
    let signed = signed.with_context(|| {
        format!("too few of the keys that {} asks for are beside it", signing.root.display())
    })?;
    signed.write(&metadata).await.with_context(|| format!("cannot write {}", metadata.display()))
}

/// The files of the metadata that is in force: every root, and the newest of each other.
///
/// # Errors
/// When there is none.
pub fn in_force(output: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let metadata = output.join("metadata");
    let timestamp: Signed<TimestampRole> = document(&metadata.join("timestamp.json"))?;
    let snapshot_path = metadata.join(versioned(&timestamp.signed.meta, "snapshot.json")?);
    let snapshot: Signed<Snapshot> = document(&snapshot_path)?;
    let targets_path = metadata.join(versioned(&snapshot.signed.meta, "targets.json")?);
    let roots =
        (1..).map(|version| metadata.join(format!("{version}.root.json"))).take_while(|path| path.exists());
    Ok(roots.chain([metadata.join("timestamp.json"), snapshot_path, targets_path]).collect())
}

/// `days` from now, to the second.
///
/// # Errors
/// When that is no time any more.
pub fn after_days(days: i64) -> anyhow::Result<Timestamp> {
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    now.checked_add(Span::new().try_hours(days.saturating_mul(24))?).context("an expiry past all calendars")
}

fn present(metadata: &Path, trusted: &Root) -> anyhow::Result<Option<Present>> {
    if !metadata.join("timestamp.json").exists() {
        return Ok(None);
    }
    let timestamp: Signed<TimestampRole> = document(&metadata.join("timestamp.json"))?;
    let snapshot: Signed<Snapshot> =
        document(&metadata.join(versioned(&timestamp.signed.meta, "snapshot.json")?))?;
    let targets: Signed<Targets> =
        document(&metadata.join(versioned(&snapshot.signed.meta, "targets.json")?))?;
    // What is signed anew must have been signed before: a repository lies where others may write.
    own(trusted, &timestamp)?;
    own(trusted, &snapshot)?;
    own(trusted, &targets)?;
    Ok(Some(Present { timestamp, snapshot, targets }))
}

fn own<T: Role + serde::Serialize>(trusted: &Root, role: &Signed<T>) -> anyhow::Result<()> {
    trusted.verify_role(role).context("the repository that is there was not signed by these keys")
}

fn versioned(
    meta: &std::collections::HashMap<String, tough::schema::Metafile>,
    name: &str,
) -> anyhow::Result<String> {
    let file = meta.get(name).with_context(|| format!("the metadata that is there names no {name}"))?;
    Ok(format!("{}.{name}", file.version))
}

fn document<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} cannot be used", path.display()))
}

/// A target's file at its place; one that is there has the same contents, as the name says.
fn place(file: &Path, target: &Target, directory: &Path, hash_in_name: bool) -> anyhow::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let hash =
        Sha256::from_bytes(&target.hashes.sha256.clone().into_vec()).context("a hash that is no SHA-256")?;
    let path = directory.join(if hash_in_name { format!("{hash}.{name}") } else { name });
    if !path.exists() || !hash_in_name {
        fs::copy(file, &path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

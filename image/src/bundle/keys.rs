//! The keys that sign updates, as a directory: `root.json`, which images carry, and the private keys beside it.
//!
//! | role | keys | needed | where they belong |
//! |---|---|---|---|
//! | root | 3 | 2 | offline, apart from each other: they say who the others are |
//! | targets | 3 | 2 | offline: they say what an update is |
//! | snapshot, timestamp | 1 each | 1 | where the repository is signed anew every few weeks |
//!
//! A key is ed25519 in PKCS#8 DER, as `tough` and `tuftool` read it; change root.json with `tuftool root`.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use tough::editor::signed::SignedRole;
use tough::key_source::{KeySource, LocalKeySource};
use tough::schema::{KeyHolder, RoleKeys, RoleType, Root};
use tough::sign::{Sign, parse_keypair};

use super::repository::after_days;

/// How long a root is good for. The next one must reach every box before.
const ROOT_DAYS: i64 = 3650;

/// Role, keys made, keys needed.
const ROLES: [(RoleType, u32, u64); 4] = [
    (RoleType::Root, 3, 2),
    (RoleType::Targets, 3, 2),
    (RoleType::Snapshot, 1, 1),
    (RoleType::Timestamp, 1, 1),
];

/// The file of a role's key; numbers begin with 1.
pub fn file(directory: &Path, role: RoleType, number: u32) -> PathBuf {
    directory.join(format!("{role}-{number}.key"))
}

/// The trusted root of a directory.
pub fn root(directory: &Path) -> PathBuf {
    directory.join("root.json")
}

/// The private keys that are there, of the roles that sign a repository.
pub fn signing(directory: &Path) -> Vec<PathBuf> {
    let roles = ROLES.iter().filter(|(role, ..)| *role != RoleType::Root);
    let files = roles.flat_map(|(role, count, _)| (1..=*count).map(|number| file(directory, *role, number)));
    files.filter(|path| path.exists()).collect()
}

/// Makes a set of keys and their root.json in `directory`.
///
/// # Errors
/// When there is one already, or a file cannot be written.
pub async fn generate(directory: &Path) -> anyhow::Result<()> {
    let trusted = root(directory);
    anyhow::ensure!(!trusted.exists(), "{} is there already; keys are never replaced", trusted.display());
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut made = Root {
        spec_version: "1.0.0".into(),
        consistent_snapshot: true,
        version: NonZeroU64::MIN,
        expires: after_days(ROOT_DAYS)?,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    };
    let mut root_keys = Vec::new();
    for (role, count, threshold) in ROLES {
        let mut keyids = Vec::new();
        for number in 1..=count {
            let path = file(directory, role, number);
            let key = make_key(&path)?;
            let id = key.key_id()?;
            made.keys.insert(id.clone(), key);
            keyids.push(id);
            if role == RoleType::Root {
                root_keys.push(path);
            }
        }
        let threshold = NonZeroU64::new(threshold).context("a role that needs no key")?;
        made.roles.insert(role, RoleKeys { keyids, threshold, _extra: HashMap::new() });
    }
    // Last, and at once: a directory with a root.json is a whole one.
    let fresh = trusted.with_extension("new");
    fs::write(&fresh, sign_root(made.clone(), &made, &root_keys).await?)?;
    fs::rename(&fresh, &trusted).with_context(|| format!("cannot write {}", trusted.display()))
}

/// The root.json for an image: that of `directory`, or of the development keys of `workspace`.
///
/// # Errors
/// When development keys cannot be made.
pub fn trusted_root(directory: Option<PathBuf>, workspace: &Path) -> anyhow::Result<PathBuf> {
    let directory = directory.map_or_else(|| super::block_on(development(workspace)), Ok)?;
    Ok(root(&directory))
}

/// The keys for images that nobody else will run: made once below `workspace`/target, never committed.
///
/// # Errors
/// As [`generate`].
pub async fn development(workspace: &Path) -> anyhow::Result<PathBuf> {
    let directory = workspace.join("target/update-keys");
    if root(&directory).exists() {
        return Ok(directory);
    }
    let parent = workspace.join("target");
    fs::create_dir_all(&parent)?;
    let fresh = tempfile::tempdir_in(&parent)?;
    generate(fresh.path()).await?;
    match fs::rename(fresh.path(), &directory) {
        Ok(()) => drop(fresh.keep()),
        // Another build was faster; its keys are as good.
        Err(_) if root(&directory).exists() => {}
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", directory.display())),
    }
    Ok(directory)
}

/// A signed root.json: `made`, by those of `keys` that `by` (the root before it, or itself) knows.
///
/// # Errors
/// When a key cannot be read.
pub async fn sign_root(made: Root, by: &Root, keys: &[PathBuf]) -> anyhow::Result<Vec<u8>> {
    let role =
        SignedRole::new(made, &KeyHolder::Root(by.clone()), &sources(keys), &SystemRandom::new()).await?;
    Ok(role.buffer().clone())
}

/// Keys as `tough` takes them.
pub fn sources(keys: &[PathBuf]) -> Vec<Box<dyn KeySource>> {
    let source = |path: &PathBuf| Box::new(LocalKeySource { path: path.clone() }) as Box<dyn KeySource>;
    keys.iter().map(source).collect()
}

fn make_key(path: &Path) -> anyhow::Result<tough::schema::key::Key> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).context("no randomness for a key")?;
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(pkcs8.as_ref())?;
    file.sync_all()?;
    Ok(parse_keypair(pkcs8.as_ref())?.tuf_key())
}

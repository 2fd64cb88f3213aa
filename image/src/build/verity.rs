//! The hash tree behind the root's data.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::hex;
use crate::process::run;

/// Block of data and hashes, in bytes.
const BLOCK: u64 = 4096;

/// What the kernel needs to check the root by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verity {
    /// Blocks of data.
    pub data_blocks: u64,
    /// Salt in hex: the hash of the data, so that it is fixed by the contents.
    pub salt: String,
    /// Root hash in hex.
    pub root_hash: String,
}

impl Verity {
    /// The value of `vakt.verity=`.
    pub fn option(&self) -> String {
        format!("{}:{}:{}", self.data_blocks, self.salt, self.root_hash)
    }
}

/// Pads `root` to whole blocks and appends its hash tree (SHA-256, no superblock).
///
/// # Errors
/// When veritysetup fails.
pub fn append(root: &Path) -> anyhow::Result<Verity> {
    let data = fs::read(root).with_context(|| format!("cannot read {}", root.display()))?;
    let data_blocks = (data.len() as u64).div_ceil(BLOCK);
    File::options().write(true).open(root)?.set_len(data_blocks * BLOCK)?;
    let salt = hex(&Sha256::digest(&data));
    let output = run(Command::new("veritysetup")
        .args(["format", "--no-superblock", "--format=1", "--hash=sha256"])
        .args([format!("--data-block-size={BLOCK}"), format!("--hash-block-size={BLOCK}")])
        .args([format!("--data-blocks={data_blocks}"), format!("--hash-offset={}", data_blocks * BLOCK)])
        .arg(format!("--salt={salt}"))
        .arg(root)
        .arg(root))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let root_hash = text
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"))
        .context("veritysetup printed no root hash")?
        .trim()
        .to_owned();
    Ok(Verity { data_blocks, salt, root_hash })
}

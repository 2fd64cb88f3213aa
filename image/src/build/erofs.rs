//! The root file system.

use std::path::Path;
use std::process::Command;

use super::EPOCH_S;
use crate::process::run;

/// The file system's id, fixed.
const ID: &str = "76616b74-0000-4000-8000-00000000e0f5";

/// Makes an lz4-compressed erofs of `tree`; all files belong to root and have one time.
///
/// # Errors
/// When mkfs.erofs fails.
pub fn make(tree: &Path, output: &Path) -> anyhow::Result<()> {
    run(Command::new("mkfs.erofs")
        .args(["-zlz4", "--all-root", "-U", ID, "-T", &EPOCH_S.to_string(), "--quiet"])
        .arg(output)
        .arg(tree))?;
    Ok(())
}

//! The state partition's template: an empty ext4 with checksums that can grow to 4 TiB.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use super::EPOCH_S;
use super::layout::{MIB, STATE};
use crate::process::run;

/// The file system's id and the seed of its directory hashes, fixed.
const ID: &str = "76616b74-0000-4000-8000-0000000057a7";

/// Makes it.
///
/// # Errors
/// When mkfs.ext4 fails.
pub fn make(output: &Path) -> anyhow::Result<()> {
    File::create(output)?.set_len(STATE.mib * MIB)?;
    // resize= reserves table blocks, in 4 KiB blocks: 2^30 of them are 4 TiB.
    let options = format!("hash_seed={ID},resize=1073741824,lazy_itable_init=0,nodiscard,quotatype=prjquota");
    run(Command::new("mkfs.ext4")
        .args(["-q", "-F", "-b", "4096", "-L", "vakt-state", "-U", ID, "-J", "size=8", "-m", "1"])
        .args(["-O", "metadata_csum,64bit,^orphan_file,quota,project", "-E", &options])
        .arg(output)
        .env("E2FSPROGS_FAKE_TIME", EPOCH_S.to_string())
        // mke2fs may be a Debian user's only through sbin.
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())))?;
    Ok(())
}

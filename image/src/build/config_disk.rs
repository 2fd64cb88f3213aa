//! A small FAT disk labelled `VAKTCFG` with a machine config, for `--config`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Size of the disk; the config itself is at most 1 MiB.
const BYTES: u64 = 4 << 20;

/// Writes a disk image with `config` as `vakt.toml`.
///
/// # Errors
/// When it cannot be written.
pub fn make(output: &Path, config: &[u8]) -> anyhow::Result<()> {
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(output)?;
    file.set_len(BYTES)?;
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"VAKTCFG    ");
    fatfs::format_volume(&mut file, options).context("cannot make the config disk")?;
    let volume = fatfs::FileSystem::new(&mut file, fatfs::FsOptions::new())?;
    volume
        .root_dir()
        .create_file("vakt.toml")?
        .write_all(config)
        .context("the config does not fit its disk")?;
    volume.unmount().context("cannot close the config disk")
}

//! The disk in the forms that hypervisors take.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;

/// A form of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Byte for byte; what is flashed, and what most clouds and Proxmox import.
    Raw,
    /// QEMU's and libvirt's own: as small as its contents.
    Qcow2,
}

/// Writes the raw disk at `raw` as qcow2 beside it, and returns where.
///
/// # Errors
/// When qemu-img fails.
pub fn qcow2(raw: &Path) -> anyhow::Result<PathBuf> {
    let output = raw.with_extension("qcow2");
    run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(&output))?;
    Ok(output)
}

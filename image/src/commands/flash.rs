//! `vakt-image flash`: lists the disks that can be flashed, or writes an image to one.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use vakt_image::build;
use vakt_image::flash::disk::{InUse, node};
use vakt_image::flash::{Disk, Source, disks, flash, refusal};

use super::default_output;

/// Writes an image to a disk and reads it back. Without a device it lists those that can be written to.
#[derive(Debug, clap::Args)]
pub struct Flash {
    /// The whole disk, as /dev/sdb. Everything on it is lost.
    device: Option<PathBuf>,
    /// The image, raw or .zst; default: what `make image` built.
    #[arg(long)]
    image: Option<PathBuf>,
    /// Also write to a disk that is built in (never to one that is in use).
    #[arg(long)]
    force_not_removable: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Flash {
    /// Lists or writes.
    ///
    /// # Errors
    /// When the disk is refused, the operator says no, or writing or comparing fails.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let all = disks(Path::new("/sys"), &InUse::read()?)?;
        let Some(device) = &self.device else {
            return Ok(list(&all));
        };
        let path = self.image.clone().unwrap_or_else(newest);
        let source = Source::open(&path)?;
        let disk = find(&all, device)?;
        if let Some(refusal) = refusal(disk, source.bytes, self.force_not_removable) {
            return Err(refusal.into());
        }
        self.ask(disk)?;
        let written = flash(source, &node(&disk.name))?;
        println!("{}: {} bytes written and read back, SHA-256 {}", disk.name, written.bytes, written.sha256);
        Ok(ExitCode::SUCCESS)
    }

    fn ask(&self, disk: &Disk) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        anyhow::ensure!(std::io::stdin().is_terminal(), "nobody to ask here; say --yes");
        print!("everything on {} is lost. Type {} to write: ", said(disk), disk.name);
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        anyhow::ensure!(answer.trim() == disk.name, "nothing was written");
        Ok(())
    }
}

/// The compressed image of the last `make image`, or the raw one.
fn newest() -> PathBuf {
    let raw = default_output().join(format!("{}.img", build::stem(vakt_image::VERSION)));
    let packed = raw.with_extension("img.zst");
    if packed.exists() { packed } else { raw }
}

fn list(all: &[Disk]) -> ExitCode {
    let fit: Vec<&Disk> = all.iter().filter(|disk| refusal(disk, 0, false).is_none()).collect();
    for disk in &fit {
        println!("{}", said(disk));
    }
    if fit.is_empty() {
        eprintln!("no removable disk that is not in use");
    }
    ExitCode::SUCCESS
}

fn said(disk: &Disk) -> String {
    let gigabytes = disk.bytes as f64 / 1e9;
    format!("{} {gigabytes:.1} GB {}", node(&disk.name).display(), disk.model)
}

/// The disk that a device file stands for; links such as /dev/disk/by-id are followed.
fn find<'a>(all: &'a [Disk], device: &Path) -> anyhow::Result<&'a Disk> {
    let real = std::fs::canonicalize(device).with_context(|| format!("no {}", device.display()))?;
    let found = all.iter().find(|disk| node(&disk.name) == real);
    found.with_context(|| {
        format!("{} is no whole disk; `vakt-image flash` lists those there are", device.display())
    })
}

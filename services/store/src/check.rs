//! `vakt-store check`: reads everything that is at rest and says what it found.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use vakt_store::block::{self, Block, BlockName};
use vakt_store::deletions::file as tombstones;
use vakt_store::disk::{Disk, RealDisk};
use vakt_store::hot::Hot;
use vakt_store::series::Registry;
use vakt_store::wal;

/// Verifies every checksum under a data directory; changes nothing. The store must not be running.
#[derive(Args)]
pub struct Check {
    /// The data directory.
    #[arg(long, default_value = "/state/store", value_name = "DIR")]
    pub data: PathBuf,
}

/// Prints a line a block and one for the log.
///
/// # Errors
/// When anything is damaged, after all of it was listed.
pub fn run(args: &Check) -> Result<()> {
    if !args.data.join(block::FOLDER).is_dir() {
        bail!("{}: no data directory of vakt-store", args.data.display());
    }
    let disk = RealDisk::open(&args.data)?;
    let mut registry = Registry::new(usize::MAX);
    let (mut blocks, mut damaged, mut in_blocks) = (0, 0, 0);
    let mut files = disk.list(block::FOLDER)?;
    files.sort();
    for file in files {
        if file == tombstones::NAME {
            continue;
        }
        let Some(name) = BlockName::parse(&file) else {
            println!("{file}: not a block in use");
            continue;
        };
        blocks += 1;
        let checked =
            Block::open(&disk, name, &mut registry).and_then(|block| block.verify().map(|()| block));
        match checked {
            Ok(block) => {
                in_blocks = in_blocks.max(block.log_up_to());
                let (oldest, newest) = block.span();
                let (samples, bytes) = (block.samples(), block.file_bytes());
                let each = bytes as f64 / samples.max(1) as f64;
                println!(
                    "{file}: ok, {samples} samples from {oldest} to {newest} ms, {bytes} bytes, {each:.3} each"
                );
            }
            Err(error) => {
                damaged += 1;
                println!("{error}");
            }
        }
    }
    let (deletions, broken) = tombstones::read(&disk)?;
    in_blocks = in_blocks.max(deletions.log_up_to);
    let said = broken.as_ref().map_or_else(String::new, |broken| format!("; {broken}"));
    println!("tombstones: {} deletions{said}", deletions.all().len());
    damaged += usize::from(broken.is_some());
    let log = wal::replay(&disk, in_blocks, &mut registry, &mut Hot::default())?;
    println!("log: {} segments, {} samples, {} torn bytes", log.segments.len(), log.samples, log.torn_bytes);
    println!("{blocks} blocks, {damaged} damaged, {} series", registry.len());
    if damaged > 0 {
        bail!("{damaged} files are damaged");
    }
    Ok(())
}

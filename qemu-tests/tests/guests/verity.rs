//! A root that was changed, in its data or in its hashes, stops the machine: it never gets ready.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use vakt_image::qemu::Guest;
use vakt_qemu_tests::guest::{self, Image};
use vakt_qemu_tests::harness::Group;

/// From power-on to the panic's restart, which ends QEMU. Quiet: 6 s, and 5 s until the restart.
const ENDS_WITHIN: Duration = Duration::from_secs(180);

/// Where root-a begins: 1 MiB of table and 96 MiB of ESP.
const ROOT_AT: u64 = 97 << 20;

pub fn tests() -> Group {
    (
        guest::missing(),
        &[
            ("a_changed_data_block_stops_the_machine", || tamper(Block::Data)),
            ("a_changed_hash_block_stops_the_machine", || tamper(Block::Hash)),
            ("a_changed_top_of_the_hashes_is_no_root_of_ours", || tamper(Block::Top)),
            ("a_changed_program_stops_the_machine_when_it_is_read", || tamper(Block::Program)),
        ],
    )
}

#[derive(Clone, Copy)]
enum Block {
    /// The file system's superblock.
    Data,
    /// The first block below the hash tree's top: the hashes of the first data blocks.
    Hash,
    /// The hash tree's top.
    Top,
    /// Every block in the middle of the data, where programs are.
    Program,
}

fn tamper(block: Block) -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    image.copy(&disk)?;
    let option = image.manifest.cmdline.split("vakt.verity=").nth(1).unwrap_or_default();
    let data_blocks: u64 = option.split(':').next().unwrap_or_default().parse()?;
    match block {
        Block::Data => flip(&disk, 0)?,
        Block::Hash => flip(&disk, data_blocks + 1)?,
        Block::Top => flip(&disk, data_blocks)?,
        Block::Program => {
            for number in data_blocks / 4..data_blocks * 3 / 4 {
                flip(&disk, number)?;
            }
        }
    }
    let mut guest = Guest::start(&image.by_kernel(&disk), false)?;
    guest.wait(ENDS_WITHIN)?;
    let console = guest.serial.text();
    ensure!(!console.contains("all services ready"), "the machine ran on:\n{console}");
    let reason = match block {
        Block::Top => "no slot has the root",
        Block::Data | Block::Hash | Block::Program => "dm-verity device corrupted",
    };
    ensure!(console.contains(reason), "it stopped for another reason:\n{console}");
    Ok(())
}

/// Flips one bit in the middle of a 4 KiB block of root-a.
fn flip(disk: &Path, block: u64) -> Result<()> {
    let mut file = File::options().read(true).write(true).open(disk)?;
    let at = ROOT_AT + block * 4096 + 1024;
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&[byte[0] ^ 1])?;
    Ok(())
}

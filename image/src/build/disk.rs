//! The GPT disk: table first, then each partition's bytes at its place. The file stays sparse.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use gptman::{GPT, GPTPartitionEntry};

use super::layout::{ALIGN_MIB, DISK_ID, MIB, SECTOR, SLOTS, Slot, guid_bytes};

/// Writes a disk with the given partitions' contents; slots without contents stay zero.
///
/// # Errors
/// When contents do not fit their slot (naming both sizes) or a file cannot be read or written.
pub fn write(path: &Path, contents: &[(Slot, &Path)]) -> anyhow::Result<()> {
    let total_mib = SLOTS.iter().map(|slot| slot.mib).sum::<u64>() + 2 * ALIGN_MIB;
    let mut disk = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    disk.set_len(total_mib * MIB).with_context(|| format!("cannot size {}", path.display()))?;
    let mut table = GPT::new_from(&mut disk, SECTOR, guid_bytes(DISK_ID)).context("cannot make a table")?;
    let mut at_mib = ALIGN_MIB;
    for (index, slot) in SLOTS.iter().enumerate() {
        table[index as u32 + 1] = GPTPartitionEntry {
            partition_type_guid: guid_bytes(slot.kind),
            unique_partition_guid: guid_bytes(slot.id),
            starting_lba: at_mib * MIB / SECTOR,
            ending_lba: (at_mib + slot.mib) * MIB / SECTOR - 1,
            attribute_bits: 0,
            partition_name: slot.label.into(),
        };
        if let Some((_, file)) = contents.iter().find(|(wanted, _)| wanted.label == slot.label) {
            place(&mut disk, at_mib * MIB, *slot, file)?;
        }
        at_mib += slot.mib;
    }
    table.write_into(&mut disk).context("cannot write the table")?;
    GPT::write_protective_mbr_into(&mut disk, SECTOR).context("cannot write the protective MBR")?;
    disk.sync_all()?;
    Ok(())
}

fn place(disk: &mut File, at: u64, slot: Slot, path: &Path) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let size = file.metadata()?.len();
    anyhow::ensure!(size <= slot.mib * MIB, "{size} bytes do not fit {} of {} MiB", slot.label, slot.mib);
    let mut block = vec![0; MIB as usize];
    let mut offset = at;
    loop {
        let length = file.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        // Zeroes stay holes.
        if block[..length].iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(offset))?;
            disk.write_all(&block[..length])?;
        }
        offset += length as u64;
    }
}

//! The disk's partition table (GPT), written so that a power cut at any moment leaves a copy of it that counts.
//!
//! A copy is a header and its entries, some sectors that no disk writes at once. The one at the disk's end is
//! made first and is durable before the one at the beginning is touched. The firmware takes the one at the end
//! when the other is torn, and so does the kernel, which is told `gpt` on its command line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use anyhow::Context;

/// Sector size of the disks that an image is written to. A 4Kn disk needs an image of its own.
pub const SECTOR: u64 = 512;

/// Reads the table of `disk`, from whichever copy counts. The second value says whether the other copy is
/// torn or out of place, and the table has to be written.
///
/// # Errors
/// When neither copy is good.
pub fn read(disk: &mut (impl Read + Seek)) -> anyhow::Result<(gptman::GPT, bool)> {
    let mut table = gptman::GPT::read_from(disk, SECTOR).context("cannot read the partition table")?;
    let is_torn = table.header.is_backup();
    if is_torn {
        // What the primary one has to say.
        table.header.partition_entry_lba = 2;
        table.header.backup_lba = table.header.primary_lba;
        table.header.primary_lba = 1;
    }
    Ok((table, is_torn))
}

/// Writes both copies of `table`. When this returns they are on the disk.
///
/// # Errors
/// When the table is wrong in itself, or the disk cannot be written; a copy counts then too.
pub fn write(table: &mut gptman::GPT, disk: &File) -> anyhow::Result<()> {
    for copy in copies(table)? {
        for (at, bytes) in copy {
            disk.write_all_at(&bytes, at).context("cannot write the partition table")?;
        }
        disk.sync_all().context("cannot sync the partition table")?;
    }
    Ok(())
}

/// What has to be written, by place: the copy at the end, then the one at the beginning.
fn copies(table: &mut gptman::GPT) -> anyhow::Result<[BTreeMap<u64, Vec<u8>>; 2]> {
    let mut writes = Writes::default();
    table.write_into(&mut writes).context("the partition table is wrong")?;
    let mut first = writes.all;
    let last = first.split_off(&((table.header.last_usable_lba + 1) * SECTOR));
    Ok([last, first])
}

/// Writes by place, put nowhere yet.
#[derive(Default)]
struct Writes {
    all: BTreeMap<u64, Vec<u8>>,
    at: u64,
}

impl Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Only what is written piece by piece from one place on comes here; nothing is written twice.
        self.all.insert(self.at, bytes.to_vec());
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Writes {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            _ => return Err(std::io::ErrorKind::Unsupported.into()),
        };
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: u64 = 4096;
    const NEW: u64 = 16384;

    fn entry(from: u64, to: u64) -> gptman::GPTPartitionEntry {
        gptman::GPTPartitionEntry {
            partition_type_guid: [7; 16],
            unique_partition_guid: [from as u8; 16],
            starting_lba: from,
            ending_lba: to,
            attribute_bits: 0,
            partition_name: "vakt-state".into(),
        }
    }

    /// A disk whose table was made for fewer sectors, and that has got longer since.
    fn grown() -> File {
        let mut disk = tempfile::tempfile().unwrap();
        disk.set_len(OLD * SECTOR).unwrap();
        let mut table = gptman::GPT::new_from(&mut disk, SECTOR, [9; 16]).unwrap();
        table[1] = entry(2048, 3000);
        write(&mut table, &disk).unwrap();
        disk.set_len(NEW * SECTOR).unwrap();
        disk
    }

    /// As the kernel looks for it when it is told `gpt`: at the beginning, or else at the very end.
    fn end_of_state(disk: &File) -> u64 {
        let (table, _) = read(&mut disk.try_clone().unwrap()).unwrap();
        table[1].ending_lba
    }

    #[test]
    fn a_cut_at_any_moment_of_growing_leaves_a_table_and_the_next_boot_makes_it_whole() {
        let plan = {
            let mut disk = grown();
            let (mut table, _) = read(&mut disk).unwrap();
            table.header.update_from(&mut disk, SECTOR).unwrap();
            table[1].ending_lba = table.header.last_usable_lba;
            copies(&mut table).unwrap()
        };
        let [last, first] = &plan;
        assert!(last.len() > 100 && first.len() > 100, "each copy is many writes");
        let (old, new) = (3000, NEW - 34);
        let mut torn = 0;
        // Of each copy any one write may be missing, or be the only one that is there.
        for (copy, index) in [(last, 0), (first, 1)] {
            for missing in copy.keys() {
                for alone in [false, true] {
                    let disk = grown();
                    let before = plan[..index].iter().flatten();
                    let some = copy.iter().filter(|(at, _)| (*at == missing) == alone);
                    for (at, bytes) in before.chain(some) {
                        disk.write_all_at(bytes, *at).unwrap();
                    }
                    let end = end_of_state(&disk);
                    assert!(end == old || end == new, "{end} without {missing}, alone: {alone}");
                    let (mut table, is_torn) = read(&mut disk.try_clone().unwrap()).unwrap();
                    torn += u32::from(is_torn);
                    write(&mut table, &disk).unwrap();
                    assert!(!read(&mut disk.try_clone().unwrap()).unwrap().1, "still torn");
                    assert_eq!(end_of_state(&disk), end);
                }
            }
        }
        assert!(torn > 0, "no cut tore the first copy");
    }
}

//! What a power cut leaves: disks rebuilt from QEMU's log of writes (its blklogwrites driver, the format
//! of Linux' dm-log-writes: Documentation/admin-guide/device-mapper/log-writes.rst).
//!
//! Killing QEMU is no power cut, for the host's page cache survives. Here a disk is the one from before,
//! plus every write up to a flush, plus any subset of the writes behind it: a real disk may have written
//! those in any order, or not.

mod rebuild;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
pub use rebuild::Rebuilt;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// Sector size that the log was made with (`log-sector-size=512`).
const SECTOR: u64 = 512;

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where on the disk, in bytes.
    pub at: u64,
    /// How much, in bytes.
    pub length: u64,
    /// Whether everything before it is durable when it is done.
    pub flush: bool,
    /// Whether it is durable itself when it is done.
    pub durable: bool,
    /// Whether it discards instead of writing.
    pub discard: bool,
    /// Where its data lies in the log, in bytes.
    pub data_at: u64,
}

/// The entries that lie whole within the first `bytes` bytes of a log.
///
/// # Errors
/// When it is no log, or cannot be read.
pub fn entries(log: &Path, bytes: u64) -> Result<Vec<Entry>> {
    let mut file = File::open(log).with_context(|| format!("cannot open {}", log.display()))?;
    let mut sector = [0; SECTOR as usize];
    file.read_exact(&mut sector)?;
    ensure!(word(&sector, 0) == MAGIC, "{} is no write log", log.display());
    let mut all = Vec::new();
    let mut at = SECTOR;
    while at + SECTOR <= bytes {
        file.seek(SeekFrom::Start(at))?;
        if file.read_exact(&mut sector).is_err() {
            break;
        }
        let (start, count, flags) = (word(&sector, 0), word(&sector, 8), word(&sector, 16));
        if start == 0 && count == 0 && flags == 0 {
            break;
        }
        let discard = flags & DISCARD != 0;
        let data = if discard { 0 } else { count * SECTOR };
        if at + SECTOR + data > bytes {
            break;
        }
        all.push(Entry {
            at: start * SECTOR,
            length: count * SECTOR,
            flush: flags & FLUSH != 0,
            durable: flags & FUA != 0,
            discard,
            data_at: at + SECTOR,
        });
        at += SECTOR + data;
    }
    Ok(all)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Numbers by chance from a seed, which is printed with a failure (xorshift64: any fair coin does).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Heads or tails.
    pub fn coin(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 33 & 1 == 1
    }
}

/// Which of `entries` a disk has after a cut: all up to the last flush, those that were durable by
/// themselves, and of the rest each with even chance, by a generator seeded with `seed`.
pub fn survivors(entries: &[Entry], seed: u64) -> Vec<Entry> {
    let flushed = entries.iter().rposition(|entry| entry.flush).map_or(0, |last| last + 1);
    let mut chance = Chance::new(seed);
    let chosen = |(index, entry): (usize, &Entry)| {
        (index < flushed || entry.durable || chance.coin()).then_some(*entry)
    };
    entries.iter().enumerate().filter_map(chosen).collect()
}

/// Writes `entries` of `log` onto `disk`.
///
/// # Errors
/// When either cannot be read or written.
pub fn replay(log: &Path, entries: &[Entry], disk: &Path) -> Result<()> {
    let mut source = File::open(log)?;
    let mut target = File::options().write(true).open(disk)?;
    for entry in entries {
        let mut data = vec![0; entry.length as usize];
        if !entry.discard {
            source.seek(SeekFrom::Start(entry.data_at))?;
            source.read_exact(&mut data)?;
        }
        target.seek(SeekFrom::Start(entry.at))?;
        target.write_all(&data)?;
    }
    target.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with (sector, sectors, flags) entries, their data filled with the entry's number.
    pub(super) fn log(path: &Path, all: &[(u64, u64, u64)]) -> u64 {
        let mut bytes = vec![0; SECTOR as usize];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        for (number, (sector, count, flags)) in all.iter().enumerate() {
            let mut head = vec![0; SECTOR as usize];
            for (offset, word) in [(0, sector), (8, count), (16, flags)] {
                head[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
            }
            bytes.extend_from_slice(&head);
            bytes.extend(vec![number as u8 + 1; (count * SECTOR) as usize]);
        }
        std::fs::write(path, &bytes).unwrap();
        bytes.len() as u64
    }

    #[test]
    fn what_was_flushed_survives_and_what_came_later_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let bytes = log(&path, &[(0, 1, 0), (1, 1, 0), (0, 0, FLUSH), (2, 1, 0), (3, 1, FUA), (4, 1, 0)]);
        let all = entries(&path, bytes).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!(entries(&path, bytes - 1).unwrap().len(), 5, "a cut entry is left out");
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let left: Vec<u64> = survivors(&all, seed).iter().map(|entry| entry.at / SECTOR).collect();
            assert!(left.starts_with(&[0, 1, 0]) && left.contains(&3), "{left:?}");
            seen.insert(left);
        }
        assert_eq!(seen.len(), 4, "each of the two later writes may be there or not");
    }

    #[test]
    fn a_replay_puts_the_data_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let (path, disk) = (directory.path().join("log"), directory.path().join("disk"));
        let bytes = log(&path, &[(2, 1, 0), (0, 1, 0), (0, 0, FLUSH)]);
        std::fs::write(&disk, vec![0; 4 * SECTOR as usize]).unwrap();
        replay(&path, &entries(&path, bytes).unwrap(), &disk).unwrap();
        let written = std::fs::read(&disk).unwrap();
        assert_eq!((written[0], written[512], written[1024]), (2, 0, 1));
    }
}

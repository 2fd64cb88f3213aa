//! One disk, brought to where a cut left it and back again: a thousand cuts of one recording need no thousand
//! copies.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Entry;

/// A disk that follows its recorded writes.
#[derive(Debug)]
pub struct Rebuilt {
    disk: File,
    logs: Vec<File>,
    /// The writes in order, each with the log that has its data.
    entries: Vec<(usize, Entry)>,
    /// How many of them the disk has.
    applied: usize,
    /// What the writes in flight replaced, to be put back.
    replaced: Vec<(u64, Vec<u8>)>,
}

impl Rebuilt {
    /// `disk` is as it was before the first of `logs`, which follow each other.
    ///
    /// # Errors
    /// When one of them is no log, or cannot be opened.
    pub fn new(disk: &Path, logs: &[&Path]) -> Result<Rebuilt> {
        let mut entries = Vec::new();
        for (index, log) in logs.iter().enumerate() {
            let length = log.metadata()?.len();
            entries.extend(super::entries(log, length)?.into_iter().map(|entry| (index, entry)));
        }
        let logs = logs.iter().map(File::open).collect::<Result<_, _>>()?;
        let disk = File::options().read(true).write(true).open(disk)?;
        Ok(Rebuilt { disk, logs, entries, applied: 0, replaced: Vec::new() })
    }

    /// The writes, in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// How many writes lie whole within the first `bytes` bytes of log number `log` and those before it.
    pub fn position(&self, log: usize, bytes: u64) -> usize {
        let lies_within = |(of, entry): &&(usize, Entry)| {
            let data = if entry.discard { 0 } else { entry.length };
            *of < log || *of == log && entry.data_at + data <= bytes
        };
        self.entries.iter().take_while(lies_within).count()
    }

    /// Writes on until the disk has the first `count` writes.
    ///
    /// # Errors
    /// When it has more already, or cannot be written.
    pub fn forward(&mut self, count: usize) -> Result<()> {
        ensure!(self.applied <= count && self.replaced.is_empty(), "the disk is beyond write {count}");
        while self.applied < count {
            let (log, entry) = self.entries[self.applied];
            self.write(log, entry)?;
            self.applied += 1;
        }
        Ok(())
    }

    /// Of the writes behind those that the disk has, writes these, given by their number.
    ///
    /// # Errors
    /// When the disk cannot be read or written.
    pub fn in_flight(&mut self, survivors: &[usize]) -> Result<()> {
        for number in survivors {
            let (log, entry) = *self.entries.get(*number).context("no such write")?;
            let mut before = vec![0; entry.length as usize];
            self.disk.read_exact_at(&mut before, entry.at)?;
            self.replaced.push((entry.at, before));
            self.write(log, entry)?;
        }
        Ok(())
    }

    /// Takes the writes in flight back.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn back(&mut self) -> Result<()> {
        for (at, before) in self.replaced.drain(..).rev() {
            self.disk.write_all_at(&before, at)?;
        }
        Ok(())
    }

    fn write(&self, log: usize, entry: Entry) -> Result<()> {
        let mut data = vec![0; entry.length as usize];
        if !entry.discard {
            self.logs[log].read_exact_at(&mut data, entry.data_at)?;
        }
        Ok(self.disk.write_all_at(&data, entry.at)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::log;
    use super::*;

    #[test]
    fn a_disk_goes_forward_has_some_of_what_was_in_flight_and_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, first, second) =
            (directory.path().join("disk"), directory.path().join("1"), directory.path().join("2"));
        std::fs::write(&disk, vec![0; 4096]).unwrap();
        let bytes = log(&first, &[(0, 1, 0), (0, 0, 1), (1, 1, 0)]);
        log(&second, &[(1, 1, 0), (2, 1, 0)]);
        let mut rebuilt = Rebuilt::new(&disk, &[&first, &second]).unwrap();
        assert_eq!(rebuilt.entries().len(), 5);
        assert_eq!((rebuilt.position(0, bytes), rebuilt.position(0, bytes - 1)), (3, 2));
        let seen = || [0, 512, 1024].map(|at| std::fs::read(&disk).unwrap()[at]);
        rebuilt.forward(3).unwrap();
        assert_eq!(seen(), [1, 3, 0]);
        rebuilt.in_flight(&[3, 4]).unwrap();
        assert_eq!(seen(), [1, 1, 2]);
        rebuilt.back().unwrap();
        assert_eq!(seen(), [1, 3, 0]);
        rebuilt.in_flight(&[4]).unwrap();
        assert!(rebuilt.forward(4).is_err(), "not with writes in flight");
    }
}

//! A disk's two slots, worked on from outside: what an update would have written, and what the boot
//! partition says afterwards.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use vakt_image::build::{Built, hex};
use vakt_image::process::run;

use crate::{programs, updates};

/// Where UKIs are on the ESP.
const ENTRIES: &str = "EFI/Linux";

/// A version of the appliance, as an update brings it.
#[derive(Clone, Debug)]
pub struct Release {
    /// The root with its hash tree.
    pub root: Vec<u8>,
    /// The UKI.
    pub uki: Vec<u8>,
}

impl Release {
    /// Builds `version` from today's programs, with a root tree that `change` worked on. The initramfs is
    /// today's, whatever became of the root.
    ///
    /// # Errors
    /// When a step of the image builder fails.
    pub fn build(version: &str, change: impl FnOnce(&Path) -> Result<()>) -> Result<Release> {
        let directory = tempfile::tempdir()?;
        Release::of(&updates::build(version, directory.path(), change)?)
    }

    /// The release that an image consists of.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn of(built: &Built) -> Result<Release> {
        let disk = Disk::new(&built.disk);
        let mut root = disk.partition("vakt-root-a")?.contents()?;
        root.truncate(built.manifest.root_bytes as usize);
        let uki = disk.read(&format!("vakt-a_{}.efi", built.manifest.version))?;
        Ok(Release { root, uki })
    }
}

/// A raw disk of a machine that is off.
#[derive(Clone, Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// The disk at `path`.
    pub fn new(path: &Path) -> Disk {
        Disk(path.to_owned())
    }

    /// Puts a release into slot b and stages its UKI from there with `vakt-init esp`, as the box does; then
    /// its name gets another counter than `+3-0`, if that is wished.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn install(&self, release: &Release, version: &str, counter: &str) -> Result<()> {
        let slot = self.partition("vakt-root-b")?;
        ensure!((release.root.len() + release.uki.len()) as u64 <= slot.length, "it does not fit slot b");
        slot.file.write_all_at(&release.root, slot.from)?;
        slot.file.write_all_at(&release.uki, slot.from + release.root.len() as u64)?;
        let directory = tempfile::tempdir()?;
        let copy = directory.path().join("esp");
        let esp = self.partition("vakt-esp")?;
        fs::write(&copy, esp.contents()?)?;
        let offset = (slot.from + release.root.len() as u64).to_string();
        let (length, hash) = (release.uki.len().to_string(), hex(&Sha256::digest(&release.uki)));
        let arguments = ["stage", "b", version, &self.0.to_string_lossy(), &offset, &length, &hash];
        run(Command::new(programs::path("vakt-init")?).arg("esp").arg("--esp").arg(&copy).args(arguments))?;
        let volume = Disk::new(&copy).volume()?;
        let entries = volume.root_dir().open_dir(ENTRIES)?;
        let name = |counter: &str| format!("vakt-b_{version}{counter}.efi");
        if counter != "+3-0" {
            entries.rename(&name("+3-0"), &entries, &name(counter))?;
        }
        drop(entries);
        volume.unmount()?;
        esp.file.write_all_at(&fs::read(&copy)?, esp.from)?;
        Ok(())
    }

    /// Flips a bit of a 4 KiB block of slot b.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn damage(&self, block: u64) -> Result<()> {
        let slot = self.partition("vakt-root-b")?;
        let at = slot.from + block * 4096 + 1024;
        let mut byte = [0];
        slot.file.read_exact_at(&mut byte, at)?;
        slot.file.write_all_at(&[byte[0] ^ 1], at)?;
        Ok(())
    }

    /// The names of the boot entries, sorted.
    ///
    /// # Errors
    /// When the boot partition cannot be read.
    pub fn entries(&self) -> Result<Vec<String>> {
        let volume = self.volume()?;
        let mut names = Vec::new();
        for entry in volume.root_dir().open_dir(ENTRIES)?.iter() {
            let entry = entry?;
            if entry.is_file() {
                names.push(entry.file_name());
            }
        }
        names.sort();
        Ok(names)
    }

    /// A boot entry's bytes.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let volume = self.volume()?;
        let mut bytes = Vec::new();
        let file = volume.root_dir().open_dir(ENTRIES)?.open_file(name);
        file.with_context(|| format!("no {name}"))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Puts other bytes into a boot entry that is there.
    ///
    /// # Errors
    /// When there is none, or no room.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let volume = self.volume()?;
        let mut file =
            volume.root_dir().open_dir(ENTRIES)?.open_file(name).with_context(|| format!("no {name}"))?;
        file.truncate()?;
        file.write_all(bytes)?;
        file.flush()?;
        drop(file);
        Ok(volume.unmount()?)
    }

    fn volume(&self) -> Result<fatfs::FileSystem<Part>> {
        // A file of its own that is only a boot partition will do as well.
        let part = self.partition("vakt-esp").or_else(|_| Part::whole(&self.0))?;
        fatfs::FileSystem::new(part, fatfs::FsOptions::new()).context("cannot open the boot partition")
    }

    /// Overwrites a part of the partition with this label, all of it that `bytes` cover.
    ///
    /// # Errors
    /// When there is no such partition, or it cannot be written.
    pub fn overwrite(&self, label: &str, at: u64, bytes: &[u8]) -> Result<()> {
        let part = self.partition(label)?;
        let end = (at + bytes.len() as u64).min(part.length);
        part.file.write_all_at(&bytes[..end.saturating_sub(at) as usize], part.from + at)?;
        Ok(())
    }

    /// Reads a part of the partition with this label.
    ///
    /// # Errors
    /// When there is no such partition, or it is shorter.
    pub fn look(&self, label: &str, at: u64, length: usize) -> Result<Vec<u8>> {
        let part = self.partition(label)?;
        let mut bytes = vec![0; length];
        part.file.read_exact_at(&mut bytes, part.from + at)?;
        Ok(bytes)
    }

    /// Copies the partition with this label to a file of its own, its holes left out.
    ///
    /// # Errors
    /// When there is no such partition, or the file cannot be written.
    pub fn copy_out(&self, label: &str, to: &Path) -> Result<()> {
        let part = self.partition(label)?;
        let target = File::create(to)?;
        target.set_len(part.length)?;
        let (mut at, end) = (part.from, part.from + part.length);
        let mut piece = vec![0; 1 << 20];
        // Past the last data there is only a hole.
        while let Ok(data) = rustix::fs::seek(&part.file, rustix::fs::SeekFrom::Data(at)) {
            let hole = rustix::fs::seek(&part.file, rustix::fs::SeekFrom::Hole(data))?.min(end);
            at = data;
            while at < hole {
                let length = piece.len().min((hole - at) as usize);
                part.file.read_exact_at(&mut piece[..length], at)?;
                target.write_all_at(&piece[..length], at - part.from)?;
                at += length as u64;
            }
            if at >= end {
                break;
            }
        }
        Ok(())
    }

    /// Bytes of the partition with this label.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn length(&self, label: &str) -> Result<u64> {
        Ok(self.partition(label)?.length)
    }

    fn partition(&self, label: &str) -> Result<Part> {
        let mut file = File::options().read(true).write(true).open(&self.0)?;
        let table = gptman::GPT::find_from(&mut file)?;
        let found = table.iter().find(|(_, entry)| entry.partition_name.as_str() == label);
        let (_, entry) = found.with_context(|| format!("no partition {label}"))?;
        let (from, end) = (entry.starting_lba * 512, (entry.ending_lba + 1) * 512);
        Ok(Part { file, from, length: end - from, position: 0 })
    }
}

/// A part of a file, as a file.
#[derive(Debug)]
struct Part {
    file: File,
    from: u64,
    length: u64,
    position: u64,
}

impl Part {
    fn whole(path: &Path) -> Result<Part> {
        let file = File::options().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Part { file, from: 0, length, position: 0 })
    }

    fn contents(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.length as usize];
        self.file.read_exact_at(&mut bytes, self.from)?;
        Ok(bytes)
    }

    fn room(&self, wanted: usize) -> usize {
        wanted.min((self.length - self.position) as usize)
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = self.room(buffer.len());
        let length = self.file.read_at(&mut buffer[..room], self.from + self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = self.room(bytes.len());
        let length = self.file.write_at(&bytes[..room], self.from + self.position)?;
        self.position += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        let position = position.filter(|position| *position <= self.length);
        self.position = position.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

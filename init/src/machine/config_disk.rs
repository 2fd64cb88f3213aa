//! A disk or partition labelled `VAKTCFG` (FAT), from which the first config is taken.
//!
//! It is read with a FAT reader in this process, never mounted: the kernel's own driver is larger
//! and would have to be loaded for this alone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Context;
use vakt_wire::config::BYTES_MAX;

use super::disk;

/// The volume label.
const LABEL: &[u8; 11] = b"VAKTCFG    ";

/// The file on it.
const FILE: &str = "vakt.toml";

/// The text of `vakt.toml` on the first disk with the label, with the disk's name; `None` when no
/// such disk is there.
///
/// # Errors
/// When a disk has the label and the file cannot be read.
pub fn read() -> anyhow::Result<Option<(String, String)>> {
    for node in disk::nodes() {
        if has_label(&node) {
            let text = read_file(&node).with_context(|| format!("{FILE} on {} (VAKTCFG)", node.display()))?;
            return Ok(Some((node.display().to_string(), text)));
        }
    }
    Ok(None)
}

/// FAT keeps the label in the boot sector: at 43 for FAT12 and FAT16, at 71 for FAT32.
fn has_label(node: &Path) -> bool {
    let mut sector = [0; 512];
    let read = File::open(node).and_then(|mut file| file.read_exact(&mut sector));
    read.is_ok() && sector[510..] == [0x55, 0xAA] && (&sector[43..54] == LABEL || &sector[71..82] == LABEL)
}

fn read_file(node: &Path) -> anyhow::Result<String> {
    // fatfs wants to write as well, even when it only reads.
    let mut device = ReadOnly(File::open(node)?);
    device.seek(SeekFrom::Start(0))?;
    let volume = fatfs::FileSystem::new(device, fatfs::FsOptions::new())?;
    let file = volume.root_dir().open_file(FILE)?;
    let mut text = String::new();
    file.take(BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// A device that swallows no write: any attempt is an error.
struct ReadOnly(File);

impl Read for ReadOnly {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for ReadOnly {
    fn seek(&mut self, position: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(position)
    }
}

impl std::io::Write for ReadOnly {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_read_from_a_labelled_volume_and_from_no_other() {
        let directory = tempfile::tempdir().unwrap();
        for (label, expected) in [(*LABEL, true), (*b"OTHER      ", false)] {
            let path = directory.path().join("disk");
            let mut file =
                File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
            file.set_len(1 << 20).unwrap();
            fatfs::format_volume(&mut file, fatfs::FormatVolumeOptions::new().volume_label(label)).unwrap();
            let volume = fatfs::FileSystem::new(&mut file, fatfs::FsOptions::new()).unwrap();
            std::io::Write::write_all(&mut volume.root_dir().create_file(FILE).unwrap(), b"version = 1")
                .unwrap();
            volume.unmount().unwrap();
            assert_eq!(has_label(&path), expected);
            assert_eq!(read_file(&path).unwrap(), "version = 1");
        }
    }
}

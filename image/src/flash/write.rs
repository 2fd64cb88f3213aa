//! Writing and reading back.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::{Advice, OFlags, fadvise};
use sha2::{Digest, Sha256};

use super::progress::Progress;
use super::source::Source;
use crate::build::hex;

/// What is read and written at a time: many times the largest erase block that sticks are known to have asked for.
const BLOCK_BYTES: usize = 4 << 20;

/// After this much the disk must have it, so that the bar tells of the disk and not of the page cache.
const SYNC_EVERY: u64 = 32 << 20;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of them, as they were read back from the disk.
    pub sha256: String,
}

/// Writes `source` to the begin of `device` and reads it back from the disk itself, past the page cache.
///
/// # Errors
/// When the device is in use, ends too early or fails; when the image is cut short; when what is read back differs.
pub fn flash(source: Source, device: &Path) -> anyhow::Result<Written> {
    // Exclusive: of a block device that is mounted or held the kernel says EBUSY (open(2)).
    let mut target = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlags::EXCL.bits() as i32)
        .open(device)
        .with_context(|| format!("cannot open {} for writing", device.display()))?;
    let bytes = source.bytes;
    let wanted =
        write(source, &mut target).with_context(|| format!("cannot write to {}", device.display()))?;
    let found = read_back(&target, device, bytes)?;
    anyhow::ensure!(
        wanted == found,
        "{} does not keep what is written to it (SHA-256 {found} instead of {wanted}); use another one",
        device.display()
    );
    Ok(Written { bytes, sha256: found })
}

/// Returns the hash of what was written.
fn write(mut source: Source, target: &mut File) -> anyhow::Result<String> {
    let mut progress = Progress::new("writing", source.bytes);
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; BLOCK_BYTES]);
    let (mut done, mut synced) = (0, 0);
    loop {
        let length = fill(&mut source.reader, &mut buffer).context("the image cannot be read to its end")?;
        if length == 0 {
            break;
        }
        done += length as u64;
        anyhow::ensure!(done <= source.bytes, "the image is longer than the {} bytes it says", source.bytes);
        target.write_all(&buffer[..length])?;
        hash.update(&buffer[..length]);
        if done - synced >= SYNC_EVERY {
            target.sync_data()?;
            synced = done;
        }
        progress.at(done);
    }
    anyhow::ensure!(done == source.bytes, "the image ends after {done} of {} bytes", source.bytes);
    target.sync_all()?;
    Ok(hex(&hash.finalize()))
}

/// Returns the hash of the device's first `bytes`.
fn read_back(target: &File, device: &Path, bytes: u64) -> anyhow::Result<String> {
    // All of it is on the disk by now; without this the page cache would answer.
    fadvise(target, 0, None, Advice::DontNeed).context("cannot drop the page cache of the disk")?;
    let mut from =
        File::open(device).with_context(|| format!("cannot read {} back", device.display()))?.take(bytes);
    let mut progress = Progress::new("reading", bytes);
    let (mut hash, mut buffer, mut done) = (Sha256::new(), vec![0; BLOCK_BYTES], 0);
    loop {
        let length =
            fill(&mut from, &mut buffer).with_context(|| format!("cannot read {} back", device.display()))?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        done += length as u64;
        progress.at(done);
    }
    anyhow::ensure!(done == bytes, "{} gives back only {done} of {bytes} bytes", device.display());
    Ok(hex(&hash.finalize()))
}

/// As much as fits, so that a device is written in whole blocks; less only at the end.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(contents: &[u8], said: u64) -> Source {
        Source { reader: Box::new(std::io::Cursor::new(contents.to_vec())), bytes: said }
    }

    #[test]
    fn what_was_behind_the_image_stays_and_the_hash_is_of_the_image() {
        let disk = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(disk.path(), [9; 10]).unwrap();
        let written = flash(source(b"image", 5), disk.path()).unwrap();
        assert_eq!(written, Written { bytes: 5, sha256: hex(&Sha256::digest(b"image")) });
        assert_eq!(std::fs::read(disk.path()).unwrap(), b"image\x09\x09\x09\x09\x09");
    }

    #[test]
    fn an_image_of_another_length_than_it_says_is_an_error() {
        let disk = tempfile::NamedTempFile::new().unwrap();
        for (said, expected) in [(6, "ends after 5 of 6"), (4, "longer than the 4")] {
            let error = format!("{:#}", flash(source(b"image", said), disk.path()).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}

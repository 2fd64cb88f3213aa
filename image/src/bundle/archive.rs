//! The archive: one update and the metadata for it, in the order in which a box takes it.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::Digest;
use vakt_update::archive::tar::{BLOCK, Entry};
use vakt_update::digest::Sha256;

use super::repository::in_force;

/// Writes the repository's metadata and then `files`, which are targets of it, to `output`.
///
/// # Errors
/// When something cannot be read or written, or a path does not fit the format.
pub fn write(repository: &Path, files: &[PathBuf], output: &Path) -> anyhow::Result<()> {
    let file = File::create(output).with_context(|| format!("cannot make {}", output.display()))?;
    let mut archive = BufWriter::new(file);
    for path in in_force(repository)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        append(&mut archive, &format!("metadata/{name}"), &path)?;
    }
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        append(&mut archive, &format!("targets/{}.{name}", hash(path)?), path)?;
    }
    // The end: two blocks of zeroes.
    archive.write_all(&[0; 2 * BLOCK])?;
    archive.into_inner().context("cannot write the archive")?.sync_all()?;
    Ok(())
}

fn append(archive: &mut impl Write, path: &str, from: &Path) -> anyhow::Result<()> {
    let mut file = File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
    let entry = Entry { path: path.to_owned(), bytes: file.metadata()?.len() };
    archive.write_all(&entry.encode().map_err(anyhow::Error::msg)?)?;
    let copied = std::io::copy(&mut file, archive)?;
    anyhow::ensure!(copied == entry.bytes, "{} changed while it was read", from.display());
    archive.write_all(&vec![0; entry.padding() as usize])?;
    Ok(())
}

fn hash(path: &Path) -> anyhow::Result<Sha256> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let (mut running, mut buffer) = (sha2::Sha256::new(), vec![0; 1 << 16]);
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(Sha256::finish(running));
        }
        running.update(&buffer[..length]);
    }
}

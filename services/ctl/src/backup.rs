//! `vaktctl backup` and `vaktctl restore`.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::box_api::BoxApi;

/// A catalog is read and encrypted, or checked and written, document by document.
const DONE_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Largest backup, as the box' own bound.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Longest passphrase.
const PASSPHRASE_BYTES_MAX: u64 = 1024;

/// A backup, to be made or restored.
#[derive(Clone, Debug, clap::Args)]
pub struct Backup {
    /// The file; `age -d` opens it too
    file: PathBuf,
    /// A file that holds the passphrase; without it the first line of standard input is
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
}

impl Backup {
    /// Has the box make a backup and writes it to the file, which must not be there yet.
    ///
    /// # Errors
    /// When the box does not answer or refuses, or the file cannot be written.
    pub fn make(self, to: &BoxApi, out: &mut impl Write) -> anyhow::Result<()> {
        let headers = header(&self.passphrase()?);
        anyhow::ensure!(!self.file.exists(), "{} is there already", self.file.display());
        let bytes = to.raw("POST", "/api/vakt/v1/backup", &headers, b"", DONE_WITHIN)?;
        anyhow::ensure!(
            bytes.starts_with(b"age-encryption.org/v1\n"),
            "the box gave something else than a backup"
        );
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file);
        let file =
            file.as_mut().map_err(|error| anyhow::anyhow!("cannot make {}: {error}", self.file.display()))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).context("cannot write the backup")?;
        writeln!(
            out,
            "{}: {} bytes; without the passphrase nobody opens it",
            self.file.display(),
            bytes.len()
        )?;
        Ok(())
    }

    /// Has the box restore the file.
    ///
    /// # Errors
    /// When the box does not answer, or refuses the file; nothing was changed then.
    pub fn restore(self, to: &BoxApi, out: &mut impl Write) -> anyhow::Result<()> {
        let headers = header(&self.passphrase()?);
        let bytes = read(&self.file, FILE_BYTES_MAX)?;
        let said = to.raw("POST", "/api/vakt/v1/restore", &headers, &bytes, DONE_WITHIN)?;
        let said: Value = serde_json::from_slice(&said).context("the box gave no JSON")?;
        let count = |key: &str| said[key].as_u64().unwrap_or(0);
        writeln!(out, "restored the backup of {}", said["of"].as_str().unwrap_or_default())?;
        writeln!(out, "users: {} added, {} kept as they are", count("users_added"), count("users_kept"))?;
        if said["evidence_kept"] == true {
            writeln!(out, "evidence: the box keeps its own")?;
        } else {
            writeln!(out, "evidence: {} records", count("evidence"))?;
        }
        if let (Some(seconds), Some(number)) =
            (said["config"]["confirm_within_s"].as_u64(), said["config"]["number"].as_u64())
        {
            writeln!(out, "config: revision {number} is on trial")?;
            writeln!(out, "keep it within {seconds} s with: vaktctl config confirm {number}")?;
        }
        Ok(())
    }

    fn passphrase(&self) -> anyhow::Result<String> {
        let mut line = String::new();
        match &self.passphrase_file {
            Some(file) => {
                line = String::from_utf8(read(file, PASSPHRASE_BYTES_MAX)?)
                    .context("the passphrase is no text")?
            }
            None => {
                eprint!("passphrase: ");
                std::io::stdin().take(PASSPHRASE_BYTES_MAX + 2).read_to_string(&mut line)?;
            }
        }
        Ok(line.lines().next().unwrap_or_default().to_owned())
    }
}

fn read(file: &Path, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(bytes.len() as u64 <= bytes_max, "{} has more than {bytes_max} bytes", file.display());
    Ok(bytes)
}

fn header(passphrase: &str) -> String {
    let hex: String = passphrase.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("X-Vakt-Passphrase: {hex}\r\n")
}

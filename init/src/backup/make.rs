//! `vakt-init backup`: streams a backup to who asked.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use vakt_wire::config::{self, edit};

use super::age::Sealer;
use super::call::{Caller, Chunked, each_document};
use super::contents::{FORMAT, Head, Line, TABLES, write_line};
use super::{FILE_BYTES_MAX, OWN_STATE};
use crate::ledger::desk::LEDGER;
use crate::sys;

/// What does not change while it runs: read before the answer begins, so that a failure has a status.
struct Known {
    head: Head,
    config: String,
    evidence_key: String,
}

/// Answers the caller that PID 1 handed over.
///
/// # Errors
/// When the backup is not complete; the caller sees it broken off.
pub fn main() -> anyhow::Result<ExitCode> {
    let mut caller = Caller::take()?;
    let known = match known(Path::new(OWN_STATE)) {
        Ok(known) => known,
        Err(error) => {
            caller.answer(500, &json!({ "error": format!("{error:#}") }))?;
            return Err(error);
        }
    };
    caller.stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    )?;
    // A chunk of the answer for each one of the file.
    let out = BufWriter::with_capacity(64 << 10, Chunked(caller.stream));
    let out = write(Bounded { out, left: FILE_BYTES_MAX }, &caller.told.passphrase, &known)?;
    out.out.into_inner().map_err(|error| error.into_error())?.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn known(state: &Path) -> anyhow::Result<Known> {
    let text = fs::read(state.join(LEDGER)).context("cannot read the ledger")?;
    let settled = crate::ledger::settled_text(&text)?;
    let keys = |purpose: &str| {
        let path = state.join(format!("ssh_{purpose}_ed25519"));
        // A box whose config has its own keys never made any.
        fs::read_to_string(path).unwrap_or_default()
    };
    let (read_key, repair_key) = (keys("read"), keys("repair"));
    let config = match (read_key.is_empty(), repair_key.is_empty()) {
        (false, false) => edit::add_ssh_keys(&settled, &read_key, &repair_key)?,
        _ => settled,
    };
    let name = config::parse(&config).map_err(|error| anyhow::anyhow!("the config: {error}"))?.hostname;
    let seed = fs::read(state.join("evidence.key")).context("cannot read the evidence's key")?;
    Ok(Known {
        head: Head {
            vakt_backup: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            name: name.to_string(),
            at_s: sys::unix_s(),
        },
        config,
        evidence_key: seed.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn write<W: Write>(out: W, passphrase: &str, known: &Known) -> anyhow::Result<W> {
    let mut sealer = Sealer::new(out, passphrase)?;
    write_line(&mut sealer, &known.head)?;
    write_line(&mut sealer, &Line::Config { config: known.config.clone() })?;
    write_line(&mut sealer, &Line::Key { evidence_key: known.evidence_key.clone() })?;
    let mut rows = 0;
    for table in TABLES {
        each_document(table, |key, value| {
            rows += 1;
            write_line(&mut sealer, &Line::Row { table: table.into(), key, value })
        })?;
    }
    write_line(&mut sealer, &Line::End { rows })?;
    Ok(sealer.finish()?)
}

/// A file that no box would restore is not made.
struct Bounded<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            std::io::Error::other(format!(
                "the catalog does not fit a backup of {} MiB",
                FILE_BYTES_MAX >> 20
            ))
        })?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

//! The ledger's copy in the store's catalog, for the pages and for backups. It is written by a
//! short-lived child of init (`vakt-init mirror`), so that PID 1 never waits for the store, and nothing
//! is ever read back from it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::{Revision, file, secrets};

/// The store answers in milliseconds; a store that is away gets the copy after the next change.
const CALL_WITHIN: Duration = Duration::from_secs(5);

/// The catalog's own bound of a value (services/store); a longer document is mirrored without its text.
const VALUE_BYTES_MAX: usize = 256 << 10;

/// Answers here are a status line and a short reason.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Copies every revision of the ledger at `path` to the catalog behind `socket`.
///
/// # Errors
/// At the first one that is not taken.
pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let [path, socket] = arguments else { anyhow::bail!("mirror needs the ledger and the store's socket") };
    let (ledger, _) = file::load(Path::new(path), 0)?;
    let settled = ledger.settled().number;
    for revision in ledger.revisions() {
        put(Path::new(socket), revision, revision.number == settled)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn put(socket: &Path, revision: &Revision, in_force: bool) -> anyhow::Result<()> {
    // The key sorts as the number does; no secret leaves init.
    let key = format!("{:010}", revision.number);
    let mut value = json!({
        "number": revision.number, "at_s": revision.at_s, "by": revision.by, "why": revision.why,
        "undone": revision.undone, "in_force": in_force, "text": secrets::hide(&revision.text),
    });
    let mut body = value.to_string();
    if body.len() > VALUE_BYTES_MAX {
        value["text"] = serde_json::Value::Null;
        body = value.to_string();
    }
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("cannot reach {}", socket.display()))?;
    stream.set_read_timeout(Some(CALL_WITHIN))?;
    stream.set_write_timeout(Some(CALL_WITHIN))?;
    write!(
        stream,
        "PUT /catalog/v1/config/{key} HTTP/1.1\r\nHost: store\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(status.contains(" 20"), "the catalog did not take revision {key}: {status}");
    Ok(())
}

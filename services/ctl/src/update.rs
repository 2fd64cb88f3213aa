//! `vaktctl update …`: what is available, and installing it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::box_api::BoxApi;

/// Where updates are in the API.
const UPDATE: &str = "/api/vakt/v1/update";

/// From the last byte of an archive to the box' decision: writing and reading back on a slow disk.
const DECIDED_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Signed updates of a box.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Update {
    /// What is available, what is under way, how the last install ended
    Status,
    /// Have the box look at its repository
    Check,
    /// Have the box install the newest version of its repository
    Install,
    /// Install an archive that `vakt-image bundle --archive` made
    Upload {
        /// The archive
        archive: PathBuf,
    },
}

impl Update {
    /// Carries it out and prints the result on `out`.
    ///
    /// # Errors
    /// When the box does not answer or refuses.
    pub fn run(self, to: &BoxApi, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Update::Status => status(&to.get(UPDATE)?, out)?,
            Update::Check => {
                to.post(&format!("{UPDATE}/check"), &json!({}))?;
                writeln!(out, "the box looks at its repository; see vaktctl update status")?;
            }
            Update::Install => {
                to.post(&format!("{UPDATE}/install"), &json!({}))?;
                writeln!(out, "the box installs; see vaktctl update status")?;
            }
            Update::Upload { archive } => {
                let bytes =
                    std::fs::read(&archive).with_context(|| format!("cannot read {}", archive.display()))?;
                to.upload(&format!("{UPDATE}/archive"), &bytes, DECIDED_WITHIN)?;
                status(&to.get(UPDATE)?, out)?;
            }
        }
        Ok(())
    }
}

fn status(found: &Value, out: &mut impl Write) -> anyhow::Result<()> {
    let word = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    writeln!(out, "phase: {}", word(&found["phase"]))?;
    if let Some(available) = found["available"].as_object() {
        writeln!(out, "available: {}", word(&available["version"]))?;
    }
    if let Some(reason) = found["checked"]["refused"]["reason"].as_str() {
        writeln!(out, "the last look at the repository failed: {reason}")?;
    }
    let last = &found["last"];
    if last.is_object() {
        write!(
            out,
            "last: {} from {}: {}",
            word(&last["version"]),
            word(&last["source"]),
            word(&last["outcome"])
        )?;
        if let Some(reason) = last["refused"]["reason"].as_str() {
            write!(out, ": {reason}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        let mut out = Vec::new();
        let found = json!({ "phase": "idle", "last": { "version": "0.2.0", "source": "archive", "outcome": "refused",
            "refused": { "reason": "the signature of targets.json is wrong" } } });
        status(&found, &mut out).unwrap();
        let said = String::from_utf8(out).unwrap();
        assert_eq!(
            said,
            "phase: idle\nlast: 0.2.0 from archive: refused: the signature of targets.json is wrong\n"
        );
    }
}

//! `vaktctl config …`: read, check, apply on trial, confirm, go back.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use similar::TextDiff;
use vakt_wire::time;

use crate::box_api::BoxApi;

/// Where the config is in the API.
const CONFIG: &str = "/api/vakt/v1/config";

/// Largest document that is read, as the box' own bound.
const BYTES_MAX: u64 = 1 << 20;

/// The machine config of a box.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Config {
    /// Print the document in force; private keys are shown as "(kept)"
    Get {
        /// Another revision of the history
        #[arg(long)]
        revision: Option<u64>,
    },
    /// Show what FILE would change
    Diff {
        /// The new document, or - for standard input
        file: PathBuf,
    },
    /// Check FILE on the box and say what it would do; exits 1 when it is refused
    Validate {
        /// The new document, or - for standard input
        file: PathBuf,
    },
    /// Apply FILE
    Apply {
        /// The new document, or - for standard input
        file: PathBuf,
        /// Undo it unless it is confirmed within this time (10s to 1h); 5m when it can lock you out
        #[arg(long, value_parser = seconds)]
        confirm_within: Option<u32>,
        /// From the next boot on, on trial then
        #[arg(long)]
        at_boot: bool,
        /// Why; kept in the history
        #[arg(long, default_value = "")]
        why: String,
        /// The revision that FILE was made from; refused when another one is in force by now
        #[arg(long)]
        base: Option<u64>,
    },
    /// Keep the change that is on trial
    Confirm {
        /// Its revision; the one on trial when left out
        revision: Option<u64>,
    },
    /// Undo the change that is on trial or waits for a boot
    TakeBack,
    /// List the revisions
    History,
    /// Apply an earlier revision again
    Rollback {
        /// Which one
        revision: u64,
        /// Undo it unless it is confirmed within this time
        #[arg(long, value_parser = seconds)]
        confirm_within: Option<u32>,
    },
}

impl Config {
    /// Carries it out and prints the result on `out`.
    ///
    /// # Errors
    /// When the box does not answer or refuses.
    pub fn run(self, to: &BoxApi, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Config::Get { revision } => write!(out, "{}", text(to, revision)?)?,
            Config::Diff { file } => {
                let (old, new) = (text(to, None)?, document(&file)?);
                let diff = TextDiff::from_lines(&old, &new);
                write!(out, "{}", diff.unified_diff().header("in force", &file.display().to_string()))?;
            }
            Config::Validate { file } => {
                let found = to.post(&format!("{CONFIG}/validate"), &json!({ "text": document(&file)? }))?;
                writeln!(out, "valid; restarts {}", restarts(&found))?;
                if found["needs_confirmation"] == true {
                    writeln!(out, "it can lock you out: it will be on trial")?;
                }
            }
            Config::Apply { file, confirm_within, at_boot, why, base } => {
                let mut wish = json!({ "text": document(&file)?, "why": why });
                wish["effective"] = if at_boot { "boot".into() } else { "now".into() };
                put(&mut wish, "confirm_within_s", confirm_within.map(u64::from));
                put(&mut wish, "base", base);
                applied(&to.post(&format!("{CONFIG}/apply"), &wish)?, at_boot, out)?;
            }
            Config::Rollback { revision, confirm_within } => {
                let mut wish = json!({ "number": revision, "why": format!("back to revision {revision}") });
                put(&mut wish, "confirm_within_s", confirm_within.map(u64::from));
                applied(&to.post(&format!("{CONFIG}/rollback"), &wish)?, false, out)?;
            }
            Config::Confirm { revision } => {
                let number = match revision {
                    Some(number) => number,
                    None => to.get(CONFIG)?["pending"]["number"].as_u64().context("nothing is on trial")?,
                };
                to.post(&format!("{CONFIG}/confirm"), &json!({ "number": number }))?;
                writeln!(out, "revision {number} is kept")?;
            }
            Config::TakeBack => {
                let found = to.post(&format!("{CONFIG}/take-back"), &json!({}))?;
                writeln!(out, "undone; restarts {}", restarts(&found))?;
            }
            Config::History => history(&to.get(&format!("{CONFIG}/history"))?, out)?,
        }
        Ok(())
    }
}

/// Seconds of `90s`, `5m` or `1h`.
fn seconds(text: &str) -> Result<u32, String> {
    let length = time::parse_duration(text).and_then(|ns| u32::try_from(ns / 1_000_000_000).ok());
    length.ok_or_else(|| format!("{text:?} is no length of time; example: 5m"))
}

fn put(wish: &mut Value, key: &str, value: Option<u64>) {
    if let Some(value) = value {
        wish[key] = value.into();
    }
}

fn text(to: &BoxApi, revision: Option<u64>) -> anyhow::Result<String> {
    let found = match revision {
        Some(number) => to.get(&format!("{CONFIG}/history/{number}"))?,
        None => to.get(CONFIG)?,
    };
    found["text"].as_str().map(str::to_owned).context("the box gave no document")
}

fn document(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .take(BYTES_MAX + 1)
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
    } else {
        std::fs::File::open(file)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    anyhow::ensure!(text.len() as u64 <= BYTES_MAX, "{} has more than {BYTES_MAX} bytes", file.display());
    Ok(text)
}

fn restarts(found: &Value) -> String {
    let names: Vec<&str> =
        found["restarts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

fn applied(found: &Value, at_boot: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let number = &found["number"];
    if found["unchanged"] == true {
        writeln!(out, "revision {number} says the same; nothing changed")?;
    } else if at_boot {
        writeln!(out, "revision {number} is on trial from the next boot on")?;
    } else if let Some(seconds) = found["confirm_within_s"].as_u64() {
        writeln!(out, "revision {number} is on trial; restarts {}", restarts(found))?;
        writeln!(out, "keep it within {seconds} s with: vaktctl config confirm {number}")?;
    } else {
        writeln!(out, "revision {number} is in force; restarts {}", restarts(found))?;
    }
    Ok(())
}

fn history(found: &Value, out: &mut impl Write) -> anyhow::Result<()> {
    for revision in found["revisions"].as_array().into_iter().flatten() {
        let sign = if revision["in_force"] == true { "*" } else { " " };
        let at_s = revision["at_s"].as_i64().unwrap_or(0);
        let word = |key: &str| revision[key].as_str().unwrap_or_default();
        write!(
            out,
            "{sign} {:>5}  {}  {}",
            revision["number"].as_u64().unwrap_or(0),
            time::rfc3339(at_s.saturating_mul(1_000_000_000)),
            word("by")
        )?;
        for remark in [word("why"), word("undone")].into_iter().filter(|text| !text.is_empty()) {
            write!(out, "; {remark}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_trial_has_a_unit() {
        assert_eq!((seconds("5m"), seconds("90s")), (Ok(300), Ok(90)));
        for text in ["", "5", "m", "-5m", "200y"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_history_is_a_line_a_revision_with_a_mark_at_the_one_in_force() {
        let found = json!({ "revisions": [
            { "number": 1, "at_s": 0, "by": "defaults", "why": "", "undone": null, "in_force": false },
            { "number": 2, "at_s": 1_792_843_200, "by": "admin", "why": "new disk", "undone": null, "in_force": true },
            { "number": 3, "at_s": 951_782_400, "by": "x", "why": "", "undone": "late", "in_force": false },
        ]});
        let mut out = Vec::new();
        history(&found, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "      1  1970-01-01T00:00:00Z  defaults\n\
             *     2  2026-10-24T12:00:00Z  admin; new disk\n\
             \x20     3  2000-02-29T00:00:00Z  x; late\n"
        );
    }
}

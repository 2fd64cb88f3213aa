//! The lines of a backup, written and read.

use std::io::{BufRead, Read, Write};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vakt_wire::config;

/// The version of the format.
pub const FORMAT: u32 = 1;

/// Tables of the catalog that are in a backup.
pub const TABLES: [&str; 4] = ["users", "settings", "evidence", "config"];

/// Longest line: a config of the largest size, escaped.
const LINE_BYTES_MAX: u64 = 2 << 20;

/// Longest key, as the catalog's own bound.
const KEY_BYTES_MAX: usize = 512;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub vakt_backup: u32,
    /// Which Vakt made it.
    pub version: String,
    /// The box that it is of.
    pub name: String,
    /// When, in Unix seconds.
    pub at_s: i64,
}

/// A line behind the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// The machine config.
    Config {
        /// The document.
        config: String,
    },
    /// The evidence's key.
    Key {
        /// 64 hex digits.
        evidence_key: String,
    },
    /// A document of the catalog.
    Row {
        /// Its table.
        table: String,
        /// Its key.
        key: String,
        /// Itself.
        value: Value,
    },
    /// The end.
    End {
        /// How many documents there were.
        rows: u64,
    },
}

/// Writes one line.
///
/// # Errors
/// When it cannot be written.
pub fn write_line(out: &mut impl Write, line: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(out.write_all(&text)?)
}

/// Reads and checks all lines; `take` gets each but the last one, in order.
///
/// # Errors
/// With what is wrong with the file: the version of the format, a line, a table, a config that this build does not take,
/// or a missing end.
pub fn read_lines(
    mut source: impl BufRead,
    mut take: impl FnMut(Line) -> anyhow::Result<()>,
) -> anyhow::Result<Head> {
    let first = next_line(&mut source, 1)?.context("the file is empty")?;
    let version: Value = serde_json::from_str(&first).context("the file holds no backup")?;
    let format = version["vakt_backup"].as_u64().context("the file holds no backup")?;
    let maker = version["version"].as_str().unwrap_or("another Vakt").to_owned();
    anyhow::ensure!(
        format == u64::from(FORMAT),
        "the backup has format {format}, made by Vakt {maker}; this build reads format {FORMAT}"
    );
    let head: Head = serde_json::from_str(&first).context("line 1 of the backup is broken")?;
    let (mut rows, mut number, mut has_config) = (0, 1, false);
    loop {
        number += 1;
        let text = next_line(&mut source, number)?.context("the backup has no end: it was cut off")?;
        let line: Line =
            serde_json::from_str(&text).with_context(|| format!("line {number} of the backup is broken"))?;
        match &line {
            Line::Config { config } => {
                anyhow::ensure!(!has_config, "line {number}: a second config");
                config::parse(config)
                    .map_err(|error| anyhow::anyhow!("the config in the backup: {error}"))?;
                has_config = true;
            }
            Line::Key { evidence_key } => {
                anyhow::ensure!(seed(evidence_key).is_some(), "line {number}: the evidence's key is none");
            }
            Line::Row { table, key, .. } => {
                let is_known = TABLES.contains(&table.as_str());
                anyhow::ensure!(is_known, "line {number}: this build has no table {table:?}");
                anyhow::ensure!((1..=KEY_BYTES_MAX).contains(&key.len()), "line {number}: a bad key");
                rows += 1;
            }
            Line::End { rows: told } => {
                anyhow::ensure!(*told == rows, "the backup says {told} documents and has {rows}");
                anyhow::ensure!(has_config, "the backup has no config");
                anyhow::ensure!(
                    next_line(&mut source, number)?.is_none(),
                    "something follows the backup's end"
                );
                return Ok(head);
            }
        }
        take(line)?;
    }
}

fn next_line(source: &mut impl BufRead, number: usize) -> anyhow::Result<Option<String>> {
    let mut text = String::new();
    source.take(LINE_BYTES_MAX + 1).read_line(&mut text)?;
    anyhow::ensure!(text.len() as u64 <= LINE_BYTES_MAX, "line {number} of the backup is too long");
    Ok((!text.is_empty()).then_some(text))
}

/// The bytes of a seed in hex.
pub fn seed(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"vakt_backup":1,"version":"0.1.0","name":"guard","at_s":5}"#;
    const CONFIG: &str = r#"{"config":"version = 1\n"}"#;
    const ROW: &str = r#"{"table":"users","key":"admin","value":{"a":1}}"#;

    fn check(lines: &[&str], expected: &str) {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let mut taken = 0;
        let said = match read_lines(text.as_bytes(), |_| {
            taken += 1;
            Ok(())
        }) {
            Ok(head) => format!("{} with {taken}", head.name),
            Err(error) => format!("{error:#}"),
        };
        assert!(said.contains(expected), "{lines:?} gave {said:?}, expected {expected:?}");
    }

    #[test]
    fn a_backup_is_taken_whole_or_refused_with_the_reason() {
        check(&[HEAD, CONFIG, ROW, r#"{"rows":1}"#], "guard with 2");
        check(&[HEAD, CONFIG, ROW], "it was cut off");
        check(&[HEAD, CONFIG, ROW, r#"{"rows":2}"#], "says 2 documents and has 1");
        check(&[HEAD, ROW, r#"{"rows":1}"#], "has no config");
        check(&[HEAD, CONFIG, r#"{"rows":0}"#, ROW], "follows the backup's end");
        check(&[], "the file is empty");
        check(&["hello"], "holds no backup");
        let newer = HEAD.replace("\"vakt_backup\":1", "\"vakt_backup\":2").replace("0.1.0", "9.0.0");
        check(&[&newer, "new things"], "format 2, made by Vakt 9.0.0; this build reads format 1");
        check(&[HEAD, r#"{"config":"version = 1\nnew = 1"}"#], "the config in the backup: line 2");
        check(&[HEAD, CONFIG, &ROW.replace("users", "sessions")], "has no table \"sessions\"");
        check(&[HEAD, CONFIG, r#"{"evidence_key":"xyz"}"#], "key is none");
    }
}

//! Documents of older versions, read as today's.
//!
//! A document is never rewritten by itself: what the operator wrote stays in the ledger, so that an older Vakt in the
//! other slot can still read it, and is brought to [`VERSION`] each time it is read. A step changes keys and values
//! where they stand, so every line keeps its number and every comment its place, and errors name the operator's lines.
//!
//! | to | what changed |
//! |---|---|
//! | 2 | times are texts with their unit, `interval = "5s"`; a scrape job's are `scrape_interval` and `scrape_timeout`, as Prometheus has them |

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::parse::{at, locate};

/// The version that this build reads; older ones are brought to it.
pub const VERSION: u32 = 2;

/// The defaults as a document: what a box runs by that was told nothing.
pub const EMPTY: &str = "version = 2\n";

/// Text that takes the place of a part of the document.
type Edit = (Range<usize>, String);

/// From version 1 on, what makes the next one of each.
const STEPS: [fn(&DeTable<'_>) -> Vec<Edit>; VERSION as usize - 1] = [times_with_units];

/// The document as [`VERSION`] says it.
///
/// # Errors
/// When it is no TOML, its version is missing or no number, or a newer Vakt wrote it.
pub fn current(text: &str) -> Result<Cow<'_, str>, ConfigError> {
    let mut now = Cow::Borrowed(text);
    for version in version(text)?..VERSION {
        let next = {
            let table = table(&now)?;
            let mut edits = STEPS[version as usize - 1](table.get_ref());
            let stated = table.get_ref().get("version").map(Spanned::span);
            edits.extend(stated.map(|place| (place, (version + 1).to_string())));
            edited(&now, edits)
        };
        now = Cow::Owned(next);
    }
    Ok(now)
}

/// The version that a document states; it is judged first, for a document from another time must not fail on whatever
/// key is new in it.
///
/// # Errors
/// As [`current`].
pub fn version(text: &str) -> Result<u32, ConfigError> {
    let table = table(text)?;
    let example = format!("example: version = {VERSION}");
    let number = match table.get_ref().get("version").map(Spanned::get_ref) {
        Some(DeValue::Integer(number)) => number.as_str(),
        Some(_) => return Err(locate(text, "version", format!("not a number; {example}"))),
        None => {
            let reason = format!("missing; {example} as the first line");
            return Err(ConfigError { key: "version".into(), line: 1, column: 1, reason });
        }
    };
    number.parse().ok().filter(|version| (1..=VERSION).contains(version)).ok_or_else(|| {
        let reason =
            format!("this build reads versions 1 to {VERSION}, the document says {number}; {example}");
        locate(text, "version", reason)
    })
}

fn table(text: &str) -> Result<Spanned<DeTable<'_>>, ConfigError> {
    DeTable::parse(text).map_err(|error| at(text, String::new(), error))
}

fn edited(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(place, _)| place.start);
    let mut text = text.to_owned();
    for (place, new) in edits.into_iter().rev() {
        text.replace_range(place, &new);
    }
    text
}

/// Version 2: seconds that were numbers.
fn times_with_units(table: &DeTable<'_>) -> Vec<Edit> {
    const TIMES: [(&str, &[(&str, &str)]); 3] = [
        ("scrape", &[("interval_s", "interval")]),
        ("peer", &[("interval_s", "interval")]),
        ("scrape_job", &[("interval_s", "scrape_interval"), ("timeout_s", "scrape_timeout")]),
    ];
    let mut edits = Vec::new();
    for (part, keys) in TIMES {
        let tables: Vec<&DeTable<'_>> = match table.get(part).map(Spanned::get_ref) {
            Some(DeValue::Table(one)) => vec![one],
            Some(DeValue::Array(all)) => all.iter().filter_map(|one| one.get_ref().as_table()).collect(),
            _ => Vec::new(),
        };
        for (old, new) in keys {
            for (key, value) in tables.iter().filter_map(|table| table.get_key_value(*old)) {
                edits.push((key.span(), (*new).to_owned()));
                // What was no number is left as it is, and refused where it stands.
                if let DeValue::Integer(number) = value.get_ref() {
                    edits.push((value.span(), format!("\"{}s\"", number.as_str())));
                }
            }
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const OLD: &str = "version = 1 # ours\n[scrape]\n  interval_s = 7 # often\nebpf = false\n\
                       [[scrape_job]]\njob_name = \"node\"\ntargets = [\"192.0.2.8:9100\"]\ninterval_s = 60\ntimeout_s = 9\n\
                       [[peer]]\nname = \"db1\"\naddress = \"192.0.2.7:22\"\nhost_key = \"ssh-ed25519 AAAAC3\"\ninterval_s = 5\n";

    #[test]
    fn a_document_of_version_1_means_what_it_meant_and_keeps_its_lines_and_comments() {
        let new = current(OLD).unwrap();
        let expected = OLD
            .replace("version = 1", "version = 2")
            .replace("interval_s = 7", "interval = \"7s\"")
            .replace("interval_s = 60\ntimeout_s = 9", "scrape_interval = \"60s\"\nscrape_timeout = \"9s\"")
            .replace("interval_s = 5", "interval = \"5s\"");
        assert_eq!(new, expected);
        let config = parse(OLD).unwrap();
        assert_eq!(parse(&new).unwrap(), config);
        assert_eq!((config.version, config.scrape.interval.get(), config.peers[0].interval.get()), (2, 7, 5));
        let job = &config.scrape_jobs[0];
        assert_eq!((job.scrape_interval.get(), job.scrape_timeout.get()), (60, 9));
    }

    #[test]
    fn tables_in_one_line_are_changed_too() {
        let old = "version = 1\nscrape = { ebpf = false, interval_s = 9 }\n";
        assert_eq!(current(old).unwrap(), "version = 2\nscrape = { ebpf = false, interval = \"9s\" }\n");
        assert_eq!(parse(old).unwrap().scrape.interval.get(), 9);
    }

    #[test]
    fn what_is_wrong_in_an_old_document_is_told_by_its_own_line_with_the_version_it_was_read_as() {
        let check = |text: &str, expected: &str| {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text:?} gave {said:?}, expected {expected:?}");
        };
        check("version = 1\n[scrape]\ninterval_s = 0", "line 3, column 12: scrape.interval: \"0s\" is not");
        check("version = 1\n[scrape]\ninterval_s = true", "line 3");
        check("version = 1\nhostnam = \"x\"", "line 2, column 1: hostnam: unknown field");
        check("version = 1\nhostnam = \"x\"", "the document is of version 1 and was read as version 2");
        check("version = 1\n[scrape]\ninterval_s = 5\ninterval = \"5s\"", "line 4");
    }

    #[test]
    fn a_document_of_today_is_left_as_it_is_and_one_from_the_future_is_refused() {
        assert!(matches!(current("version = 2\n"), Ok(Cow::Borrowed("version = 2\n"))));
        for text in ["version = 3\nnew = 1", "version = 0", "version = -1"] {
            let said = current(text).unwrap_err().to_string();
            assert!(said.contains("this build reads versions 1 to 2"), "{said}");
        }
        let old_key = parse("version = 2\n[scrape]\ninterval_s = 5").unwrap_err().to_string();
        assert!(old_key.contains("unknown field") && old_key.contains("interval = \"5s\""), "{old_key}");
    }
}

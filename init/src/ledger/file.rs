//! The ledger's file: JSON, replaced by rename, synced before anything is done by it.

use std::path::Path;

use anyhow::Context;
use vakt_wire::config;

use super::Ledger;
use crate::machine::identity;

/// Reads the ledger. Without one, `config.toml` of an earlier build beside it is taken as the first
/// revision, and without that the defaults are. A file that cannot be used is set aside under another
/// name; the second value says why.
///
/// # Errors
/// When the directory can be neither read nor written.
pub fn load(path: &Path, at_s: i64) -> anyhow::Result<(Ledger, Option<String>)> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((first(path, at_s), None)),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let parsed = serde_json::from_str::<Ledger>(&text)
        .map_err(|error| error.to_string())
        .and_then(|ledger| ledger.check().map(|()| ledger));
    match parsed {
        Ok(ledger) => Ok((ledger, None)),
        Err(reason) => {
            let aside = path.with_extension("unusable");
            std::fs::rename(path, &aside).with_context(|| format!("cannot set {} aside", path.display()))?;
            let note = format!("{}: {reason}; kept as {}", path.display(), aside.display());
            Ok((Ledger::new(config::EMPTY, "defaults", at_s), Some(note)))
        }
    }
}

/// Writes the ledger. When this returns it is on the disk.
///
/// # Errors
/// When it cannot be written; the file is as it was then.
pub fn save(path: &Path, ledger: &Ledger) -> anyhow::Result<()> {
    let text = serde_json::to_vec(ledger).context("cannot encode the ledger")?;
    identity::write_whole(path, &text)
}

fn first(path: &Path, at_s: i64) -> Ledger {
    let earlier = std::fs::read_to_string(path.with_file_name("config.toml"));
    match earlier.ok().filter(|text| config::parse(text).is_ok()) {
        Some(text) => Ledger::new(&text, "an earlier version", at_s),
        None => Ledger::new(config::EMPTY, "defaults", at_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Wish;

    #[test]
    fn what_was_written_is_read_and_what_cannot_be_used_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        let (mut ledger, note) = load(&path, 7).unwrap();
        assert_eq!((ledger.in_force().text.as_str(), note), (config::EMPTY, None));
        let wish = Wish { text: "version = 1\nhostname = \"a\"\n".into(), ..Wish::default() };
        assert_eq!(ledger.apply(wish), Ok(Some(2)));
        save(&path, &ledger).unwrap();
        assert_eq!(load(&path, 9).unwrap(), (ledger, None));

        std::fs::write(&path, "{\"format\":1,").unwrap();
        let (ledger, note) = load(&path, 9).unwrap();
        assert_eq!(ledger.in_force().by, "defaults");
        assert!(note.unwrap().contains("ledger.unusable"));
        assert!(directory.path().join("ledger.unusable").exists());
    }

    #[test]
    fn the_config_of_an_earlier_build_is_the_first_revision() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.toml"), "version = 1\nhostname = \"old\"\n").unwrap();
        let (ledger, _) = load(&directory.path().join("ledger.json"), 7).unwrap();
        assert!(ledger.in_force().text.contains("old"));
    }
}

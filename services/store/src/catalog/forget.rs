//! A reset of the settings, as far as it concerns the catalog.
//!
//! init leaves a file `forget` beside the catalog with names of tables, one a line, and starts the store. The tables
//! are emptied in one transaction before anybody is served, then the file goes: a power cut in between empties them
//! again. Evidence is append only and stays whatever the file says.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::Context;

use super::Catalog;

/// The file's name in the store's directory.
const FILE: &str = "forget";

/// It holds a few names.
const FILE_BYTES_MAX: u64 = 4096;

/// Obeys the file, if it is there, and returns the tables that it named.
///
/// # Errors
/// When the file cannot be read or removed, or the tables cannot be emptied; they are as they were then.
pub fn obey(catalog: &Catalog, data: &Path) -> anyhow::Result<Vec<String>> {
    let path = data.join(FILE);
    let mut text = String::new();
    match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text)),
    }
    .with_context(|| format!("cannot read {}", path.display()))?;
    let tables: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    catalog.clear(&tables)?;
    fs::remove_file(&path)
        .and_then(|()| File::open(data)?.sync_all())
        .with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(tables.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reset_names_is_forgotten_once_and_evidence_never() {
        let data = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&data.path().join("catalog.redb")).unwrap();
        for table in ["users", "settings", "evidence"] {
            catalog.put(table, "a", b"1").unwrap();
        }
        assert_eq!(obey(&catalog, data.path()).unwrap(), [""; 0]);
        fs::write(data.path().join(FILE), "users\nevidence\nof another version\n").unwrap();
        assert_eq!(obey(&catalog, data.path()).unwrap(), ["users", "evidence", "of another version"]);
        assert_eq!(catalog.get("users", "a").unwrap(), None);
        assert!(catalog.get("settings", "a").unwrap().is_some());
        assert!(catalog.get("evidence", "a").unwrap().is_some());
        catalog.put("users", "b", b"1").unwrap();
        assert_eq!(obey(&catalog, data.path()).unwrap(), [""; 0]);
        assert!(catalog.get("users", "b").unwrap().is_some());
    }
}

//! The catalog: what a box must remember besides samples, as JSON documents by table and key, in redb.
//!
//! Every change is one redb transaction with its own sync: some 4 ms, for a few changes a minute. Limits: keys of
//! at most 512 bytes, documents of 256 KiB, pages of 1,000 items or 4 MiB.

pub mod forget;

use std::path::Path;

use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

/// Largest document.
pub const VALUE_BYTES_MAX: usize = 256 << 10;

/// Items on a page at most.
pub const PAGE_ITEMS_MAX: usize = 1000;

/// A page is also closed when it holds this much, so that a page of large documents stays small enough.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Longest key.
const KEY_BYTES_MAX: usize = 512;

/// redb's own memory. The catalog is small and rarely read; redb's default is 1 GiB.
const CACHE_BYTES: usize = 1 << 20;

/// A table and its rule.
struct Table {
    name: &'static str,
    /// Documents are written once and stay.
    append_only: bool,
}

const TABLES: [Table; 5] = [
    Table { name: "users", append_only: false },
    Table { name: "sessions", append_only: false },
    Table { name: "settings", append_only: false },
    Table { name: "evidence", append_only: true },
    Table { name: "config", append_only: false },
];

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such table.
    #[error("catalog has no table {0:?}")]
    Table(String),
    /// An empty or overlong key.
    #[error("key of {0} bytes; 1 to {KEY_BYTES_MAX} are taken")]
    Key(usize),
    /// The document is there, and the table is append only.
    #[error("{table}/{key} exists and cannot be changed")]
    Exists {
        /// The table.
        table: String,
        /// The key.
        key: String,
    },
    /// Nothing can be deleted from this table.
    #[error("{0} is append only")]
    AppendOnly(String),
    /// redb failed.
    #[error("catalog: cannot {action}: {source}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// What redb said.
        source: Box<redb::Error>,
    },
}

/// One page of a table, in the order of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Keys and documents.
    pub items: Vec<(String, Vec<u8>)>,
    /// The key to go on after, when there is more.
    pub next: Option<String>,
}

/// The open catalog.
pub struct Catalog {
    database: Database,
}

type Definition = TableDefinition<'static, &'static str, &'static [u8]>;

impl Catalog {
    /// Opens the catalog in a file, and makes it with its tables when it is not there.
    ///
    /// # Errors
    /// [`CatalogError::Database`] when redb cannot open or repair it.
    pub fn open(file: &Path) -> Result<Catalog, CatalogError> {
        let database =
            Builder::new().set_cache_size(CACHE_BYTES).create(file).map_err(failed("open the database"))?;
        let write = database.begin_write().map_err(failed("begin"))?;
        for table in &TABLES {
            write.open_table(Definition::new(table.name)).map_err(failed("make a table"))?;
        }
        write.commit().map_err(failed("commit"))?;
        Ok(Catalog { database })
    }

    /// A document, or `None` when there is none under this key.
    ///
    /// # Errors
    /// [`CatalogError::Table`] and [`CatalogError::Database`].
    pub fn get(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        let table = find(table)?;
        let read = self.database.begin_read().map_err(failed("begin"))?;
        let rows = read.open_table(Definition::new(table.name)).map_err(failed("open a table"))?;
        let found = rows.get(key).map_err(failed("read"))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    /// The documents after a key (from the first one without it), at most `limit`.
    ///
    /// # Errors
    /// As [`Catalog::get`].
    pub fn list(&self, table: &str, after: Option<&str>, limit: usize) -> Result<Page, CatalogError> {
        let table = find(table)?;
        let read = self.database.begin_read().map_err(failed("begin"))?;
        let rows = read.open_table(Definition::new(table.name)).map_err(failed("open a table"))?;
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = rows.range::<&str>((start, std::ops::Bound::Unbounded)).map_err(failed("read"))?;
        let (mut page, mut bytes) = (Page { items: Vec::new(), next: None }, 0);
        for row in range {
            let (key, value) = row.map_err(failed("read"))?;
            if page.items.len() >= limit || bytes >= PAGE_BYTES_MAX {
                page.next = page.items.last().map(|(key, _)| key.clone());
                break;
            }
            bytes += value.value().len();
            page.items.push((key.value().to_owned(), value.value().to_vec()));
        }
        Ok(page)
    }

    /// Stores a document durably. Returns whether the key is new.
    ///
    /// # Errors
    /// [`CatalogError::Exists`] in an append-only table, and as [`Catalog::get`].
    pub fn put(&self, table: &str, key: &str, value: &[u8]) -> Result<bool, CatalogError> {
        let table = find(table)?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(CatalogError::Key(key.len()));
        }
        let write = self.database.begin_write().map_err(failed("begin"))?;
        let created = {
            let mut rows = write.open_table(Definition::new(table.name)).map_err(failed("open a table"))?;
            if table.append_only && rows.get(key).map_err(failed("read"))?.is_some() {
                return Err(CatalogError::Exists { table: table.name.into(), key: key.into() });
            }
            rows.insert(key, value).map_err(failed("write"))?.is_none()
        };
        write.commit().map_err(failed("commit"))?;
        Ok(created)
    }

    /// Deletes a document durably. Returns whether there was one.
    ///
    /// # Errors
    /// [`CatalogError::AppendOnly`] where nothing may be deleted, and as [`Catalog::get`].
    pub fn delete(&self, table: &str, key: &str) -> Result<bool, CatalogError> {
        let table = find(table)?;
        if table.append_only {
            return Err(CatalogError::AppendOnly(table.name.into()));
        }
        let write = self.database.begin_write().map_err(failed("begin"))?;
        let deleted = {
            let mut rows = write.open_table(Definition::new(table.name)).map_err(failed("open a table"))?;
            rows.remove(key).map_err(failed("write"))?.is_some()
        };
        write.commit().map_err(failed("commit"))?;
        Ok(deleted)
    }

    /// Empties tables, all of them or none. An append-only one, and one that is not there, is passed over.
    ///
    /// # Errors
    /// [`CatalogError::Database`].
    pub fn clear(&self, tables: &[&str]) -> Result<(), CatalogError> {
        let write = self.database.begin_write().map_err(failed("begin"))?;
        for table in TABLES.iter().filter(|table| !table.append_only && tables.contains(&table.name)) {
            let definition = Definition::new(table.name);
            write.delete_table(definition).map_err(failed("empty a table"))?;
            write.open_table(definition).map_err(failed("make a table"))?;
        }
        write.commit().map_err(failed("commit"))
    }
}

fn find(name: &str) -> Result<&'static Table, CatalogError> {
    TABLES.iter().find(|table| table.name == name).ok_or_else(|| CatalogError::Table(name.into()))
}

fn failed<E: Into<redb::Error>>(action: &'static str) -> impl Fn(E) -> CatalogError {
    move |error| CatalogError::Database { action, source: Box::new(error.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(result: Result<impl std::fmt::Debug, CatalogError>, expected: &str) {
        let said = match result {
            Ok(value) => format!("{value:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn documents_are_kept_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalog.redb");
        let catalog = Catalog::open(&file).unwrap();
        check(catalog.put("users", "ann", b"1"), "true");
        check(catalog.put("users", "ann", b"2"), "false");
        drop(catalog);
        let catalog = Catalog::open(&file).unwrap();
        check(catalog.get("users", "ann"), "Some([50])");
        check(catalog.delete("users", "ann"), "true");
        check(catalog.delete("users", "ann"), "false");
        check(catalog.get("users", "ann"), "None");
        check(catalog.get("strangers", "ann"), "catalog has no table \"strangers\"");
        check(catalog.put("users", "", b"1"), "key of 0 bytes; 1 to 512 are taken");
    }

    #[test]
    fn evidence_is_append_only() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        check(catalog.put("evidence", "1", b"{}"), "true");
        check(catalog.put("evidence", "1", b"[]"), "evidence/1 exists and cannot be changed");
        check(catalog.delete("evidence", "1"), "evidence is append only");
        check(catalog.get("evidence", "1"), "Some([123, 125])");
    }

    #[test]
    fn pages_follow_each_other_without_gap() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        for key in ["a", "b", "c", "d", "e"] {
            catalog.put("settings", key, b"0").unwrap();
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = catalog.list("settings", after.as_deref(), 2).unwrap();
            seen.extend(page.items.into_iter().map(|(key, _)| key));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    }
}

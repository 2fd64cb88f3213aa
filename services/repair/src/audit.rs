//! The auditor's side: read a chain from the store or a file, and check it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result};
use hyper::Method;
use serde::Deserialize;
use vakt_wire::http::Client;

use crate::evidence::{Head, Record, Verifier, listing};

/// Records fetched at a time.
const PAGE: u64 = 200;

/// Where a chain is read from.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// A file with one record a line, as `export` writes it.
    File(&'a Path),
    /// The catalog behind the store's socket.
    Store(&'a Path),
}

/// A chain that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its end.
    pub head: Head,
    /// Who signed; `None` for a chain without records.
    pub key: Option<String>,
}

/// Reads the chain and checks every record, in constant memory.
///
/// # Errors
/// When it cannot be read, and at the first record that is wrong (the cause is
/// [`Broken`](crate::evidence::Broken)).
pub async fn verify(source: Source<'_>, key: Option<String>, noted: Option<Head>) -> Result<Verified> {
    let mut verifier = Verifier::new(key, noted);
    each(source, |record, _| Ok(verifier.take(&record)?)).await?;
    let key = verifier.key().filter(|_| verifier.head().seq > 0).map(str::to_owned);
    Ok(Verified { head: verifier.finish()?, key })
}

/// Writes the store's chain to `out`, one record a line, unchecked.
///
/// # Errors
/// When the store does not answer or `out` does not take it.
pub async fn export(store: &Path, out: &mut impl Write) -> Result<()> {
    each(Source::Store(store), |_, line| writeln!(out, "{line}").context("cannot write")).await
}

async fn each(source: Source<'_>, mut take: impl FnMut(Record, &str) -> Result<()>) -> Result<()> {
    match source {
        Source::File(path) => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            for (index, line) in BufReader::new(file).lines().enumerate() {
                let place = || format!("{}:{}", path.display(), index + 1);
                let line = line.with_context(place)?;
                let record =
                    serde_json::from_str(&line).with_context(|| format!("{}: not a record", place()))?;
                take(record, &line).with_context(place)?;
            }
            Ok(())
        }
        Source::Store(socket) => from_store(socket, take).await,
    }
}

async fn from_store(socket: &Path, mut take: impl FnMut(Record, &str) -> Result<()>) -> Result<()> {
    #[derive(Deserialize)]
    struct Page {
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        key: String,
        value: Box<serde_json::value::RawValue>,
    }
    let client = Client::unix(socket);
    let mut after = 0;
    loop {
        let bytes = client.call(Method::GET, &listing(after, PAGE), "application/json", "").await?;
        let page: Page = serde_json::from_slice(&bytes).context("the store's listing is unreadable")?;
        if page.items.is_empty() {
            return Ok(());
        }
        for Item { key, value } in page.items {
            let place = || format!("evidence {key}");
            let record: Record =
                serde_json::from_str(value.get()).with_context(|| format!("{}: not a record", place()))?;
            anyhow::ensure!(record.seq > after, "{}: record {} is out of order", place(), record.seq);
            after = record.seq;
            take(record, value.get()).with_context(place)?;
        }
    }
}

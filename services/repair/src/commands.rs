//! The subcommands that print and exit. Each returns whether all was well; `false` becomes exit status 1.

use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use vakt_peer::systemd::{UnitName, Verb};

use crate::audit::{self, Source};
use crate::enrol::{Enrolment, PublicLine};
use crate::evidence::Head;
use crate::policy;

/// `vakt-repair verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// A file of records, one a line, as `export` prints them.
    #[arg(required_unless_present = "store")]
    pub file: Option<PathBuf>,
    /// Read from the store behind this socket instead.
    #[arg(long, conflicts_with = "file")]
    pub store: Option<PathBuf>,
    /// A head noted earlier, SEQ:HASH, that must be in the chain: finds a cut end.
    #[arg(long)]
    pub head: Option<Head>,
    /// The key that must have signed (64 hex digits).
    #[arg(long)]
    pub public_key: Option<String>,
}

/// `vakt-repair enrol`.
#[derive(Args, Debug)]
pub struct Enrol {
    /// Public key for vakt-read: "ssh-ed25519 AAAA…".
    #[arg(long)]
    pub read_key: PublicLine,
    /// Public key for vakt-repair.
    #[arg(long)]
    pub repair_key: PublicLine,
    /// Units that may be touched, with commas between.
    #[arg(long, value_delimiter = ',', required = true)]
    pub units: Vec<UnitName>,
    /// Verbs that are allowed on them.
    #[arg(long, value_delimiter = ',', default_value = "restart,reset-failed")]
    pub verbs: Vec<Verb>,
}

/// Checks policy files; what is wrong goes to standard output as `file:line:column: reason`.
///
/// # Errors
/// When a file cannot be read.
pub fn check(files: &[PathBuf]) -> Result<bool> {
    let mut all_good = true;
    for file in files {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        match policy::parse(&text) {
            Ok(policy) => println!("{}: policy {} is good", file.display(), policy.name),
            Err(refusal) => {
                println!("{}:{refusal}", file.display());
                all_good = false;
            }
        }
    }
    Ok(all_good)
}

/// Verifies a chain and prints its head.
///
/// # Errors
/// When it cannot be read, and at the first record that is wrong.
pub async fn verify(asked: Verify) -> Result<bool> {
    let source = match (&asked.file, &asked.store) {
        (Some(file), _) => Source::File(file),
        (None, Some(store)) => Source::Store(store),
        (None, None) => anyhow::bail!("nothing to verify; give a file, or --store SOCKET"),
    };
    let noted = asked.head.is_some();
    let verified =
        audit::verify(source, asked.public_key, asked.head).await.context("evidence is NOT good")?;
    println!("evidence is good: {} records", verified.head.seq);
    println!("head: {}:{}", verified.head.seq, verified.head.hash);
    if let Some(key) = verified.key {
        println!("signed by: {key}");
    }
    if !noted {
        println!("a cut at the end shows only against a noted head: verify --head SEQ:HASH");
    }
    Ok(true)
}

/// Prints the store's chain.
///
/// # Errors
/// When the store does not answer.
pub async fn export(store: &Path) -> Result<bool> {
    let mut out = BufWriter::new(stdout().lock());
    audit::export(store, &mut out).await?;
    out.flush().context("cannot write to standard output")?;
    Ok(true)
}

/// Prints the enrolment script.
///
/// # Errors
/// When nothing would be allowed.
pub fn enrol(asked: Enrol) -> Result<bool> {
    ensure!(!asked.verbs.is_empty(), "no verb is allowed; example: --verbs restart,reset-failed");
    let enrolment = Enrolment {
        read_key: asked.read_key,
        repair_key: asked.repair_key,
        units: asked.units.into_iter().collect(),
        verbs: asked.verbs.into_iter().collect(),
    };
    print!("{}", enrolment.script());
    Ok(true)
}

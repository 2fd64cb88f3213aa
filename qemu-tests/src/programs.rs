//! The programs under test: built beside the test by the Makefile, in the same profile.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// The directory with our programs, next to the running test's own.
///
/// # Errors
/// When the test runs from an unexpected place.
pub fn directory() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where the test runs from")?;
    // target/<triple>/debug/deps/<test>, or target/<triple>/debug/<program>.
    let parent = own.parent().context("the test has no directory")?;
    let directory = if parent.ends_with("deps") { parent.parent().unwrap_or(parent) } else { parent };
    Ok(directory.to_owned())
}

/// One of our programs.
///
/// # Errors
/// When it was not built.
pub fn path(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    ensure!(path.exists(), "{} is not built; `make test` builds it first", path.display());
    Ok(path)
}

/// Runs vaktctl against the box at `address`, signed in by the token in a file.
///
/// # Errors
/// When it was not built or cannot be run; how it ended is in the output.
pub fn vaktctl(address: SocketAddr, fingerprint: &str, token: &Path, words: &[&str]) -> Result<Output> {
    let mut command = Command::new(path("vaktctl")?);
    command.args(["--box", &address.to_string(), "--fingerprint", fingerprint, "--token-file"]);
    Ok(command.arg(token).args(words).output()?)
}

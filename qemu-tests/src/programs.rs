//! The programs under test: built beside the test by the Makefile, in the same profile.

use std::path::PathBuf;

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

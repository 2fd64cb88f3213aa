//! The locked inputs: exact package versions with their hashes, in `image/inputs.lock`.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::arch::Arch;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The packages, by what they are for.
    #[serde(rename = "package")]
    pub packages: Vec<Locked>,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// `kernel`, `kernel-source`, `boot` or `firmware`.
    pub purpose: String,
    /// The architecture it is for, as [`Arch::name`]; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Debian's name.
    pub name: String,
    /// Debian's version.
    pub version: String,
    /// SHA-256 of the .deb, in hex.
    pub sha256: String,
}

impl Lock {
    /// Reads the lock that this build was made with.
    ///
    /// # Errors
    /// When it cannot be read or parsed.
    pub fn read() -> anyhow::Result<Lock> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs.lock");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a lock", path.display()))
    }

    /// The package for a purpose, on this architecture.
    ///
    /// # Errors
    /// When the lock does not name one.
    pub fn of(&self, purpose: &str) -> anyhow::Result<&Locked> {
        let here = |locked: &&Locked| locked.arch.as_deref().is_none_or(|arch| arch == Arch::HERE.name());
        let found = self.packages.iter().filter(here).find(|locked| locked.purpose == purpose);
        found.with_context(|| format!("image/inputs.lock names no package for {purpose:?}"))
    }
}

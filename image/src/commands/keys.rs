//! `vakt-image keys`.

use std::path::PathBuf;
use std::process::ExitCode;

use vakt_image::bundle::{block_on, keys};

/// Makes root.json and the private keys of its roles: root 2 of 3, targets 2 of 3, snapshot, timestamp.
#[derive(Debug, clap::Args)]
pub struct Keys {
    /// Where they go. Move root-*.key and targets-*.key to where nobody signs in.
    directory: PathBuf,
}

impl Keys {
    /// Makes them.
    ///
    /// # Errors
    /// When there are keys already, or a file cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        block_on(keys::generate(&self.directory))?;
        println!("{}", keys::root(&self.directory).display());
        Ok(ExitCode::SUCCESS)
    }
}

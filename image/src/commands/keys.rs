//! `vakt-image keys`.

use std::path::PathBuf;
use std::process::ExitCode;

use vakt_image::bundle::{block_on, keys};
use vakt_image::secure_boot;

/// Makes root.json and the private keys of its roles: root 2 of 3, targets 2 of 3, snapshot, timestamp.
#[derive(Debug, clap::Args)]
pub struct Keys {
    /// Makes the keys of Secure Boot instead: PK, KEK and db. For development, or where nobody else's keys are used.
    #[arg(long)]
    secure_boot: bool,
    /// Where they go. Move root-*.key and targets-*.key to where nobody signs in.
    directory: PathBuf,
}

impl Keys {
    /// Makes them.
    ///
    /// # Errors
    /// When there are keys already, or a file cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.secure_boot {
            secure_boot::generate(&self.directory)?;
            println!("{}", self.directory.display());
            return Ok(ExitCode::SUCCESS);
        }
        block_on(keys::generate(&self.directory))?;
        println!("{}", keys::root(&self.directory).display());
        Ok(ExitCode::SUCCESS)
    }
}

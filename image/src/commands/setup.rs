//! `vakt-image setup`.

use std::process::ExitCode;

use vakt_image::setup::{Need, prepare};

/// Installs what a task needs.
#[derive(Debug, clap::Args)]
pub struct Setup {
    /// `build`, `kernel` (to compile one), `run` or `test`; each holds what `build` does, and `test` what `run` does. For `test` the programs that
    /// it compares with are unpacked below the cache directory.
    #[arg(long = "for", default_value = "run")]
    task: Need,
}

impl Setup {
    /// Installs it.
    ///
    /// # Errors
    /// When something is missing and this is not root; the text is the command to run then.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        prepare(self.task)?;
        Ok(ExitCode::SUCCESS)
    }
}

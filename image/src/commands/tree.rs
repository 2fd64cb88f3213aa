//! `vakt-image tree`.

use std::path::PathBuf;
use std::process::ExitCode;

use vakt_image::build::{Profile, build_programs, stage};
use vakt_image::bundle::keys::trusted_root;
use vakt_image::sbom;

use super::workspace;

/// Stages the root tree.
#[derive(Debug, clap::Args)]
pub struct Tree {
    /// How the programs are built.
    #[arg(long, default_value = "dev")]
    profile: Profile,
    /// Where the tree goes; what is there is replaced.
    #[arg(long)]
    output: PathBuf,
    /// The directory of the keys whose updates are taken; default: development keys.
    #[arg(long)]
    keys: Option<PathBuf>,
}

impl Tree {
    /// Stages it.
    ///
    /// # Errors
    /// When a program does not build or cannot be copied.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let programs = build_programs(&workspace(), self.profile)?;
        if self.output.exists() {
            std::fs::remove_dir_all(&self.output)?;
        }
        stage(&workspace(), &programs, &trusted_root(self.keys, &workspace())?, &self.output)?;
        // Without packages: the kernel is this host's.
        sbom::stage(&sbom::make(&workspace(), vakt_image::VERSION, &[])?, &self.output)?;
        Ok(ExitCode::SUCCESS)
    }
}

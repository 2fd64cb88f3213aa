//! `vakt-image sbom`: the step that Buildroot's post-image.sh calls.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use vakt_image::sbom;

use super::workspace;

/// Writes the bill of materials of what this source tree is compiled to.
#[derive(Debug, clap::Args)]
pub struct Sbom {
    /// A package beside our programs, by package URL; may be given several times.
    #[arg(long, value_name = "PURL")]
    part: Vec<String>,
    /// The root tree that gets it.
    #[arg(long)]
    root_tree: PathBuf,
}

impl Sbom {
    /// Writes it.
    ///
    /// # Errors
    /// When cargo cannot tell what went in, or the file cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let document = sbom::make(&workspace(), vakt_image::VERSION, &self.part)?;
        sbom::stage(&document, &self.root_tree).context("no bill of materials")?;
        Ok(ExitCode::SUCCESS)
    }
}

//! `vakt-image build`.

use std::path::PathBuf;
use std::process::ExitCode;

use vakt_image::build::{Profile, assemble, build_programs, stage};
use vakt_image::bundle::keys::trusted_root;
use vakt_image::process::step;
use vakt_image::provider;

use super::{default_output, workspace};

/// Builds the programs and the image.
#[derive(Debug, clap::Args)]
pub struct Build {
    /// How the programs are built.
    #[arg(long, default_value = "release")]
    profile: Profile,
    /// Where the image goes; default `target/image`.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Do not write the compressed file for flashing.
    #[arg(long)]
    no_compress: bool,
    /// The directory of the keys whose updates the image will take (only its root.json is read);
    /// default: development keys, made below target/.
    #[arg(long)]
    keys: Option<PathBuf>,
}

impl Build {
    /// Builds it.
    ///
    /// # Errors
    /// At the first step that fails.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (workspace, output) = (workspace(), self.output.unwrap_or_else(default_output));
        step("programs");
        let programs = build_programs(&workspace, self.profile)?;
        let inputs = provider::inputs()?;
        std::fs::create_dir_all(&output)?;
        let trust = trusted_root(self.keys, &workspace)?;
        let tree = tempfile::tempdir_in(&output)?;
        stage(&workspace, &programs, &trust, tree.path())?;
        let built = assemble(tree.path(), &inputs, &output, !self.no_compress)?;
        println!("{}", built.disk.display());
        println!("root hash {}", built.manifest.root_hash);
        Ok(ExitCode::SUCCESS)
    }
}

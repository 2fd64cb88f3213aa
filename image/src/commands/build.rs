//! `vakt-image build`.

use std::path::PathBuf;
use std::process::ExitCode;

use vakt_image::build::{Format, Options, Profile, assemble, build_programs, qcow2, stage};
use vakt_image::bundle::keys::trusted_root;
use vakt_image::process::step;
use vakt_image::provider::{self, Kernel};
use vakt_image::sbom;

use super::{Signing, default_output, workspace};

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
    /// Which kernel.
    #[arg(long, default_value = "stock")]
    kernel: Kernel,
    /// Forms of the disk; the raw one is always written.
    #[arg(long, value_delimiter = ',', default_value = "raw")]
    format: Vec<Format>,
    #[command(flatten)]
    signing: Signing,
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
        let inputs = provider::inputs(self.kernel)?;
        std::fs::create_dir_all(&output)?;
        let trust = trusted_root(self.keys, &workspace)?;
        let tree = tempfile::tempdir_in(&output)?;
        stage(&workspace, &programs, &trust, tree.path())?;
        sbom::stage(&sbom::make(&workspace, vakt_image::VERSION, &inputs.packages)?, tree.path())?;
        let options = Options { compress: !self.no_compress, secure_boot: self.signing.secure_boot() };
        let built = assemble(tree.path(), &inputs, &output, &options)?;
        println!("{}", built.disk.display());
        if self.format.contains(&Format::Qcow2) {
            println!("{}", qcow2(&built.disk)?.display());
        }
        println!("root hash {}", built.manifest.root_hash);
        Ok(ExitCode::SUCCESS)
    }
}

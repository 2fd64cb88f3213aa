//! `vakt-image assemble`: the step that Buildroot's post-image.sh calls.

use std::path::PathBuf;
use std::process::ExitCode;

use vakt_image::build::{Options, assemble};
use vakt_image::provider::Inputs;

use super::Signing;

/// Puts an image together from what another build made.
#[derive(Debug, clap::Args)]
pub struct Assemble {
    /// The root tree, with the programs in usr/bin.
    #[arg(long)]
    root_tree: PathBuf,
    /// The kernel image.
    #[arg(long)]
    kernel: PathBuf,
    /// Its modules: `lib/modules/<release>`.
    #[arg(long)]
    modules: PathBuf,
    /// systemd's EFI stub.
    #[arg(long)]
    stub: PathBuf,
    /// systemd-boot's EFI program.
    #[arg(long)]
    boot_loader: PathBuf,
    /// Where the image goes.
    #[arg(long)]
    output: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

impl Assemble {
    /// Builds it.
    ///
    /// # Errors
    /// At the first step that fails.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let release = self.modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let inputs = Inputs {
            kernel: self.kernel,
            kernel_release: release,
            modules: self.modules,
            stub: self.stub,
            boot_loader: self.boot_loader,
            packages: Vec::new(),
        };
        let options = Options { compress: true, secure_boot: self.signing.secure_boot() };
        let built = assemble(&self.root_tree, &inputs, &self.output, &options)?;
        println!("{}", built.disk.display());
        Ok(ExitCode::SUCCESS)
    }
}

//! The command line.

mod assemble;
mod build;
mod bundle;
mod connect;
mod flash;
mod keys;
mod run;
mod sbom;
mod setup;
mod signing;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use signing::Signing;

/// Builds, boots and flashes Vakt.
#[derive(Debug, clap::Parser)]
#[command(name = "vakt-image", version)]
pub enum Command {
    /// Installs what a task needs on this Debian machine.
    Setup(setup::Setup),
    /// Builds the programs and puts the image together from Debian's kernel.
    Build(build::Build),
    /// Stages the root tree alone, for a container on this host.
    Tree(tree::Tree),
    /// Puts an image together from a given kernel and root tree (Buildroot's post-image step).
    Assemble(assemble::Assemble),
    /// Makes the keys that sign updates, or those of Secure Boot.
    Keys(keys::Keys),
    /// Writes the bill of materials (Buildroot's post-image step).
    Sbom(sbom::Sbom),
    /// Makes a signed update of an image.
    Bundle(bundle::Bundle),
    /// Lists the removable disks, or writes an image to one and reads it back.
    Flash(flash::Flash),
    /// Boots an image in QEMU.
    Run(run::Run),
    /// Carries standard input and output to an address of the loopback (QEMU's guestfwd starts it).
    #[command(hide = true)]
    Connect(connect::Connect),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// With a text for the person who asked.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Command::Sbom(command) => command.run(),
            Command::Setup(command) => command.run(),
            Command::Build(command) => command.run(),
            Command::Tree(command) => command.run(),
            Command::Assemble(command) => command.run(),
            Command::Keys(command) => command.run(),
            Command::Bundle(command) => command.run(),
            Command::Flash(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Connect(command) => command.run(),
        }
    }
}

/// The workspace that this program was built from.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Where images are built unless said otherwise.
pub fn default_output() -> PathBuf {
    workspace().join("target/image")
}

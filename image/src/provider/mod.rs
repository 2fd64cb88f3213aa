//! Where kernel, firmware and boot loader come from.

mod debian;
mod lock;

use std::path::PathBuf;

pub use debian::{file_system_check, firmware, inputs, recipe};
pub use lock::Lock;

/// Which kernel an image gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kernel {
    /// Debian's, as it is packaged for virtual machines, with its modules.
    #[default]
    Stock,
    /// Ours: trimmed, hardened, without modules; compiled from Debian's source.
    Source,
}

/// What a disk is made from besides our own programs.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The kernel image.
    pub kernel: PathBuf,
    /// Its release, as uname(2) says it.
    pub kernel_release: String,
    /// The directory of its modules (`kernel/…` below it).
    pub modules: PathBuf,
    /// systemd's EFI stub.
    pub stub: PathBuf,
    /// systemd-boot.
    pub boot_loader: PathBuf,
    /// What was used, by package: `name version sha256`. Empty when not from packages.
    pub packages: Vec<String>,
}

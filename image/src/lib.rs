//! The one place that knows how a Vakt disk is put together, and how it is run in QEMU.
//!
//! A kernel, its modules and a root tree come from a provider ([`provider`]: Debian's packages here,
//! with Debian's kernel or one that [`kernel`] compiles; Buildroot calls `assemble` with its own); [`build`] turns them into a GPT disk; [`qemu`] boots it;
//! [`bundle`] makes signed updates of it; [`flash`] writes it to a disk; [`setup`] installs what all that needs on
//! the host. Everything is reproducible: the same inputs give the same bytes.

pub mod build;
pub mod bundle;
pub mod flash;
pub mod kernel;
pub mod provider;
pub mod qemu;
pub mod sbom;
pub mod secure_boot;

pub use vakt_setup as setup;
pub use vakt_setup::{arch, cache, process};

/// The version that is built.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

//! Our own programs, by cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::arch::Arch;

/// How they are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// The profile of the tests: quick to build, shared with them.
    Dev,
    /// The profile of the image that is flashed: fat LTO, paths remapped.
    Release,
}

/// The programs of an image.
pub const PROGRAMS: [&str; 9] = [
    "vakt-init",
    "vakt-store",
    "vakt-log",
    "vakt-collector",
    "vakt-repair",
    "vakt-web",
    "vakt-update",
    "vakt-time",
    "vakt-egress",
];

/// Builds them and returns the directory that they are in.
///
/// # Errors
/// When cargo fails; it has said why on standard error by then.
pub fn build(workspace: &Path, profile: Profile) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["build", "--locked"]);
    if profile == Profile::Dev {
        // The very set that the tests are built from: another set would unite other features of the
        // libraries, and build them all again.
        command.args(["--workspace", "--all-targets"]);
    } else {
        for program in PROGRAMS {
            command.args(["--package", program]);
        }
        command.arg("--release").env("CARGO_ENCODED_RUSTFLAGS", release_flags(workspace).join("\u{1f}"));
    }
    let status = command.status().context("cannot start cargo")?;
    anyhow::ensure!(status.success(), "cargo build ended with {status}");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let name = if profile == Profile::Release { "release" } else { "debug" };
    Ok(target.join(Arch::HERE.triple()).join(name))
}

/// The flags replace those of .cargo/config.toml, so they repeat the static linking. The remapped
/// paths are what makes two checkouts give the same bytes.
fn release_flags(workspace: &Path) -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    vec![
        "-Ctarget-feature=+crt-static".into(),
        format!("--remap-path-prefix={}=/vakt", workspace.display()),
        format!("--remap-path-prefix={cargo_home}=/cargo"),
        "-Clink-arg=-Wl,--build-id=none".into(),
    ]
}

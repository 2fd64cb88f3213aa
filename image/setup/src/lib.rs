//! Host set-up: which Debian packages each task needs, and how they are installed.
//!
//! A crate of its own with hardly a dependency, because it is what `make` builds first: the image builder's libraries,
//! built for it alone, would be built once more with the workspace's features. It also holds what set-up and builder
//! share: the architectures, the cache, running programs.

mod apt;
pub mod arch;
pub mod cache;
mod packages;
pub mod peers;
pub mod process;

pub use apt::Apt;
pub use packages::{Need, Package, packages};

use anyhow::Context;

use crate::process::{run, step};

/// What a task needs, installed; for [`Need::Test`] the programs that tests compare with are unpacked too.
///
/// # Errors
/// As [`ensure`].
pub fn prepare(need: Need) -> anyhow::Result<()> {
    ensure(need)?;
    if need == Need::Test {
        peers::of_tests();
    }
    Ok(())
}

/// The command that set-up was started with, before its flags.
fn ourselves() -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    let word = if program.ends_with("vakt-image") { " setup" } else { "" };
    Ok(format!("{}{word}", program.display()))
}

/// Installs what `need` asks for and is missing. As root through apt; otherwise the exact command is
/// in the error. Nothing is downloaded when nothing is missing.
///
/// # Errors
/// When something is missing and cannot be installed here.
pub fn ensure(need: Need) -> anyhow::Result<()> {
    let missing: Vec<Package> = packages(need).into_iter().filter(|package| !package.is_there()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!(
            "packages are missing; run as root:\n  {} --for {need}\nwhich runs:\n  apt-get install --no-install-recommends {}",
            ourselves()?,
            names.join(" ")
        );
    }
    step(&format!("installing {}", names.join(" ")));
    let apt = Apt::open()?;
    apt.update()?;
    let backports = apt.has_backports();
    let (newer, ordinary): (Vec<Package>, Vec<Package>) =
        missing.into_iter().partition(|p| p.from_backports && backports);
    for (packages, suite) in [(ordinary, None), (newer, apt.backports_suite())] {
        if packages.is_empty() {
            continue;
        }
        let mut command = apt.get();
        command.args(["install", "--yes", "--no-install-recommends"]);
        if let Some(suite) = suite {
            command.arg("--target-release").arg(suite);
        }
        command.args(packages.iter().map(|package| package.name));
        command.env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command).context("cannot install packages")?;
    }
    Ok(())
}

/// A package's files, unpacked into the cache and not installed: for programs whose packages start daemons.
///
/// # Errors
/// When apt cannot fetch it, or dpkg cannot unpack it.
pub fn unpacked(package: &str) -> anyhow::Result<std::path::PathBuf> {
    let directory = crate::cache::directory().join("unpacked").join(package);
    if directory.exists() {
        return Ok(directory);
    }
    let parent = directory.parent().unwrap_or(&directory);
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let apt = Apt::open()?;
    apt.update()?;
    // Without a version apt takes the host's own release, whose libraries are there.
    let fresh = tempfile::tempdir_in(parent)?;
    run(apt.get().args(["download", package]).current_dir(fresh.path()))
        .with_context(|| format!("cannot download {package}"))?;
    let file = std::fs::read_dir(fresh.path())?.flatten().next();
    let file = file.with_context(|| format!("apt brought no file for {package}"))?.path();
    run(std::process::Command::new("dpkg").arg("-x").arg(&file).arg(fresh.path().join("files")))?;
    // By rename: a directory that is there is whole.
    match std::fs::rename(fresh.path().join("files"), &directory) {
        Err(error) if !directory.exists() => {
            Err(error).with_context(|| format!("cannot keep {}", directory.display()))
        }
        _ => Ok(directory),
    }
}

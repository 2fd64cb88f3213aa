//! Host set-up: which Debian packages each task needs, and how they are installed.

mod apt;
mod packages;

pub use apt::Apt;
pub use packages::{Need, Package, packages};

use anyhow::Context;

use crate::process::{run, step};

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
            "packages are missing; run as root:\n  {} setup --for {need}\nwhich runs:\n  apt-get install --no-install-recommends {}",
            std::env::current_exe()?.display(),
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

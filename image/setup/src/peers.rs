//! Programs that tests and benchmarks compare with: Debian packages unpacked below the cache directory, and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache;
use crate::process::{run, step};
use anyhow::{Context, Result};

/// Debian's keys, in the package `debian-archive-keyring` that every Debian has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where the newest Go programs are; they are static and run on any Debian.
pub const SID: &str = "sid";

/// Debian 12.
pub const BOOKWORM: &str = "bookworm";

/// What the tests compare with, all of sid.
const OF_TESTS: [&str; 3] = ["prometheus", "prometheus-node-exporter", "victoria-metrics"];

/// Fetches what tests compare with. One that cannot be had is told of, and its tests are skipped.
pub fn of_tests() {
    for package in OF_TESTS {
        if let Err(error) = peer(SID, package, package) {
            eprintln!("{package}: {error:#}; the tests that need it are skipped");
        }
    }
}

/// A program of a Debian package: the suite's newest when it was first asked for, kept since then.
#[derive(Debug)]
pub struct Peer {
    /// The program's file.
    pub program: PathBuf,
    /// The package's version.
    pub version: String,
}

/// Gets `usr/bin/<package's name, or program>` of `package` in `suite`.
///
/// # Errors
/// When apt cannot bring it.
pub fn peer(suite: &str, package: &str, program: &str) -> Result<Peer> {
    let room = cache::directory().join("peers");
    let tree = room.join(format!("{suite}-{package}"));
    if !tree.exists() {
        step(&format!("fetching {package} of Debian {suite}"));
        let apt = room.join(format!("apt-{suite}"));
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(apt.join(part)).with_context(|| format!("cannot make {}", apt.display()))?;
        }
        let source = format!("deb [signed-by={KEYRING}] http://deb.debian.org/debian {suite} main\n");
        fs::write(apt.join("sources.list"), source)?;
        let fresh = tempfile::tempdir_in(&room)?;
        run(apt_get(&apt).arg("update")).context("cannot fetch the package lists")?;
        run(apt_get(&apt).args(["download", package]).current_dir(fresh.path()))
            .with_context(|| format!("cannot download {package} of {suite}"))?;
        let file = fs::read_dir(fresh.path())?.flatten().map(|entry| entry.path()).next();
        let file = file.with_context(|| format!("apt brought no file for {package}"))?;
        let unpacked = fresh.path().join("tree");
        run(Command::new("dpkg").arg("-x").arg(&file).arg(&unpacked))?;
        let version = run(Command::new("dpkg-deb").arg("--field").arg(&file).arg("Version"))?;
        fs::write(unpacked.join("version"), version.stdout)?;
        fs::rename(&unpacked, &tree)?;
    }
    let version = fs::read_to_string(tree.join("version"))?.trim().to_owned();
    Ok(Peer { program: tree.join("usr/bin").join(program), version })
}

/// `apt-get` with everything of its own, so that the host's configuration stays as it is.
fn apt_get(directory: &Path) -> Command {
    let mut command = Command::new("apt-get");
    let at = |name: &str| directory.join(name).display().to_string();
    for option in [
        format!("Dir::Etc::sourcelist={}", at("sources.list")),
        "Dir::Etc::sourceparts=/dev/null".into(),
        format!("Dir::State::lists={}", at("lists")),
        format!("Dir::Cache::archives={}", at("archives")),
        // The host's own cache describes other lists.
        "Dir::Cache::pkgcache=".into(),
        "Dir::Cache::srcpkgcache=".into(),
        "APT::Sandbox::User=root".into(),
    ] {
        command.args(["-o", &option]);
    }
    command
}

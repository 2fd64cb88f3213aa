//! The kernel compiled here: Debian's linux-source, the fragments of buildroot-overlay/board/vakt that Buildroot also
//! takes, this machine's compiler.
//!
//! What was built is kept below the cache directory under a hash of all of that, and never built twice. Objects stay
//! beside it, so that a changed fragment costs minutes. Nothing is a module, so the initramfs holds none.

mod compile;
pub mod fragments;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::arch::Arch;
use crate::build::hex;
use crate::cache;
use crate::process::{run, step};

/// Changes when the way of building does, so that what was built the old way is not taken.
const RECIPE: &str = "1";

/// Hexadecimal digits of a hash in a directory's name.
const DIGITS: usize = 16;

/// A kernel of ours.
#[derive(Clone, Debug)]
pub struct Kernel {
    directory: PathBuf,
    /// Its release, as uname(2) says it.
    pub release: String,
}

impl Kernel {
    /// The file that the boot loader takes.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// Its whole configuration.
    pub fn config(&self) -> PathBuf {
        self.directory.join("config")
    }

    /// The directory of its modules: none, and the list of what is built in.
    pub fn modules(&self) -> PathBuf {
        self.directory.join("modules").join(&self.release)
    }

    fn open(directory: PathBuf) -> Option<Kernel> {
        let release = fs::read_to_string(directory.join("release")).ok()?;
        Some(Kernel { release: release.trim().to_owned(), directory })
    }
}

/// What a kernel is built from.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// SHA-256 of the package with the source.
    pub source_sha256: String,
    /// The fragments, one behind the other.
    pub fragments: String,
    /// What compiler and BTF maker say of themselves.
    pub tools: String,
}

impl Recipe {
    /// Today's, for the source of this hash.
    ///
    /// # Errors
    /// When a fragment cannot be read or a tool is missing.
    pub fn of(workspace: &Path, source_sha256: &str) -> anyhow::Result<Recipe> {
        let board = workspace.join("buildroot-overlay/board/vakt");
        let mut fragments = String::new();
        for name in ["linux.config".to_owned(), format!("linux-{}.config", Arch::HERE.name())] {
            let path = board.join(name);
            fragments +=
                &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        let mut tools = String::new();
        for tool in ["gcc", "ld", "pahole"] {
            let output = run(Command::new(tool).arg("--version"))
                .context("the kernel's tools are missing; run: vakt-image setup --for kernel")?;
            tools += String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default();
            tools.push('\n');
        }
        Ok(Recipe { source_sha256: source_sha256.to_owned(), fragments, tools })
    }

    fn hash(&self) -> String {
        let parts = [RECIPE, Arch::HERE.name(), &self.source_sha256, &self.fragments, &self.tools];
        hex(&Sha256::digest(parts.join("\0")))[..DIGITS].to_owned()
    }

    /// The kernel that was built by it, if it was.
    pub fn built(&self) -> Option<Kernel> {
        Kernel::open(directory().join(self.hash()))
    }

    /// Builds it from `tarball`, or takes what was built. Compiles some 2,200 files: an hour or two on a busy machine.
    ///
    /// # Errors
    /// When the source cannot be unpacked, a line of a fragment does not survive, or make fails.
    pub fn build(&self, tarball: &Path) -> anyhow::Result<Kernel> {
        if let Some(kernel) = self.built() {
            return Ok(kernel);
        }
        let place = directory();
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let lock = fs::File::create(place.join("lock"))?;
        // Two builds share the source and the objects.
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        let source = place.join(format!("source-{}", &self.source_sha256[..DIGITS]));
        unpack(tarball, &source)?;
        let work = place.join(format!("work-{}-{}", &self.source_sha256[..DIGITS], Arch::HERE.kernel()));
        step("kernel: compiling");
        let fresh = tempfile::tempdir_in(&place)?;
        compile::compile(&source, &work, &self.fragments, fresh.path())?;
        let made = place.join(self.hash());
        let _ = fs::remove_dir_all(&made);
        fs::rename(fresh.keep(), &made).with_context(|| format!("cannot make {}", made.display()))?;
        self.built().context("the kernel that was built is not there")
    }
}

fn directory() -> PathBuf {
    cache::directory().join("kernel")
}

fn unpack(tarball: &Path, source: &Path) -> anyhow::Result<()> {
    if source.join(".complete").exists() {
        return Ok(());
    }
    step("kernel: unpacking the source");
    let _ = fs::remove_dir_all(source);
    fs::create_dir_all(source)?;
    let mut command = Command::new("tar");
    run(command.arg("-C").arg(source).args(["--strip-components=1", "-xf"]).arg(tarball))?;
    fs::write(source.join(".complete"), "")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_compiler_fragment_or_source_is_another_kernel() {
        let recipe = Recipe { source_sha256: "ab".repeat(32), fragments: "A".into(), tools: "gcc 12".into() };
        let others = [
            Recipe { source_sha256: "cd".repeat(32), ..recipe.clone() },
            Recipe { fragments: "B".into(), ..recipe.clone() },
            Recipe { tools: "gcc 13".into(), ..recipe.clone() },
        ];
        assert!(others.iter().all(|other| other.hash() != recipe.hash()));
    }
}

//! make, and what is taken from it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::fragments::lost;
use crate::arch::Arch;
use crate::process::run;

/// What the kernel would otherwise take from this machine and moment (Linux Documentation/kbuild/reproducible-builds.rst).
/// The time is that of every file of an image.
const FIXED: [(&str, &str); 5] = [
    ("KBUILD_BUILD_TIMESTAMP", "2020-01-01 00:00:00 UTC"),
    ("KBUILD_BUILD_USER", "vakt"),
    ("KBUILD_BUILD_HOST", "vakt"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
];

/// Compiles the kernel in `source` with `fragments` laid over Kconfig's defaults; objects go to `work`, what is kept
/// to `output`.
///
/// # Errors
/// When a line of the fragments does not survive (naming all of them) or make fails.
pub fn compile(source: &Path, work: &Path, fragments: &str, output: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(work).with_context(|| format!("cannot make {}", work.display()))?;
    fs::write(work.join(".config"), fragments)?;
    make(source, work, &["olddefconfig"])?;
    let config = fs::read_to_string(work.join(".config"))?;
    let lost = lost(fragments, &config);
    anyhow::ensure!(
        lost.is_empty(),
        "the kernel's configuration did not take these lines of buildroot-overlay/board/vakt/linux*.config; a \
         dependency is missing, or the symbol is gone:\n{}",
        lost.join("\n")
    );
    let (target, image) = Arch::HERE.kernel_image();
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    make(source, work, &[&format!("-j{jobs}"), target])?;
    let release = fs::read_to_string(work.join("include/config/kernel.release"))?;
    let modules = output.join("modules").join(release.trim());
    fs::create_dir_all(modules.join("kernel"))?;
    for (from, to) in [(image, output.join("vmlinuz")), ("modules.builtin", modules.join("modules.builtin"))]
    {
        fs::copy(work.join(from), to).with_context(|| format!("make left no {from}"))?;
    }
    fs::write(output.join("config"), config)?;
    fs::write(output.join("release"), release)?;
    Ok(())
}

fn make(source: &Path, work: &Path, words: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("make");
    command.arg("-s").arg("-C").arg(source).arg(format!("O={}", work.display()));
    command.arg(format!("ARCH={}", Arch::HERE.kernel())).args(words);
    // A make above this one would hand its own flags and jobs down.
    command.envs(FIXED).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
    run(&mut command).with_context(|| format!("cannot make the kernel's {}", words.join(" ")))?;
    Ok(())
}

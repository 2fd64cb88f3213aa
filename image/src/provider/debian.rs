//! Debian's packages, unpacked and not installed.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::lock::{Lock, Locked};
use super::{Inputs, Kernel};
use crate::arch::Arch;
use crate::cache;
use crate::kernel::Recipe;
use crate::process::{run, step};
use crate::setup::Apt;

/// Boot loader and stub in systemd's package.
const EFI: &str = "usr/lib/systemd/boot/efi";

/// Kernel, modules, stub and boot loader, by the lock.
///
/// # Errors
/// When a package can be neither found in the cache nor downloaded, or the kernel cannot be compiled.
pub fn inputs(kernel: Kernel) -> anyhow::Result<Inputs> {
    let lock = Lock::read()?;
    let (boot, boot_line) = unpacked(lock.of("boot")?, None)?;
    let (_, check_line) = unpacked(lock.of("check")?, None)?;
    let (image, release, modules, kernel_line) = match kernel {
        Kernel::Stock => stock(&lock)?,
        Kernel::Source => {
            let (tree, line) = unpacked(lock.of("kernel-source")?, None)?;
            let hash = line.rsplit(' ').next().unwrap_or_default();
            let built = Recipe::of(&workspace(), hash)?.build(&only_entry(&tree.join("usr/src"))?)?;
            (built.image(), built.release.clone(), built.modules(), line)
        }
    };
    Ok(Inputs {
        kernel: image,
        kernel_release: release,
        modules,
        stub: boot.join(EFI).join(Arch::HERE.stub()),
        boot_loader: boot.join(EFI).join(Arch::HERE.boot_loader()),
        packages: vec![kernel_line, boot_line, check_line],
    })
}

/// The recipe of the kernel of ours, by the lock; nothing is downloaded or built.
///
/// # Errors
/// When the lock or a fragment cannot be read, or a tool is missing.
pub fn recipe() -> anyhow::Result<Recipe> {
    Recipe::of(&workspace(), &Lock::read()?.of("kernel-source")?.sha256)
}

/// Debian's kernel: image, release, modules, line for the manifest.
fn stock(lock: &Lock) -> anyhow::Result<(PathBuf, String, PathBuf, String)> {
    // What does when the locked one is gone, by apt's regular expression.
    let others = format!("^linux-image-6\\.12\\..*-cloud-{}-unsigned$", Arch::HERE.debian());
    let (tree, line) = unpacked(lock.of("kernel")?, Some(&others))?;
    // Packages of trixie and later have their modules below /usr.
    let places = ["lib/modules", "usr/lib/modules"].map(|place| tree.join(place));
    let modules = only_entry(places.iter().find(|place| place.is_dir()).unwrap_or(&places[0]))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((tree.join("boot").join(format!("vmlinuz-{release}")), release, modules, line))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The directory with OVMF's files.
///
/// # Errors
/// When the package can be neither found in the cache nor downloaded.
pub fn firmware() -> anyhow::Result<PathBuf> {
    Ok(unpacked(Lock::read()?.of("firmware")?, None)?.0.join("usr/share/OVMF"))
}

/// e2fsck as one static file, which init checks state with.
///
/// # Errors
/// When the package can be neither found in the cache nor downloaded.
pub fn file_system_check() -> anyhow::Result<PathBuf> {
    Ok(unpacked(Lock::read()?.of("check")?, None)?.0.join("sbin/e2fsck.static"))
}

/// The unpacked package, and its line for the manifest.
fn unpacked(locked: &Locked, replacements: Option<&str>) -> anyhow::Result<(PathBuf, String)> {
    let directory = cache::directory().join("debs");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let tree = directory.join(&locked.sha256);
    let line = format!("{} {} {}", locked.name, locked.version, locked.sha256);
    if tree.join(".complete").exists() {
        return Ok((tree, line));
    }
    step(&format!("fetching {} {}", locked.name, locked.version));
    let (file, line) = match download_locked(locked, &directory) {
        Ok(file) => (file, line),
        Err(error) => download_replacement(locked, replacements, &directory)
            .with_context(|| format!("{error:#}; and no replacement"))?,
    };
    let hash = sha256(&file)?;
    let tree = directory.join(&hash);
    let fresh = tempfile::tempdir_in(&directory)?;
    run(Command::new("dpkg").arg("-x").arg(&file).arg(fresh.path())).context("cannot unpack")?;
    fs::write(fresh.path().join(".complete"), "")?;
    let _ = fs::remove_dir_all(&tree);
    fs::rename(fresh.keep(), &tree)?;
    let _ = fs::remove_file(&file);
    Ok((tree, line))
}

fn download_locked(locked: &Locked, directory: &Path) -> anyhow::Result<PathBuf> {
    let apt = Apt::open()?;
    apt.update()?;
    let file = apt.download(&locked.name, &locked.version, directory).or_else(|_| {
        apt.update_now()?;
        apt.download(&locked.name, &locked.version, directory)
    })?;
    let found = sha256(&file)?;
    anyhow::ensure!(
        found == locked.sha256,
        "{} {} has SHA-256 {found}, the lock says {}",
        locked.name,
        locked.version,
        locked.sha256
    );
    Ok(file)
}

/// Debian removes old security versions: the newest one there is serves instead, and that is said,
/// for the root hash is another then.
fn download_replacement(
    locked: &Locked,
    pattern: Option<&str>,
    directory: &Path,
) -> anyhow::Result<(PathBuf, String)> {
    let apt = Apt::open()?;
    let mut names = match pattern {
        Some(pattern) => apt.names(pattern)?,
        None => vec![locked.name.clone()],
    };
    names.sort_by_key(|name| numbers(name));
    let name = names.last().with_context(|| format!("no package is like {}", locked.name))?;
    let version = apt.versions(name)?.into_iter().next().with_context(|| format!("{name} has no version"))?;
    eprintln!(
        "warning: {} {} is not to be had any more; using {name} {version}:",
        locked.name, locked.version
    );
    eprintln!("warning: the root hash will differ from that of the locked inputs");
    let file = apt.download(name, &version, directory)?;
    let hash = sha256(&file)?;
    Ok((file, format!("{name} {version} {hash}")))
}

/// The numbers in a name, for comparing versions.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn only_entry(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let first = entries.next().with_context(|| format!("{} is empty", directory.display()))??;
    Ok(first.path())
}

fn sha256(path: &Path) -> anyhow::Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(crate::build::hex(&hash.finalize()));
        }
        hash.update(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_packages_are_compared_by_number_and_not_by_letter() {
        let old = numbers("linux-image-6.12.95+deb12-cloud-amd64-unsigned");
        let new = numbers("linux-image-6.12.117+deb12-cloud-amd64-unsigned");
        assert!(new > old);
    }
}

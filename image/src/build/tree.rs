//! The root tree: our programs, the overlay, and empty places to mount on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::programs::PROGRAMS;
use crate::process::run;
use crate::provider;

/// Where kernel file systems and state are mounted, and where the bill of materials will lie, which the web service's
/// room is built with.
const DIRECTORIES: &[&str] = &["dev", "proc", "run", "state", "sys", "tmp", "etc", "usr/share/vakt"];

/// Where the trusted root.json lies in an image; `vakt-update` begins with it.
const TRUST: &str = "usr/lib/vakt/update/root.json";

/// Makes the tree at `output`, which must not exist, from the programs in `programs` (stripped),
/// the overlay of `buildroot-overlay/`, e2fsck, and the root.json `trust`, which says who may sign updates.
///
/// # Errors
/// When a program is missing or something cannot be copied.
pub fn stage(workspace: &Path, programs: &Path, trust: &Path, output: &Path) -> anyhow::Result<()> {
    for name in DIRECTORIES {
        fs::create_dir_all(output.join(name)).with_context(|| format!("cannot make {}", output.display()))?;
    }
    copy_tree(&workspace.join("buildroot-overlay/board/vakt/rootfs_overlay"), output)?;
    let bin = output.join("usr/bin");
    fs::create_dir_all(&bin)?;
    for name in PROGRAMS {
        let from = programs.join(name);
        let to = bin.join(name);
        run(Command::new("strip").arg("--strip-all").arg("-o").arg(&to).arg(&from))
            .with_context(|| format!("cannot take {} into the image", from.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    let check = bin.join("e2fsck");
    run(Command::new("strip").arg("--strip-all").arg("-o").arg(&check).arg(provider::file_system_check()?))
        .context("cannot take e2fsck into the image")?;
    fs::set_permissions(&check, fs::Permissions::from_mode(0o755))?;
    fs::write(output.join("usr/lib/os-release"), os_release())?;
    let trusted = output.join(TRUST);
    fs::create_dir_all(trusted.parent().unwrap_or(output))?;
    fs::copy(trust, &trusted)
        .with_context(|| format!("cannot read {}; make keys with: vakt-image keys DIR", trust.display()))?;
    fs::set_permissions(&trusted, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

/// os-release(5); systemd-boot shows it.
pub fn os_release() -> String {
    let version = crate::VERSION;
    format!(
        "NAME=Vakt\nID=vakt\nPRETTY_NAME=\"Vakt {version}\"\nVERSION_ID={version}\nIMAGE_ID=vakt\nIMAGE_VERSION={version}\n"
    )
}

/// A root tree's os-release, and the version that it names: what goes into the UKI must be the root's own,
/// for the boot loader orders the slots by it.
///
/// # Errors
/// When there is none.
pub fn version(root_tree: &Path) -> anyhow::Result<(String, String)> {
    let path = root_tree.join("usr/lib/os-release");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let version = text.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="));
    let version = version.with_context(|| format!("{} has no IMAGE_VERSION=", path.display()))?.to_owned();
    Ok((text, version))
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

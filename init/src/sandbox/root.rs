//! The room's file tree: a tmpfs with bind mounts, and the switch into it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::plan::{Access, Plan, Program, Shown};

/// Where the new root is put together. It exists in the image and is empty outside the room.
const BUILD_AT: &str = "/run/vakt/room";

/// The tmpfs holds mount points and nothing else (or one brought program), so it stays small.
const ROOT_OPTIONS: &std::ffi::CStr = c"mode=0755,size=64m,nr_inodes=512";

/// Builds the tree of `plan` and makes it this process' root. The old root is gone afterwards.
///
/// # Errors
/// At the first path that cannot be shown, naming it.
pub fn build_and_enter(plan: &Plan) -> anyhow::Result<()> {
    let root = Path::new(BUILD_AT);
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot make mounts private")?;
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("room", root, "tmpfs", quiet, ROOT_OPTIONS)
        .with_context(|| format!("cannot mount a tmpfs on {BUILD_AT}"))?;
    place_program(root, &plan.program)?;
    for shown in &plan.shown {
        show(root, shown).with_context(|| format!("cannot show {}", shown.from.display()))?;
    }
    rustix::process::chdir(root).context("cannot enter the room")?;
    rustix::process::pivot_root(".", ".").context("cannot pivot into the room")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).context("cannot drop the old root")?;
    rustix::process::chdir("/").context("cannot enter the new root")?;
    rustix::mount::mount_remount("/", quiet | MountFlags::RDONLY, "")
        .context("cannot make the room read-only")
}

fn place_program(root: &Path, program: &Program) -> anyhow::Result<()> {
    match program {
        Program::Installed(path) => {
            let shown = Shown { from: path.clone(), at: path.clone(), access: Access::Read };
            show(root, &shown).with_context(|| format!("cannot show the program {}", path.display()))
        }
        Program::Brought { path, bytes } => {
            let at = inside(root, path);
            make_parent(&at)?;
            fs::write(&at, bytes).with_context(|| format!("cannot place {}", path.display()))?;
            fs::set_permissions(&at, fs::Permissions::from_mode(0o755))?;
            Ok(())
        }
    }
}

fn show(root: &Path, shown: &Shown) -> anyhow::Result<()> {
    let at = inside(root, &shown.at);
    make_parent(&at)?;
    if shown.from.is_dir() {
        fs::create_dir_all(&at)?;
    } else {
        fs::File::create(&at)?;
    }
    rustix::mount::mount_bind(&shown.from, &at)?;
    let flags = match shown.access {
        Access::Read => MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY,
        Access::Write | Access::Sockets => MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        Access::Device => MountFlags::NOSUID | MountFlags::NOEXEC,
    };
    rustix::mount::mount_remount(&at, flags | MountFlags::BIND, "")?;
    Ok(())
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn make_parent(path: &Path) -> anyhow::Result<()> {
    path.parent().map_or(Ok(()), |parent| {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
    })
}

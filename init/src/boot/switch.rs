//! From the initramfs into the root: kernel mounts move along, the initramfs' memory is given back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;

/// Makes the file system mounted at `new_root` this process' `/`.
///
/// # Errors
/// When a mount cannot be moved.
pub fn into(new_root: &str) -> anyhow::Result<()> {
    let new_root = Path::new(new_root);
    for name in ["proc", "sys", "dev", "run"] {
        let (from, to) = (Path::new("/").join(name), new_root.join(name));
        rustix::mount::mount_move(&from, &to)
            .with_context(|| format!("cannot move /{name} into the root"))?;
    }
    empty(Path::new("/"), fs::metadata("/").context("cannot look at the initramfs")?.dev());
    rustix::process::chdir(new_root).context("cannot enter the root")?;
    rustix::mount::mount_move(".", "/").context("cannot move the root to /")?;
    rustix::process::chroot(".").context("cannot make the root /")?;
    rustix::process::chdir("/").context("cannot enter /")
}

/// Removes everything on `device` below `directory`. What cannot be removed only costs its memory.
fn empty(directory: &Path, device: u64) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.dev() != device {
            continue;
        }
        let _ = if metadata.is_dir() {
            empty(&path, device);
            fs::remove_dir(&path)
        } else {
            fs::remove_file(&path)
        };
    }
}

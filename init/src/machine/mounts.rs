//! The mount table, as data.

use std::fs;
use std::path::Path;

use anyhow::Context;
use rustix::mount::MountFlags;

/// One kernel file system to mount.
struct Mount {
    what: &'static str,
    at: &'static str,
    flags: MountFlags,
    options: &'static std::ffi::CStr,
}

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// What both stages need.
const EARLY: &[Mount] = &[
    Mount { what: "proc", at: "/proc", flags: SAFE, options: c"" },
    Mount { what: "sysfs", at: "/sys", flags: SAFE, options: c"" },
    Mount { what: "devtmpfs", at: "/dev", flags: MountFlags::NOSUID, options: c"mode=0755" },
    Mount { what: "tmpfs", at: "/run", flags: SAFE, options: c"mode=0755,size=16m,nr_inodes=4096" },
];

/// What the services' room builder and their bounds need besides.
const LATE: &[Mount] = &[
    Mount { what: "cgroup2", at: "/sys/fs/cgroup", flags: SAFE, options: c"nsdelegate" },
    Mount { what: "bpf", at: "/sys/fs/bpf", flags: SAFE, options: c"mode=0700" },
];

/// Mounts /proc, /sys, /dev and /run.
///
/// # Errors
/// At the first that fails, naming it.
pub fn early() -> anyhow::Result<()> {
    EARLY.iter().try_for_each(mount)
}

/// Mounts cgroup2 and bpf. A kernel without bpf's file system loses only that.
///
/// # Errors
/// When cgroup2 cannot be mounted.
pub fn late() -> anyhow::Result<()> {
    mount(&LATE[0])?;
    let _ = mount(&LATE[1]);
    Ok(())
}

fn mount(mount: &Mount) -> anyhow::Result<()> {
    if !Path::new(mount.at).is_dir() {
        fs::create_dir_all(mount.at).with_context(|| format!("cannot make {}", mount.at))?;
    }
    match rustix::mount::mount(mount.what, mount.at, mount.what, mount.flags, mount.options) {
        // The kernel may have mounted devtmpfs by itself.
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot mount {} on {}", mount.what, mount.at)),
    }
}

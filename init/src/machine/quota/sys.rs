//! Project quotas' system calls.
#![expect(unsafe_code, reason = "project ids and quotactl_fd(2) have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::sys::check;

/// `struct fsxattr` of include/uapi/linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct FileAttributes {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    project: u32,
    cowextsize: u32,
    padding: [u8; 8],
}

/// Puts a directory, and what is made in it from now on, into a project.
///
/// # Errors
/// As FS_IOC_FSSETXATTR; where the file system knows no projects it is refused.
pub fn set_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    const FS_IOC_FSGETXATTR: u64 = 0x801C_581F;
    const FS_IOC_FSSETXATTR: u64 = 0x401C_5820;
    const FS_XFLAG_PROJINHERIT: u32 = 0x200;
    let mut attributes = FileAttributes::default();
    let fd = directory.as_raw_fd();
    // SAFETY: both requests read or write the one struct, which has the kernel's layout.
    check(unsafe { libc::ioctl(fd, FS_IOC_FSGETXATTR as _, &raw mut attributes) }.into())?;
    attributes.project = project;
    attributes.xflags |= FS_XFLAG_PROJINHERIT;
    // SAFETY: as above.
    check(unsafe { libc::ioctl(fd, FS_IOC_FSSETXATTR as _, &raw const attributes) }.into())?;
    Ok(())
}

/// `struct if_dqblk` of include/uapi/linux/quota.h; limits count blocks of 1024 bytes, use counts bytes.
#[repr(C)]
#[derive(Default)]
struct DiskQuota {
    blocks_hard: u64,
    blocks_soft: u64,
    bytes: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    inodes: u64,
    blocks_until: u64,
    inodes_until: u64,
    valid: u32,
}

const QUOTA_BLOCK: u64 = 1024;

/// Bytes that a project has and may have (0: any), on the file system that `mounted` lies on.
///
/// # Errors
/// As quotactl_fd(2); ESRCH where no quotas are held.
pub fn project_quota(mounted: BorrowedFd<'_>, project: u32) -> io::Result<(u64, u64)> {
    const Q_GETQUOTA: u32 = 0x80_0007;
    let mut quota = DiskQuota::default();
    quota_call(mounted, Q_GETQUOTA, project, &mut quota)?;
    Ok((quota.bytes, quota.blocks_hard * QUOTA_BLOCK))
}

/// Bounds a project's bytes.
///
/// # Errors
/// As quotactl_fd(2).
pub fn set_project_quota(mounted: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    const Q_SETQUOTA: u32 = 0x80_0008;
    const QIF_BLIMITS: u32 = 1;
    let blocks = bytes / QUOTA_BLOCK;
    let mut quota =
        DiskQuota { blocks_hard: blocks, blocks_soft: blocks, valid: QIF_BLIMITS, ..DiskQuota::default() };
    quota_call(mounted, Q_SETQUOTA, project, &mut quota)
}

fn quota_call(mounted: BorrowedFd<'_>, call: u32, project: u32, quota: &mut DiskQuota) -> io::Result<()> {
    const PRJQUOTA: u32 = 2;
    let command = call << 8 | PRJQUOTA;
    // SAFETY: both calls read or write the one struct, which has the kernel's layout.
    let result = unsafe {
        libc::syscall(libc::SYS_quotactl_fd, mounted.as_raw_fd(), command, project, &raw mut *quota)
    };
    check(result)?;
    Ok(())
}

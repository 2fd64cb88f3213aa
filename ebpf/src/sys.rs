//! The only unsafe code of this crate: one bpf(2) command that aya keeps to itself, and fork(2).
#![expect(unsafe_code, reason = "bpf(2) and fork(2) have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// BPF_RAW_TRACEPOINT_OPEN (include/uapi/linux/bpf.h, enum bpf_cmd).
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;

/// The command's part of union bpf_attr. No name: the program was loaded for its tracepoint.
#[repr(C)]
struct RawTracepoint {
    name: u64,
    program: u32,
    zero: u32,
}

/// Attaches a loaded tp_btf program. It is detached when the last copy of the descriptor is closed.
///
/// # Errors
/// The kernel's.
pub fn attach(program: BorrowedFd) -> io::Result<OwnedFd> {
    let attr = RawTracepoint { name: 0, program: program.as_raw_fd().cast_unsigned(), zero: 0 };
    // SAFETY: the kernel reads as many bytes of attr as are said, all of which are initialised, and keeps no pointer.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, RAW_TRACEPOINT_OPEN, &raw const attr, size_of_val(&attr)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Runs `work` in a child that ends with it, and returns the child's process id; 0 is never returned.
///
/// # Errors
/// The kernel's.
///
/// The caller must be the only thread: of a process with more, only this thread would be in the child, and a lock that
/// another holds (the allocator's) would stay locked. [`crate::child`] looks before it calls.
pub fn fork(work: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: by the rule above there is no other thread, so the child is a whole copy that may do anything; it leaves by
    // _exit and runs no destructor or handler of the parent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: _exit takes a number and does not return.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        child => Ok(child),
    }
}

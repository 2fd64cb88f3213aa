//! The one place in this crate that is not safe Rust: inherited descriptors, and wishes to the allocator.
#![expect(unsafe_code, reason = "descriptors arrive as bare numbers; mallopt(3) has no safe wrapper")]

use std::os::fd::{FromRawFd, OwnedFd};

/// First descriptor that systemd's socket activation hands over (sd_listen_fds(3)).
pub const LISTEN_FDS_START: i32 = 3;

/// Takes ownership of the `count` descriptors from [`LISTEN_FDS_START`] on, and sets close-on-exec.
///
/// The caller must call this once in the life of the process and only for descriptors that the
/// environment declared as handed over.
pub fn take_inherited(count: u32) -> Vec<OwnedFd> {
    (0..count as i32)
        .map(|offset| {
            let raw = LISTEN_FDS_START + offset;
            // SAFETY: `fcntl` on any number is sound; a closed one answers EBADF.
            unsafe { libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC) };
            // SAFETY: LISTEN_FDS declares the descriptor open and ours, and `take` in `listen`
            // lets this run once, so nothing else owns it.
            unsafe { OwnedFd::from_raw_fd(raw) }
        })
        .collect()
}

/// Pieces from this size on are mapped alone and unmapped when freed: a password hash, a block, a large answer.
const MAPPED_BYTES_MIN: i32 = 1 << 20;

/// See [`crate::heap::bound`].
pub fn bound_heap() {
    // SAFETY: mallopt takes two integers and changes glibc's own state under its lock; it is called before
    // other threads exist, and would at worst come too late for them.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MAPPED_BYTES_MIN);
    }
}

/// See [`crate::heap::trim`].
pub fn trim_heap() {
    // SAFETY: malloc_trim takes an integer and works under glibc's own locks; it touches free memory only.
    unsafe { libc::malloc_trim(0) };
}

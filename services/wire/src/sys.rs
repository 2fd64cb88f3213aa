//! The one place in this crate that touches raw descriptors.
#![expect(unsafe_code, reason = "inherited descriptors arrive as bare numbers")]

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

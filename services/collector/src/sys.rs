//! The one place in this crate that is not safe Rust: two wishes to glibc's allocator.
//!
//! Attaching the eBPF programs reads the kernel's whole BTF, some 40 MB of small pieces for a moment; glibc would keep
//! what is freed of it for ever (measured: 21 MB stay where 2 MB are in use).
#![expect(unsafe_code, reason = "mallopt(3) and malloc_trim(3) have no safe wrapper")]

/// Keeps all threads in one arena. Call first thing in the life of the process.
pub fn bound_heap() {
    // SAFETY: mallopt takes two integers and changes glibc's own state under its lock; before other threads exist
    // nothing can be in the middle of an allocation.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives free memory back to the kernel.
pub fn trim_heap() {
    // SAFETY: malloc_trim takes an integer and works under glibc's own locks; it touches free memory only.
    unsafe { libc::malloc_trim(0) };
}

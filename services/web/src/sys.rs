//! The one place in this crate that is not safe Rust: wishes to glibc's allocator.
//!
//! A password hash takes 19 MiB for a tenth of a second. glibc maps the first such piece and unmaps it,
//! then raises its threshold and keeps the next ones in the heap for good: measured, 47 MB after three
//! sign-ins where 10 are in use. A fixed threshold and one arena keep a hash's memory a loan.
#![expect(unsafe_code, reason = "mallopt(3) and malloc_trim(3) have no safe wrapper")]

/// Pieces from this size on are mapped alone and unmapped when freed.
const MAPPED_BYTES_MIN: i32 = 1 << 20;

/// Sets the bounds above. Call first thing in the life of the process.
pub fn bound_heap() {
    // SAFETY: mallopt takes two integers and changes glibc's own state under its lock; before other
    // threads exist nothing can be in the middle of an allocation.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MAPPED_BYTES_MIN);
    }
}

/// Gives free memory back to the kernel. Some milliseconds for tens of megabytes.
pub fn trim_heap() {
    // SAFETY: malloc_trim takes an integer and works under glibc's own locks; it touches free memory only.
    unsafe { libc::malloc_trim(0) };
}

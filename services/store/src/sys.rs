//! The one place in this crate that is not safe Rust: two wishes to glibc's allocator.
//!
//! Windows are filled by one thread and freed by another, queries come and go on threads of their own. glibc gives
//! each an arena and keeps what was freed there; one arena, and giving back after each flush, keep it near what is used.
#![expect(unsafe_code, reason = "mallopt(3) and malloc_trim(3) have no safe wrapper")]

/// Pieces from this size on are mapped alone and unmapped when freed; glibc would raise its threshold with the first
/// one freed, and keep the next ones.
const MAPPED_BYTES_MIN: i32 = 1 << 20;

/// Keeps all threads in one arena, and large pieces out of it. Call first thing in the life of the process.
pub fn bound_heap() {
    // SAFETY: mallopt takes two integers and changes glibc's own state under its lock; before other threads exist
    // nothing can be in the middle of an allocation.
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

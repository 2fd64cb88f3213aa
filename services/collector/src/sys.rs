//! The one place in this crate that is not safe Rust: two wishes to glibc's allocator, and two questions about the
//! clock.
//!
//! Attaching the eBPF programs reads the kernel's whole BTF, some 40 MB of small pieces for a moment; glibc would keep
//! what is freed of it for ever (measured: 21 MB stay where 2 MB are in use).
#![expect(
    unsafe_code,
    reason = "mallopt(3), malloc_trim(3), adjtimex(2) and localtime_r(3) have no safe wrapper"
)]

use crate::inputs::Clock;

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

/// What the kernel's clock discipline says. Nothing is changed: no mode is set.
pub fn clock() -> Option<Clock> {
    // SAFETY: all fields of timex are integers, for which zero is a value; with modes 0 the call only writes to the
    // struct, which lives until it returns.
    let (state, found) = unsafe {
        let mut found: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut found), found)
    };
    (state >= 0).then(|| Clock {
        synchronised: state != libc::TIME_ERROR,
        fields: [
            found.offset,
            found.freq,
            found.maxerror,
            found.esterror,
            i64::from(found.status),
            found.constant,
            found.tick,
            found.ppsfreq,
            found.jitter,
            i64::from(found.shift),
            found.stabil,
            found.jitcnt,
            found.calcnt,
            found.errcnt,
            found.stbcnt,
            i64::from(found.tai),
        ],
    })
}

/// The local time zone at `now` (seconds since the epoch): seconds east of Greenwich and its short name.
pub fn zone(now: i64) -> (i64, String) {
    // SAFETY: localtime_r reads the number and writes the struct, both of which live here; tm_zone is null or points
    // to a string that glibc keeps for the life of the process, and is copied at once.
    unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const now, &raw mut local).is_null() || local.tm_zone.is_null() {
            return (0, "UTC".into());
        }
        let name = std::ffi::CStr::from_ptr(local.tm_zone).to_string_lossy().into_owned();
        (local.tm_gmtoff, name)
    }
}

//! The bounds on glibc's heap, in a process of their own: they hold for all of it.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

use vakt_wire::heap;

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn what_is_freed_between_pieces_in_use_goes_back_to_the_kernel_on_demand() {
    heap::bound();
    // 64 MiB in pieces below the mapping threshold; each fourth one stays and pins the heap's end.
    let mut pieces: Vec<Option<Vec<u8>>> = (0..1024).map(|n| Some(vec![n as u8 | 1; 64 << 10])).collect();
    let full = resident_kib();
    pieces.iter_mut().enumerate().filter(|(n, _)| n % 4 != 3).for_each(|(_, piece)| *piece = None);
    let freed = resident_kib();
    heap::trim();
    let trimmed = resident_kib();
    assert!(freed + (16 << 10) > full, "glibc keeps it: {full} KiB, then {freed}");
    assert!(trimmed + (40 << 10) < full, "and gives it back: {full} KiB, then {trimmed}");
    assert_eq!(pieces.iter().flatten().count(), 256);
}

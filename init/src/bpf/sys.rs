//! bpf(2): programs into the kernel and to where they run, and maps.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper, and aya's loader wants an object file")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::Instruction;

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On packets that arrive at a cgroup (BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS).
    Arriving,
    /// On packets that leave it (BPF_CGROUP_INET_EGRESS).
    Leaving,
    /// On a raw tracepoint.
    RawTracepoint,
}

impl Kind {
    /// The program's type and where it is attached.
    fn numbers(self) -> (u32, u32) {
        match self {
            Kind::Arriving => (8, 0),
            Kind::Leaving => (8, 1),
            Kind::RawTracepoint => (17, 0),
        }
    }
}

/// A map's kind.
#[derive(Clone, Copy, Debug)]
pub enum MapKind {
    /// Keys and values; full is full.
    Hash = 1,
    /// The oldest goes when it is full.
    LruHash = 9,
}

/// The first members of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the rest as zero.
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// For BPF_PROG_ATTACH.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// For BPF_MAP_CREATE.
#[repr(C)]
struct MapAttributes {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// For BPF_MAP_GET_NEXT_KEY.
#[repr(C)]
struct KeyAttributes {
    map_fd: u32,
    unused: u32,
    key: u64,
    next_key: u64,
}

/// For BPF_RAW_TRACEPOINT_OPEN.
#[repr(C)]
struct TracepointAttributes {
    name: u64,
    prog_fd: u32,
    unused: u32,
}

/// bpf(2) itself; each caller's struct is the kernel's layout for its command, and what it points to is alive.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: pointer and length are of one struct, which outlives the call; the kernel reads no more of it, and
    // only BPF_MAP_GET_NEXT_KEY makes it write, to where that struct says.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: it came from a command of bpf(2) that makes a new descriptor, which nobody else owns; it is
    // close-on-exec.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Has the kernel check and compile a program.
///
/// # Errors
/// As bpf(2).
pub fn load(code: &[Instruction], kind: Kind) -> io::Result<OwnedFd> {
    let (prog_type, expected_attach_type) = kind.numbers();
    let mut attributes = LoadAttributes {
        prog_type,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"vakt_init\0\0\0\0\0\0\0",
        prog_ifindex: 0,
        expected_attach_type,
    };
    bpf(BPF_PROG_LOAD, &mut attributes).map(owned)
}

/// Puts a program onto a cgroup, in place of the one that is there.
///
/// # Errors
/// As bpf(2).
pub fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, kind: Kind) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: kind.numbers().1,
        attach_flags: 0,
    };
    bpf(BPF_PROG_ATTACH, &mut attributes).map(|_| ())
}

/// A map of at most `entries_max`, with values of 4 bytes.
///
/// # Errors
/// As bpf(2).
pub fn map(kind: MapKind, key_bytes: u32, entries_max: u32) -> io::Result<OwnedFd> {
    let mut attributes =
        MapAttributes { map_type: kind as u32, key_size: key_bytes, value_size: 4, max_entries: entries_max };
    bpf(BPF_MAP_CREATE, &mut attributes).map(owned)
}

/// The key after `key` of a map whose keys are `N` bytes; the first for `None`. `None` after the last.
///
/// # Errors
/// As bpf(2).
pub fn next_key<const N: usize>(map: BorrowedFd<'_>, key: Option<&[u8; N]>) -> io::Result<Option<[u8; N]>> {
    let mut next = [0; N];
    let mut attributes = KeyAttributes {
        map_fd: map.as_raw_fd() as u32,
        unused: 0,
        key: key.map_or(0, |key| key.as_ptr() as u64),
        next_key: (&raw mut next) as u64,
    };
    match bpf(BPF_MAP_GET_NEXT_KEY, &mut attributes) {
        Ok(_) => Ok(Some(next)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs a program at a raw tracepoint until the returned descriptor is closed.
///
/// # Errors
/// As bpf(2).
pub fn at_tracepoint(name: &std::ffi::CStr, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attributes =
        TracepointAttributes { name: name.as_ptr() as u64, prog_fd: program.as_raw_fd() as u32, unused: 0 };
    bpf(BPF_RAW_TRACEPOINT_OPEN, &mut attributes).map(owned)
}

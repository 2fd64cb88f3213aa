//! The system calls of the services, by name and number: what seccomp lets through, and what `exposure`
//! tells of it.
//!
//! A service may make the calls of its recorded list (`NAME.calls` beside its manifest, [`crate::record`]), those
//! of the [`BASELINE`], and no others. A service without a list may make all of [`BASE`]; what is not in
//! [`BASE`] nobody is given, recorded or not.

/// A system call: its name as libc's constant has it, and its number.
pub type Call = (&'static str, i64);

macro_rules! calls {
    ($($call:ident,)*) => { &[$((stringify!($call), libc::$call)),*] };
}

/// What any service may be given.
#[rustfmt::skip]
const BASE: &[Call] = calls![
    // Files and descriptors.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_openat,
    SYS_close,
    SYS_close_range,
    SYS_lseek,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_statfs,
    SYS_fsync,
    SYS_fdatasync,
    SYS_sync_file_range,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_flock,
    SYS_fcntl,
    SYS_dup,
    SYS_dup3,
    SYS_pipe2,
    SYS_getdents64,
    SYS_unlinkat,
    SYS_mkdirat,
    SYS_renameat2,
    SYS_renameat,
    SYS_linkat,
    SYS_readlinkat,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fadvise64,
    SYS_copy_file_range,
    SYS_sendfile,
    SYS_getcwd,
    SYS_umask,
    SYS_utimensat,
    // Memory.
    SYS_mmap,
    SYS_munmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_msync,
    SYS_mincore,
    // Keys are kept out of swap.
    SYS_mlock,
    SYS_munlock,
    SYS_membarrier,
    // Threads, signals, time.
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_rseq,
    SYS_set_tid_address,
    SYS_gettid,
    SYS_getpid,
    SYS_getppid,
    SYS_exit,
    SYS_exit_group,
    // Landlock's scope leaves nobody but the service's own children to signal.
    SYS_kill,
    SYS_tgkill,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_getrandom,
    SYS_prctl,
    SYS_prlimit64,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrusage,
    SYS_wait4,
    SYS_getcpu,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    // Events.
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_ppoll,
    SYS_eventfd2,
    SYS_pselect6,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_signalfd4,
    // Sockets that exist already, or that `socket_rules` lets be made.
    SYS_socketpair,
    SYS_bind,
    SYS_listen,
    SYS_accept4,
    SYS_connect,
    SYS_getsockname,
    SYS_getpeername,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_setsockopt,
    SYS_getsockopt,
    SYS_shutdown,
    // Landlock lets it run one file: the service itself.
    SYS_execve,
];

/// The same calls under their old names, where the machine has them.
#[rustfmt::skip]
#[cfg(target_arch = "x86_64")]
const BASE_OF_ARCH: &[Call] = calls![
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_poll,
    SYS_select,
    SYS_dup2,
    SYS_pipe,
    SYS_readlink,
    SYS_mkdir,
    SYS_rmdir,
    SYS_unlink,
    SYS_rename,
    SYS_epoll_wait,
    SYS_epoll_create,
    SYS_eventfd,
    SYS_arch_prctl,
    SYS_accept,
    SYS_time,
    SYS_chmod,
    SYS_link,
];

#[cfg(not(target_arch = "x86_64"))]
const BASE_OF_ARCH: &[Call] = calls![SYS_accept,];

/// Calls that are let through for some arguments only; [`super::seccomp`] says which.
pub const JUDGED: &[Call] = calls![SYS_clone, SYS_ioctl, SYS_socket, SYS_seccomp,];

/// What programs for eBPF need. The collector's are at tracepoints by BTF, which need no perf_event_open(2).
pub const BPF: &[Call] = calls![SYS_bpf,];

/// Ways that a service takes seldom, so that a recording may not show them, and the calls on each.
#[rustfmt::skip]
const BASELINE: &[(&str, &[&str])] = &[
    ("it begins, panics, aborts, or is ended by a signal",
     &["execve", "exit", "exit_group", "getpid", "gettid", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
       "sigaltstack", "restart_syscall"]),
    ("a panic prints a backtrace, for which it reads its own file and maps",
     &["openat", "open", "read", "close", "fstat", "newfstatat", "stat", "statx", "lseek", "readlink", "readlinkat", "getcwd",
       "write", "writev"]),
    ("a library asks who it is, and takes it that this never fails",
     &["getuid", "geteuid", "getgid", "getegid", "getppid", "umask", "uname"]),
    ("memory grows, moves and is given back",
     &["brk", "mmap", "munmap", "mremap", "mprotect", "madvise"]),
    ("threads come and go with the load, and wait for each other",
     &["futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "prctl", "getrandom"]),
    ("which call waits and which clock is read depends on the machine: not every one has a clock in the vDSO",
     &["poll", "ppoll", "epoll_wait", "epoll_pwait", "epoll_ctl", "nanosleep", "clock_nanosleep", "clock_gettime",
       "gettimeofday", "time"]),
    ("a connection breaks, or brings its bytes in pieces",
     &["accept4", "connect", "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername", "recvfrom", "sendto",
       "recvmsg", "sendmsg", "readv", "eventfd2", "fcntl"]),
];

/// The same for a service that keeps files: a disk that is full or was cut off is tidied up.
const BASELINE_OF_FILES: &[&str] = &[
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "lseek",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "getdents64",
    "flock",
    "fstatfs",
    "fchmod",
    "faccessat",
    "faccessat2",
    "copy_file_range",
    "fadvise64",
];

/// The calls of a service, those whose arguments are judged elsewhere not among them: all for one without a
/// `recorded` list.
pub fn of_service(recorded: Option<&[String]>, keeps_files: bool) -> Vec<Call> {
    let files = if keeps_files { BASELINE_OF_FILES } else { &[] };
    let may = |name: &str| {
        recorded.is_none_or(|recorded| recorded.iter().any(|other| other == name))
            || BASELINE.iter().any(|(_, calls)| calls.contains(&name))
            || files.contains(&name)
    };
    BASE.iter()
        .chain(BASE_OF_ARCH)
        .copied()
        .filter(|(name, _)| may(name.trim_start_matches("SYS_")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_gets_what_was_recorded_and_the_baseline_and_nothing_that_nobody_is_given() {
        let recorded = ["sysinfo".to_owned(), "mount".to_owned()];
        let names = |list: Vec<Call>| -> Vec<&str> { list.iter().map(|(name, _)| *name).collect() };
        let some = names(of_service(Some(&recorded), false));
        assert!(some.contains(&"SYS_sysinfo") && some.contains(&"SYS_futex"));
        assert!(
            !some.contains(&"SYS_mount") && !some.contains(&"SYS_signalfd4") && !some.contains(&"SYS_unlink")
        );
        let all = names(of_service(None, false));
        assert!(all.contains(&"SYS_signalfd4") && !all.contains(&"SYS_mount"));
        assert!(names(of_service(Some(&recorded), true)).contains(&"SYS_unlinkat"));
    }

    #[test]
    fn every_call_of_the_baseline_is_one_that_a_service_may_be_given() {
        let known = |name: &str| {
            BASE.iter().chain(BASE_OF_ARCH).any(|(other, _)| other.trim_start_matches("SYS_") == name)
        };
        let baseline = BASELINE.iter().flat_map(|(_, calls)| calls.iter()).chain(BASELINE_OF_FILES);
        // Old names are missing on machines that never had them.
        let unknown: Vec<_> = baseline.filter(|name| !known(name)).collect();
        assert!(unknown.is_empty() || cfg!(not(target_arch = "x86_64")), "{unknown:?}");
    }
}

//! The system calls of the services, by name and number: what seccomp lets through, and what `exposure`
//! tells of it.

/// A system call: its name as libc's constant has it, and its number.
pub type Call = (&'static str, i64);

macro_rules! calls {
    ($($call:ident,)*) => { &[$((stringify!($call), libc::$call)),*] };
}

/// What every service needs.
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

/// What programs for eBPF need.
pub const BPF: &[Call] = calls![SYS_bpf, SYS_perf_event_open,];

/// What sets the clock, or tells how it is steered.
pub const CLOCK: &[Call] = calls![SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,];

/// Every call that all services may make, those whose arguments are judged elsewhere among them.
pub fn base() -> impl Iterator<Item = Call> {
    BASE.iter().chain(BASE_OF_ARCH).copied()
}

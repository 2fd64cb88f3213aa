//! seccomp: the system calls that a service may make, and with which arguments.
//!
//! The list was read off the services (tokio, hyper, rustls, redb, std) and reviewed; a call that is
//! not on it answers EPERM, clone3 answers ENOSYS so that libc falls back to clone, whose flags can be
//! judged. socket(2) is judged by family, type and protocol, since Landlock knows neither UDP nor
//! MPTCP nor netlink.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::plan::Plan;
use crate::manifest::{SocketKind, SyscallGroup};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What every service needs.
const BASE: &[i64] = &[
    // Files and descriptors.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_getdents64,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_renameat2,
    libc::SYS_renameat,
    libc::SYS_linkat,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fadvise64,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_getcwd,
    libc::SYS_umask,
    libc::SYS_utimensat,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_membarrier,
    // Threads, signals, time.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_tgkill,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_wait4,
    libc::SYS_getcpu,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    // Events.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_pselect6,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_signalfd4,
    // Sockets that exist already, or that `socket_rules` lets be made.
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    // Landlock lets it run one file: the service itself.
    libc::SYS_execve,
];

/// The same calls under their old names, where the machine has them.
#[cfg(target_arch = "x86_64")]
const BASE_OF_ARCH: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_create,
    libc::SYS_eventfd,
    libc::SYS_arch_prctl,
    libc::SYS_accept,
    libc::SYS_time,
    libc::SYS_chmod,
    libc::SYS_link,
];

#[cfg(not(target_arch = "x86_64"))]
const BASE_OF_ARCH: &[i64] = &[libc::SYS_accept];

/// The ioctls that std and tokio use: FIONBIO and FIOCLEX on their own descriptors. No other: TIOCSTI
/// and every device's own are refused.
const IOCTLS: [u64; 2] = [0x5421, 0x5451];

/// Flags that clone(2) may not carry: every `CLONE_NEW*`.
const NEW_NAMESPACE_FLAGS: u64 = 0x7E02_0080;

/// The filters of a plan, to be installed in this order.
///
/// # Errors
/// When the compiler refuses the rules, which is a defect here.
pub fn compile(plan: &Plan) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let allowed = SeccompFilter::new(allow_list(plan)?, denied, SeccompAction::Allow, arch)?;
    let no_clone3 = SeccompFilter::new(
        Rules::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        arch,
    )?;
    Ok(vec![allowed.try_into()?, no_clone3.try_into()?])
}

/// Installs compiled filters on this thread, which must have no_new_privs.
///
/// # Errors
/// As seccomp(2).
pub fn install(filters: &[BpfProgram]) -> Result<(), seccompiler::Error> {
    filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter))
}

fn allow_list(plan: &Plan) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = BASE.iter().chain(BASE_OF_ARCH).map(|call| (*call, Vec::new())).collect();
    // The second filter answers for clone3; seccomp(2) is needed to install it.
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_seccomp, Vec::new());
    let no_namespace = condition(0, SeccompCmpOp::MaskedEq(NEW_NAMESPACE_FLAGS), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_namespace])?]);
    let ioctls: Result<Vec<_>, _> = IOCTLS
        .iter()
        .map(|request| SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, *request)?]))
        .collect();
    rules.insert(libc::SYS_ioctl, ioctls?);
    let sockets = socket_rules(&plan.sockets)?;
    if !sockets.is_empty() {
        rules.insert(libc::SYS_socket, sockets);
    }
    if plan.syscalls.contains(&SyscallGroup::Bpf) {
        rules.insert(libc::SYS_bpf, Vec::new());
        rules.insert(libc::SYS_perf_event_open, Vec::new());
    }
    Ok(rules)
}

/// One rule for each (family, type, protocol) that `kinds` stand for; the type's flag bits
/// (SOCK_CLOEXEC, SOCK_NONBLOCK) are free.
fn socket_rules(kinds: &[SocketKind]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let mut rules = Vec::new();
    for kind in kinds {
        let (families, types, protocols): (&[i32], &[i32], &[i32]) = match kind {
            SocketKind::Unix => (&[libc::AF_UNIX], &[libc::SOCK_STREAM, libc::SOCK_DGRAM], &[0]),
            SocketKind::Tcp => {
                (&[libc::AF_INET, libc::AF_INET6], &[libc::SOCK_STREAM], &[0, libc::IPPROTO_TCP])
            }
            SocketKind::Udp => {
                (&[libc::AF_INET, libc::AF_INET6], &[libc::SOCK_DGRAM], &[0, libc::IPPROTO_UDP])
            }
            SocketKind::NetlinkRoute => {
                (&[libc::AF_NETLINK], &[libc::SOCK_RAW, libc::SOCK_DGRAM], &[libc::NETLINK_ROUTE])
            }
        };
        for family in families {
            for kind in types {
                for protocol in protocols {
                    rules.push(SeccompRule::new(vec![
                        condition(0, SeccompCmpOp::Eq, *family as u64)?,
                        condition(1, SeccompCmpOp::MaskedEq(0xF), *kind as u64)?,
                        condition(2, SeccompCmpOp::Eq, *protocol as u64)?,
                    ])?);
                }
            }
        }
    }
    Ok(rules)
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

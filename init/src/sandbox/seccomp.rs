//! seccomp: the system calls that a service may make, and with which arguments.
//!
//! Each service has its own list ([`super::calls`]); a call that is not on it answers EPERM and is told of ([`super::refusal`]), clone3 answers ENOSYS so that libc falls back to clone, whose flags can be
//! judged. socket(2) is judged by family, type and protocol, since Landlock knows neither UDP nor
//! MPTCP nor netlink; mmap and mprotect by whether memory becomes executable; what makes files and modes by
//! whether it sets a set-user-id bit.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::calls;
use super::plan::Plan;
use crate::manifest::{SocketKind, SyscallGroup};
use crate::sys;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The ioctls that std and tokio use: FIONBIO and FIOCLEX on their own descriptors, and TCGETS, by which each service
/// asks at its start whether its output is a terminal. No other: TIOCSTI and every device's own are refused.
const IOCTLS: [u64; 3] = [0x5421, 0x5451, 0x5401];

/// Flags that clone(2) may not carry: every `CLONE_NEW*`.
const NEW_NAMESPACE_FLAGS: u64 = 0x7E02_0080;

/// S_ISUID and S_ISGID.
const SET_ID_BITS: u64 = 0o6000;

/// O_TMPFILE without the O_DIRECTORY that it is combined with.
const O_TMPFILE_BIT: u64 = 0o20_000_000;

/// Calls that take a mode, and which argument it is.
const MODE_ARGUMENTS: &[(i64, u8)] = &[
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (libc::SYS_mkdirat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, 1),
];

/// Calls that open files, and which argument the flags are; the mode follows.
const OPEN_ARGUMENTS: &[(i64, u8)] = &[
    (libc::SYS_openat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
];

/// The filters of a plan, to be installed in this order.
///
/// # Errors
/// When the compiler refuses the rules, which is a defect here.
pub fn compile(plan: &Plan) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let allowed = SeccompFilter::new(allow_list(plan)?, denied, SeccompAction::Allow, arch)?;
    let no_clone3 = SeccompFilter::new(
        Rules::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        arch,
    )?;
    Ok([allowed.try_into()?, no_clone3.try_into()?])
}

/// Installs compiled filters on this thread, which must have no_new_privs.
///
/// # Errors
/// As seccomp(2).
pub fn install(filters: &[BpfProgram; 2]) -> std::io::Result<()> {
    // What the list refuses is written down; clone3 answers ENOSYS by design, at every thread.
    let [allowed, no_clone3] = filters;
    sys::install_seccomp(allowed, true)?;
    sys::install_seccomp(no_clone3, false)
}

fn allow_list(plan: &Plan) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = plan.calls.iter().map(|(_, call)| (*call, Vec::new())).collect();
    // Arguments are judged of the calls that may be made at all.
    let judged: Vec<_> = no_new_code()?.into_iter().chain(no_set_id()?).collect();
    rules.extend(judged.into_iter().filter(|(call, _)| plan.calls.iter().any(|(_, other)| other == call)));
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
        rules.extend(calls::BPF.iter().map(|(_, call)| (*call, Vec::new())));
    }
    Ok(rules)
}

/// Static programs map their code once, in execve: no memory becomes executable afterwards.
fn no_new_code() -> Result<Rules, seccompiler::BackendError> {
    let mut rules = Rules::new();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let plain = condition(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0)?;
        rules.insert(call, vec![SeccompRule::new(vec![plain])?]);
    }
    Ok(rules)
}

/// Nothing that a service writes runs with another's rights: no set-user-id, no set-group-id.
fn no_set_id() -> Result<Rules, seccompiler::BackendError> {
    let plain = |argument| condition(argument, SeccompCmpOp::MaskedEq(SET_ID_BITS), 0);
    let mut rules = Rules::new();
    for (call, mode) in MODE_ARGUMENTS {
        rules.insert(*call, vec![SeccompRule::new(vec![plain(*mode)?])?]);
    }
    for (call, flags) in OPEN_ARGUMENTS {
        // The mode counts only when a file is made.
        let opens = condition(*flags, SeccompCmpOp::MaskedEq(libc::O_CREAT as u64), 0)?;
        let no_temporary = condition(*flags, SeccompCmpOp::MaskedEq(O_TMPFILE_BIT), 0)?;
        let rule =
            vec![SeccompRule::new(vec![opens, no_temporary])?, SeccompRule::new(vec![plain(flags + 1)?])?];
        rules.insert(*call, rule);
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
            SocketKind::NetlinkNetfilter => {
                (&[libc::AF_NETLINK], &[libc::SOCK_RAW, libc::SOCK_DGRAM], &[libc::NETLINK_NETFILTER])
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

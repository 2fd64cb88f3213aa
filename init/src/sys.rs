//! Every raw system call of this crate, each behind a safe function.
#![expect(unsafe_code, reason = "clone3, module loading, device-mapper and reboot have no safe wrapper")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub(crate) fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Namespaces and placement of a child.
#[derive(Clone, Copy, Debug)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` flags.
    pub namespaces: libc::c_int,
    /// The cgroup v2 directory that the child is born into.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Which side of [`fork_into`] this is.
#[derive(Debug)]
pub enum Forked {
    /// In the child.
    Child,
    /// In the parent: the child's pid and its pidfd.
    Parent {
        /// Pid as the parent's namespace numbers it.
        pid: i32,
        /// The handle that never names another process.
        pidfd: OwnedFd,
    },
}

/// `struct clone_args` of include/uapi/linux/sched.h, version 2 (88 bytes).
#[repr(C)]
#[derive(Default)]
struct KernelCloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks with clone3(2). The caller must be single-threaded (PID 1 is, by design): the child then
/// has a whole, consistent memory and may allocate before it calls exec.
///
/// # Errors
/// As clone3(2).
pub fn fork_into(args: CloneArgs<'_>) -> io::Result<Forked> {
    let mut pidfd: RawFd = -1;
    let mut kernel = KernelCloneArgs {
        flags: args.namespaces as u64 | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..KernelCloneArgs::default()
    };
    if let Some(cgroup) = args.cgroup {
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        kernel.flags |= CLONE_INTO_CGROUP;
        kernel.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the struct is the kernel's layout and outlives the call; without CLONE_VM the child
    // gets its own copy of memory, and a single-threaded parent leaves no lock held in it.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut kernel, size_of::<KernelCloneArgs>()) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: with CLONE_PIDFD and success the kernel wrote a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent { pid: pid as i32, pidfd })
}

/// Makes `fd` the descriptor number `target` in this process, without close-on-exec.
///
/// # Errors
/// As dup2(2).
pub fn place_fd(fd: RawFd, target: RawFd) -> io::Result<()> {
    if fd == target {
        // SAFETY: plain fcntl on a number.
        check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into())?;
    } else {
        // SAFETY: plain dup2 on numbers; whatever was open at `target` is closed on purpose.
        check(unsafe { libc::dup2(fd, target) }.into())?;
    }
    Ok(())
}

/// A duplicate of `fd` numbered at least `at_least`, close-on-exec.
///
/// # Errors
/// As fcntl(2).
pub fn move_fd_above(fd: RawFd, at_least: RawFd) -> io::Result<RawFd> {
    // SAFETY: plain fcntl on a number.
    Ok(check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, at_least) }.into())? as RawFd)
}

/// Loads a kernel module from its bytes.
///
/// # Errors
/// As init_module(2); `AlreadyExists` when it is loaded.
pub fn init_module(image: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length are of one slice; the parameter string is empty and terminated.
    check(unsafe { libc::syscall(libc::SYS_init_module, image.as_ptr(), image.len(), c"".as_ptr()) })?;
    Ok(())
}

/// An ioctl on a buffer that the kernel reads and writes within its length, as device-mapper's
/// `struct dm_ioctl` says in its `data_size` field.
///
/// # Errors
/// As ioctl(2).
pub fn ioctl_buffer(fd: BorrowedFd<'_>, request: u64, buffer: &mut [u8]) -> io::Result<()> {
    // SAFETY: `buffer` is writable for its length, and every request used here carries that length
    // inside the buffer or has a fixed smaller struct.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, buffer.as_mut_ptr()) }.into())?;
    Ok(())
}

/// `struct blkpg_partition` and `struct blkpg_ioctl_arg` of include/uapi/linux/blkpg.h.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    pno: i32,
    devname: [u8; 64],
    volname: [u8; 64],
}

#[repr(C)]
struct BlkpgArg {
    op: i32,
    flags: i32,
    datalen: i32,
    data: *mut BlkpgPartition,
}

/// Tells the kernel that partition `number` of an open disk now spans `start`..`start+length` bytes.
///
/// # Errors
/// As BLKPG_RESIZE_PARTITION.
pub fn resize_partition(disk: BorrowedFd<'_>, number: i32, start: u64, length: u64) -> io::Result<()> {
    const BLKPG: u64 = 0x1269;
    const BLKPG_RESIZE_PARTITION: i32 = 3;
    let mut partition = BlkpgPartition {
        start: start as i64,
        length: length as i64,
        pno: number,
        devname: [0; 64],
        volname: [0; 64],
    };
    let arg = BlkpgArg {
        op: BLKPG_RESIZE_PARTITION,
        flags: 0,
        datalen: size_of::<BlkpgPartition>() as i32,
        data: &raw mut partition,
    };
    // SAFETY: both structs are the kernel's layout and outlive the call.
    check(unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG as _, &raw const arg) }.into())?;
    Ok(())
}

/// Grows the mounted ext4 that `mount_point` is open on to `blocks` file-system blocks.
///
/// # Errors
/// As EXT4_IOC_RESIZE_FS.
pub fn ext4_resize(mount_point: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    const EXT4_IOC_RESIZE_FS: u64 = 0x4008_6610;
    let fd = mount_point.as_raw_fd();
    // SAFETY: the request reads one u64.
    let result = unsafe { libc::ioctl(fd, EXT4_IOC_RESIZE_FS as _, &raw const blocks) };
    check(result.into())?;
    Ok(())
}

/// What reboot(2) is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Power {
    /// Switch off.
    Off,
    /// Start again.
    Restart,
    /// Ctrl-Alt-Del sends SIGINT to PID 1 instead of cutting the machine off.
    CtrlAltDelToInit,
}

/// reboot(2).
///
/// # Errors
/// As reboot(2); it does not return when the machine goes down.
pub fn reboot(power: Power) -> io::Result<()> {
    let command = match power {
        Power::Off => libc::RB_POWER_OFF,
        Power::Restart => libc::RB_AUTOBOOT,
        Power::CtrlAltDelToInit => libc::RB_DISABLE_CAD,
    };
    // SAFETY: no memory is passed.
    check(unsafe { libc::reboot(command) }.into())?;
    Ok(())
}

/// Blocks `signals` for this thread and returns a descriptor that delivers them.
///
/// # Errors
/// As sigprocmask(2) and signalfd(2).
pub fn signal_fd(signals: &[libc::c_int]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use, and all pointers are to locals.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()).into())?;
        let fd = check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Undoes what PID 1 set for itself before a child runs another program: no signal is blocked, each
/// has its default action.
pub fn reset_signals() {
    // SAFETY: the set is initialised before use; resetting actions needs no memory of ours.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Joins all the namespaces in `flags` of the process behind `pidfd`.
///
/// # Errors
/// As setns(2).
pub fn join_namespaces(pidfd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setns(pidfd.as_raw_fd(), flags) }.into())?;
    Ok(())
}

/// Becomes `uid` and group `uid`, with no supplementary groups. Capabilities survive until the
/// caller sets them (`SECBIT_KEEP_CAPS`).
///
/// # Errors
/// As setresuid(2).
pub fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: a null list with length zero is what setgroups(2) takes for "none".
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1).into())?;
        check(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()))?;
        check(libc::syscall(libc::SYS_setresgid, uid, uid, uid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// No program that this process ever runs gains rights (`PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// As prctl(2).
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
    Ok(())
}

/// Puts a seccomp filter onto this thread, which must have no_new_privs; with `log`, what the filter
/// refuses is written to the kernel's log.
///
/// # Errors
/// As seccomp(2).
pub fn install_seccomp(filter: &[seccompiler::sock_filter], log: bool) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut().cast() };
    let flags = if log { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    // SAFETY: both types are the kernel's struct sock_filter, which is only read; program and filter
    // outlive the call.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    Ok(())
}

/// Sets both the soft and the hard bound of `resource`.
///
/// # Errors
/// As setrlimit(2).
pub fn set_rlimit(resource: u32, bound: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bound, rlim_max: bound };
    // SAFETY: the struct outlives the call.
    check(unsafe { libc::setrlimit(resource as _, &raw const limit) }.into())?;
    Ok(())
}

/// Runs another program in this process. Returns only on failure.
pub fn exec(program: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> io::Error {
    let list = |strings: &[&CStr]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (list(arguments), list(environment));
    // SAFETY: both arrays end in null and hold pointers to terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once: no exit handler of the parent's image runs in a forked child.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Has a raw ICMPv6 socket hear nothing (ICMP6_FILTER, RFC 3542, section 3.2).
///
/// # Errors
/// As setsockopt(2).
pub fn deafen_icmp6(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// linux/icmpv6.h
    const ICMPV6_FILTER: libc::c_int = 1;
    // A bit for each type that is not passed on.
    let filter = [u32::MAX; 8];
    // SAFETY: pointer and length are of one array, which is `struct icmp6_filter`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMPV6_FILTER,
            filter.as_ptr().cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    check(result.into()).map(drop)
}

/// The uid of whoever connected to a unix socket. A caller from outside our pid namespace has no pid
/// here, which rustix' typed credentials cannot say.
///
/// # Errors
/// As SO_PEERCRED.
pub fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into the struct.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    check(result.into())?;
    Ok(credentials.uid)
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By exit(2) with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "exited with {code}"),
            Ended::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Collects one dead child, if there is one: its pid and how it ended.
///
/// # Errors
/// As waitpid(2), but having no children is `Ok(None)`.
pub fn reap(block: bool) -> io::Result<Option<(i32, Ended)>> {
    let mut status = 0;
    let options = if block { 0 } else { libc::WNOHANG };
    // SAFETY: the status is a local.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, options) };
    match pid {
        0 => Ok(None),
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            error => Err(error),
        },
        pid if libc::WIFSIGNALED(status) => Ok(Some((pid, Ended::Signal(libc::WTERMSIG(status))))),
        pid => Ok(Some((pid, Ended::Code(libc::WEXITSTATUS(status))))),
    }
}

/// Milliseconds since the machine started, suspend included.
pub fn now_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// The clock on the wall, in Unix seconds.
pub fn unix_s() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec
}

/// Sets the clock on the wall.
///
/// # Errors
/// As clock_settime(2).
pub fn set_unix_s(time_s: i64) -> io::Result<()> {
    let time = rustix::time::Timespec { tv_sec: time_s, tv_nsec: 0 };
    Ok(rustix::time::clock_settime(rustix::time::ClockId::Realtime, time)?)
}

/// Brings the loopback interface of this network namespace up.
///
/// # Errors
/// As SIOCSIFFLAGS.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: ifreq is plain data and valid as zeroes.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request reads one ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }.into())?;
    Ok(())
}

/// Gives allocated but unused pages back to the kernel. PID 1 parses a config once and then idles.
pub fn trim_memory() {
    // SAFETY: malloc_trim takes a number and touches only the allocator's own state.
    unsafe { libc::malloc_trim(0) };
}

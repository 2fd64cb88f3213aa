//! Tries one way out of a room, by name, and says how it went: `refused: …` with exit code 0, or
//! `possible: …` with exit code 10. It is run by `vakt-init exec` inside a service's room.
#![expect(unsafe_code, reason = "an attempt is a raw system call with raw arguments")]

use std::io::{Error, Result};
use std::process::ExitCode;

/// How long a connection may take.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// An attempt: its name, and what it does with the second argument.
type Attempt = (&'static str, fn(&str) -> Result<String>);

const ATTEMPTS: &[Attempt] = &[
    ("read", |path| std::fs::read_dir(path).map(|entries| format!("{} entries", entries.count()))),
    ("write", |path| std::fs::write(path, "1").map(|()| "written".into())),
    ("connect", |path| std::os::unix::net::UnixStream::connect(path).map(|_| "connected".into())),
    ("exec", |path| std::process::Command::new(path).status().map(|status| status.to_string())),
    ("socket", socket),
    ("bind-tcp", |address| std::net::TcpListener::bind(address).map(|_| "bound".into())),
    ("connect-tcp", |address| {
        let address = address.parse().map_err(Error::other)?;
        // A packet that is dropped gets no answer; a listener of this machine answers at once.
        std::net::TcpStream::connect_timeout(&address, ANSWER_WITHIN).map(|_| "connected".into())
    }),
    ("ptrace", |pid| call(libc::SYS_ptrace, [libc::PTRACE_ATTACH as i64, number(pid)?, 0, 0, 0])),
    ("signal", |pid| call(libc::SYS_kill, [number(pid)?, 0, 0, 0, 0])),
    ("mount", |_| {
        let (none, at) = (c"none".as_ptr() as i64, c"/".as_ptr() as i64);
        call(libc::SYS_mount, [none, at, c"tmpfs".as_ptr() as i64, 0, 0])
    }),
    ("module", |_| call(libc::SYS_finit_module, [0, c"".as_ptr() as i64, 0, 0, 0])),
    ("unshare", |_| call(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0, 0])),
    ("clone-namespace", |_| {
        call(libc::SYS_clone, [i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0, 0])
    }),
    ("setuid", |_| call(libc::SYS_setuid, [0, 0, 0, 0, 0])),
    ("reboot", |_| call(libc::SYS_reboot, [0xfee1_dead, 672_274_793, 0, 0, 0])),
    ("bpf", |_| call(libc::SYS_bpf, [0, 0, 0, 0, 0])),
    ("keyctl", |_| call(libc::SYS_keyctl, [0, 0, 0, 0, 0])),
    ("io-uring", |_| call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0])),
    ("mknod", |path| {
        let path = std::ffi::CString::new(path)?;
        call(libc::SYS_mknodat, [i64::from(libc::AT_FDCWD), path.as_ptr() as i64, 0o020_666, 0x103, 0])
    }),
    ("chroot", |_| call(libc::SYS_chroot, [c"/".as_ptr() as i64, 0, 0, 0, 0])),
    ("set-time", |_| call(libc::SYS_clock_settime, [0, 0, 0, 0, 0])),
    ("map-code", |_| {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        call(libc::SYS_mmap, [0, 4096, protection.into(), flags.into(), -1])
    }),
    ("make-code", |_| {
        let page = std::alloc::Layout::from_size_align(4096, 4096).map_err(Error::other)?;
        // SAFETY: the layout has a size. The page is leaked: the process ends soon.
        let page = unsafe { std::alloc::alloc_zeroed(page) };
        call(libc::SYS_mprotect, [page as i64, 4096, i64::from(libc::PROT_READ | libc::PROT_EXEC), 0, 0])
    }),
    ("set-id-file", |path| {
        let path = std::ffi::CString::new(path)?;
        let flags = libc::O_CREAT | libc::O_WRONLY;
        call(libc::SYS_openat, [libc::AT_FDCWD.into(), path.as_ptr() as i64, flags.into(), 0o4755, 0])
    }),
    ("set-id-mode", |path| {
        let path = std::ffi::CString::new(path)?;
        call(libc::SYS_fchmodat, [libc::AT_FDCWD.into(), path.as_ptr() as i64, 0o2755, 0, 0])
    }),
    ("personality", |_| call(libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0])),
    ("real-time", |_| {
        let priority = 1i32;
        call(libc::SYS_sched_setscheduler, [0, libc::SCHED_FIFO.into(), &raw const priority as i64, 0, 0])
    }),
    ("host-name", |_| call(libc::SYS_sethostname, [c"x".as_ptr() as i64, 1, 0, 0, 0])),
    ("kernel-log", |_| {
        let mut text = [0u8; 64];
        call(libc::SYS_syslog, [3, text.as_mut_ptr() as i64, 64, 0, 0])
    }),
    ("swap", |_| call(libc::SYS_swapoff, [c"/none".as_ptr() as i64, 0, 0, 0, 0])),
    ("accounting", |_| call(libc::SYS_acct, [0, 0, 0, 0, 0])),
    ("kexec", |_| call(libc::SYS_kexec_load, [0, 0, 0, 0, 0])),
    ("pivot-root", |_| call(libc::SYS_pivot_root, [c"/".as_ptr() as i64, c"/".as_ptr() as i64, 0, 0, 0])),
    ("join-namespace", |_| call(libc::SYS_setns, [0, 0, 0, 0, 0])),
    ("user-fault", |_| call(libc::SYS_userfaultfd, [0, 0, 0, 0, 0])),
    ("perf", |_| call(libc::SYS_perf_event_open, [0, 0, -1, -1, 0])),
    ("process-memory", |pid| call(libc::SYS_process_vm_readv, [number(pid)?, 0, 0, 0, 0])),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let name = arguments.get(1).map_or("", String::as_str);
    let argument = arguments.get(2).map_or("", String::as_str);
    let Some((_, attempt)) = ATTEMPTS.iter().find(|(known, _)| *known == name) else {
        println!("unknown attempt {name:?}");
        return ExitCode::from(2);
    };
    match attempt(argument) {
        Ok(how) => {
            println!("possible: {name} {argument}: {how}");
            ExitCode::from(10)
        }
        Err(error) => {
            println!("refused: {name} {argument}: {error}");
            ExitCode::SUCCESS
        }
    }
}

fn call(number: i64, arguments: [i64; 5]) -> Result<String> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the arguments are numbers, null, or pointers to terminated strings that outlive the call;
    // what a successful call does to this process does not matter, for it ends then.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(format!("returned {result}")) }
}

fn number(text: &str) -> Result<i64> {
    text.parse().map_err(Error::other)
}

/// `family,type,protocol` as numbers.
fn socket(text: &str) -> Result<String> {
    let parts: Result<Vec<i64>> = text.split(',').map(number).collect();
    let [family, kind, protocol] = parts?[..] else { return Err(Error::other("needs family,type,protocol")) };
    call(libc::SYS_socket, [family, kind, protocol, 0, 0])
}

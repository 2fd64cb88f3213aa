//! Spawning: sockets, pipe, clone3 into the cgroup, the room, exec.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;

use anyhow::Context;
use rustix::pipe::PipeFlags;

use crate::machine::quota::Quotas;
use crate::manifest::Manifest;
use crate::sandbox::{self, MEASURED, Plan, RUN};
use crate::sys::{self, CloneArgs, Forked};

/// Descriptors are moved above this number before they are put where the service expects them.
const SCRATCH_FD: i32 = 200;

/// Exit code of a child whose room could not be closed around it.
const ROOM_FAILED: i32 = 126;

/// What a spawn gives the parent.
#[derive(Debug)]
pub struct Spawned {
    /// The child, as this namespace numbers it.
    pub pid: i32,
    /// The handle to signal it by.
    pub pidfd: OwnedFd,
    /// The reading end of its output.
    pub output: OwnedFd,
}

/// Starts `plan`'s program with `arguments` in its room, born into `cgroup`, with `handed` (sockets, and
/// the other slot) from descriptor 3 on.
///
/// # Errors
/// When the child cannot be made. A room that does not close shows as exit code 126 with the reason
/// as a line of output.
pub fn spawn(
    plan: &Plan,
    arguments: &[String],
    handed: &[(&str, BorrowedFd<'_>)],
    cgroup: Option<&File>,
) -> anyhow::Result<Spawned> {
    let program = c_string(&plan.program.path().to_string_lossy())?;
    let arguments: Vec<CString> = arguments.iter().map(|a| c_string(a)).collect::<Result<_, _>>()?;
    let environment: Vec<CString> =
        environment(handed).iter().map(|e| c_string(e)).collect::<Result<_, _>>()?;
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)?;
    let args = CloneArgs { namespaces: plan.namespaces, cgroup: cgroup.map(|group| group.as_fd()) };
    match sys::fork_into(args).context("cannot clone")? {
        Forked::Parent { pid, pidfd } => Ok(Spawned { pid, pidfd, output: reader }),
        Forked::Child => {
            let error = match place_fds(&writer, handed).and_then(|()| sandbox::enter(plan)) {
                Ok(()) => {
                    let argv: Vec<&CStr> = arguments.iter().map(|a| a.as_c_str()).collect();
                    let envp: Vec<&CStr> = environment.iter().map(|e| e.as_c_str()).collect();
                    anyhow::Error::from(sys::exec(&program, &argv, &envp)).context("cannot exec")
                }
                Err(error) => error,
            };
            // Standard error is the pipe by now, or the parent's own when even that failed.
            let _ = writeln!(std::io::stderr(), "vakt-init: {}: {error:#}", plan.name);
            sys::exit_now(ROOM_FAILED)
        }
    }
}

fn c_string(text: &str) -> anyhow::Result<CString> {
    CString::new(text).with_context(|| format!("{text:?} has a zero byte"))
}

/// The child is process 1 of its own pid namespace, which is what LISTEN_PID must say.
fn environment(handed: &[(&str, BorrowedFd<'_>)]) -> Vec<String> {
    let names: Vec<&str> = handed.iter().map(|(name, _)| *name).collect();
    [
        format!("NOTIFY_SOCKET={RUN}/notify/socket"),
        "LISTEN_PID=1".into(),
        format!("LISTEN_FDS={}", handed.len()),
        format!("LISTEN_FDNAMES={}", names.join(":")),
        // One arena: a thread more must not cost 64 MiB of address space and its own free lists.
        "MALLOC_ARENA_MAX=1".into(),
        // Of panics, not of errors: those have their causes in them.
        "RUST_BACKTRACE=1".into(),
        "RUST_LIB_BACKTRACE=0".into(),
    ]
    .into_iter()
    // Which network is the machine's, for the probe in its room without one; nobody can ask process 1 for that.
    .chain(fs::metadata("/proc/self/ns/net").map(|found| format!("VAKT_NETNS={}", found.ino())))
    .collect()
}

/// Null as input, the pipe as output and error, what is handed over from 3 on. All else is close-on-exec.
fn place_fds(writer: &OwnedFd, handed: &[(&str, BorrowedFd<'_>)]) -> anyhow::Result<()> {
    let null = File::open("/dev/null").context("cannot open /dev/null")?;
    let null = sys::move_fd_above(null.as_raw_fd(), SCRATCH_FD)?;
    let output = sys::move_fd_above(writer.as_raw_fd(), SCRATCH_FD)?;
    let moved: Vec<i32> = handed
        .iter()
        .map(|(_, fd)| sys::move_fd_above(fd.as_raw_fd(), SCRATCH_FD))
        .collect::<Result<_, _>>()?;
    sys::place_fd(null, 0)?;
    sys::place_fd(output, 1)?;
    sys::place_fd(output, 2)?;
    for (index, fd) in moved.into_iter().enumerate() {
        sys::place_fd(fd, 3 + index as i32)?;
    }
    Ok(())
}

/// Bounds what a service may keep in state.
///
/// # Errors
/// When the kernel does not take the bound.
pub fn bound_directories(manifest: &Manifest, uid: u32, quotas: &Quotas) -> anyhow::Result<()> {
    let percent = manifest.limits.state_percent;
    for path in manifest.sandbox.write.iter().filter(|path| percent > 0 && path.starts_with("/state")) {
        quotas
            .bound(path, uid, percent)
            .with_context(|| format!("cannot bound {} to {percent} % of state", path.display()))?;
    }
    Ok(())
}

/// Makes the directories that a service writes to, owned by it.
///
/// # Errors
/// When one can be neither made nor given away.
pub fn prepare_directories(manifest: &Manifest, uid: u32) -> anyhow::Result<()> {
    for path in &manifest.sandbox.write {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.and_then(|()| chown(path, Some(uid), Some(uid)))
            .with_context(|| format!("cannot prepare {}", path.display()))?;
    }
    for path in &manifest.sandbox.measure {
        let path = path.join(MEASURED);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    for other in &manifest.sandbox.calls {
        let path = Path::new(RUN).join(other);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(())
}

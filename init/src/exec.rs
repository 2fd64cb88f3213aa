//! `vakt-init exec`: a program of one's own inside a service's room, to see what the room holds back.
//!
//! The room is built from the service's manifest exactly as for the service: same uid, namespaces,
//! paths, capabilities, Landlock and seccomp, and the service's own cgroup with its address list. With `--pid` it is built inside the container (or
//! machine) whose init has that pid, beside the services that run there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use rustix::process::{Pid, PidfdFlags};

use crate::manifest;
use crate::sandbox::{self, CGROUPS, Plan, Program, RUN};
use crate::sys::{self, CloneArgs, Ended, Forked};

/// Largest program that is brought into a room; its tmpfs holds 64 MiB.
const PROGRAM_BYTES_MAX: u64 = 48 << 20;

/// Where it is put.
const PROGRAM_AT: &str = "/program";

struct Options {
    service: String,
    pid: Option<i32>,
    command: Vec<String>,
}

/// Runs the command and returns its exit code (128 + signal when it was killed).
///
/// # Errors
/// When the room cannot be built or the program cannot be read.
pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = parse(arguments)?;
    let program = read_program(Path::new(&options.command[0]))?;
    if let Some(pid) = options.pid {
        join(pid)?;
        // A joined pid namespace holds only children, and only from inside may a new one be made.
        if let Forked::Parent { .. } = sys::fork_into(CloneArgs { namespaces: 0, cgroup: None })? {
            return wait();
        }
    }
    in_room(&options.service, program, &options.command)
}

fn in_room(service: &str, program: Vec<u8>, command: &[String]) -> anyhow::Result<ExitCode> {
    let path = Path::new("/usr/lib/vakt/services").join(format!("{service}.toml"));
    let (_, manifest) = manifest::load_one(&path).with_context(|| format!("no service {service:?}"))?;
    let mut plan = Plan::new(service, &manifest)?;
    plan.program = Program::Brought { path: PROGRAM_AT.into(), bytes: program };
    std::fs::create_dir_all(Path::new(RUN).join("room"))?;
    let cgroup = manifest.sandbox.network.then(|| cgroup_of(service)).transpose()?;
    let args = CloneArgs { namespaces: plan.namespaces, cgroup: cgroup.as_ref().map(|group| group.as_fd()) };
    match sys::fork_into(args).context("cannot clone")? {
        Forked::Child => {
            let error = match sandbox::enter(&plan) {
                Ok(()) => run(command),
                Err(error) => error,
            };
            let _ = writeln!(std::io::stderr(), "vakt-init: {}: {error:#}", plan.name);
            sys::exit_now(126)
        }
        Forked::Parent { .. } => wait(),
    }
}

/// The cgroup of a service that runs here: what holds it to its addresses is attached there.
fn cgroup_of(service: &str) -> anyhow::Result<File> {
    let base = std::fs::read_to_string(CGROUPS)
        .with_context(|| format!("{CGROUPS} says where the services' cgroups are; init writes it"))?;
    let path = Path::new(&base).join(service);
    File::open(&path).with_context(|| format!("{service} was never started: no {}", path.display()))
}

/// The only child's end as an exit code.
fn wait() -> anyhow::Result<ExitCode> {
    match sys::reap(true)? {
        Some((_, Ended::Code(code))) => Ok(ExitCode::from(code as u8)),
        Some((_, Ended::Signal(signal))) => Ok(ExitCode::from(128 + signal as u8)),
        None => anyhow::bail!("the program's end was not seen"),
    }
}

fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let split = arguments.iter().position(|argument| argument == "--");
    let (flags, command) = arguments.split_at(split.context("exec needs -- PROGRAM")?);
    let value = |name: &str| {
        let at = flags.iter().position(|flag| flag == name)?;
        flags.get(at + 1).cloned()
    };
    let command: Vec<String> = command[1..].to_vec();
    anyhow::ensure!(!command.is_empty(), "exec needs a program after --");
    let pid = value("--pid").map(|text| text.parse().with_context(|| format!("--pid {text:?} is no number")));
    Ok(Options {
        service: value("--service").context("exec needs --service NAME")?,
        pid: pid.transpose()?,
        command,
    })
}

fn read_program(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(PROGRAM_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(bytes.len() as u64 <= PROGRAM_BYTES_MAX, "{} is larger than 48 MiB", path.display());
    Ok(bytes)
}

fn join(pid: i32) -> anyhow::Result<()> {
    let target = Pid::from_raw(pid).with_context(|| format!("{pid} is no pid"))?;
    let pidfd = rustix::process::pidfd_open(target, PidfdFlags::empty())
        .with_context(|| format!("no process {pid}"))?;
    let all =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;
    sys::join_namespaces(pidfd.as_fd(), all)
        .with_context(|| format!("cannot join the namespaces of {pid}"))?;
    rustix::process::chdir(PathBuf::from("/").as_path())?;
    Ok(())
}

fn run(command: &[String]) -> anyhow::Error {
    let arguments: Result<Vec<_>, _> = command.iter().map(|a| std::ffi::CString::new(a.as_str())).collect();
    match arguments {
        Ok(arguments) => {
            let argv: Vec<&std::ffi::CStr> = arguments.iter().map(|a| a.as_c_str()).collect();
            let environment = [c"NOTIFY_SOCKET=/run/vakt/notify/socket"];
            anyhow::Error::from(sys::exec(c"/program", &argv, &environment))
                .context("cannot exec the program")
        }
        Err(error) => error.into(),
    }
}

//! Backup and restore over init's socket, for web alone: the connection is handed to a child.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::Context;
use rustix::pipe::PipeFlags;
use vakt_wire::role::{Role, permits};

use super::ctl::{Answer, Handed, refusal};
use crate::backup::{EVIDENCE_CHANGED, FILE_BYTES_MAX, PASSPHRASE_CHARS_MIN, Told};
use crate::sys::{self, CloneArgs, Ended, Forked};

/// Longest passphrase, as the pages' longest password.
const PASSPHRASE_BYTES_MAX: usize = 1024;

/// Descriptors are moved above this number before they are put where the child expects them.
const SCRATCH_FD: i32 = 200;

/// The child that is out, at most one: two restores at a time would be neither.
#[derive(Debug, Default)]
pub struct Backups {
    out: Option<i32>,
}

impl Backups {
    /// Gives a connection to a child, or back with a refusal.
    pub fn take(&mut self, handed: Handed) {
        if let Err(answer) = self.start(&handed) {
            handed.refuse(&answer);
        }
    }

    fn start(&mut self, handed: &Handed) -> Result<(), Answer> {
        if !permits(handed.uid, Role::Init.uid(), &[Role::Web]) {
            return Err(refusal(403, "only web may take and restore backups"));
        }
        if self.out.is_some() {
            return Err(refusal(409, "another backup or restore is under way"));
        }
        let passphrase = check(handed)?;
        let told = Told { passphrase, by: handed.asked.by.clone(), length: handed.asked.length };
        let pid = spawn(handed, &told).map_err(|error| refusal(500, &format!("{error:#}")))?;
        self.out = Some(pid);
        Ok(())
    }

    /// A child of PID 1 has ended: whether it was this one, and repair must begin anew after it.
    pub fn ended(&mut self, pid: i32, ended: Ended) -> bool {
        self.out.take_if(|out| *out == pid).is_some() && ended == Ended::Code(EVIDENCE_CHANGED)
    }
}

/// The passphrase, if the request can be granted.
fn check(handed: &Handed) -> Result<String, Answer> {
    let passphrase = &handed.asked.passphrase;
    let characters = passphrase.chars().count();
    if characters < PASSPHRASE_CHARS_MIN || passphrase.len() > PASSPHRASE_BYTES_MAX {
        return Err(refusal(
            422,
            &format!("the passphrase needs at least {PASSPHRASE_CHARS_MIN} characters"),
        ));
    }
    match (handed.asked.path.as_str(), handed.asked.length) {
        ("/v1/backup", 1..) => Err(refusal(400, "a backup is asked for without a body")),
        ("/v1/restore", 0) => Err(refusal(400, "the body must be the backup, with its Content-Length")),
        ("/v1/restore", length) if length > FILE_BYTES_MAX => {
            Err(refusal(413, &format!("a backup has at most {FILE_BYTES_MAX} bytes")))
        }
        _ => Ok(passphrase.clone()),
    }
}

/// Starts ourselves with the request as standard input and the connection as standard output.
fn spawn(handed: &Handed, told: &Told) -> anyhow::Result<i32> {
    let verb = if handed.asked.path == "/v1/backup" { c"backup" } else { c"restore" };
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    line.extend_from_slice(&handed.asked.body_begin);
    let forked = sys::fork_into(CloneArgs { namespaces: 0, cgroup: None }).context("cannot clone")?;
    match forked {
        Forked::Parent { pid, .. } => {
            drop(reader);
            // At most 28 KiB, and a pipe holds 64.
            std::fs::File::from(writer).write_all(&line).context("cannot tell the child")?;
            Ok(pid)
        }
        Forked::Child => {
            sys::reset_signals();
            let place = |fd: &OwnedFd, at| {
                sys::move_fd_above(fd.as_raw_fd(), SCRATCH_FD).and_then(|fd| sys::place_fd(fd, at))
            };
            let connection = sys::move_fd_above(handed.stream.as_raw_fd(), SCRATCH_FD);
            let placed = connection.and_then(|fd| place(&reader, 0).and_then(|()| sys::place_fd(fd, 1)));
            if placed.is_ok() {
                let argv: [&std::ffi::CStr; 2] = [c"vakt-init", verb];
                let environment = CString::new("RUST_BACKTRACE=1").unwrap_or_default();
                let _ = sys::exec(c"/proc/self/exe", &argv, &[&environment]);
            }
            sys::exit_now(127)
        }
    }
}

//! A short-lived child of PID 1: ourselves under another verb, or a program of the image. PID 1 reaps it and
//! never waits for it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use anyhow::Context;

use crate::sys::{self, CloneArgs, Forked};

/// Ourselves, wherever the file lies.
pub const OURSELVES: &CStr = c"/proc/self/exe";

/// Descriptors are moved above this number before they are put where the child expects them.
const SCRATCH_FD: i32 = 200;

/// A child that runs.
#[derive(Debug)]
pub struct Child {
    /// Its pid here, by which its end is known.
    pub pid: i32,
    /// Its handle.
    pub pidfd: OwnedFd,
}

/// Starts `program`; `words` begin with the name it goes by. `output` becomes its standard output;
/// standard error is ours. It has no environment, and no signal is blocked in it. A program
/// that cannot be started ends with 127.
///
/// # Errors
/// When a word has a zero byte, or the kernel gives no process.
pub fn start(program: &CStr, words: Vec<String>, output: Option<BorrowedFd<'_>>) -> anyhow::Result<Child> {
    let words: Vec<CString> = words.into_iter().map(CString::new).collect::<Result<_, _>>()?;
    match sys::fork_into(CloneArgs { namespaces: 0, cgroup: None }).context("cannot clone")? {
        Forked::Parent { pid, pidfd } => Ok(Child { pid, pidfd }),
        Forked::Child => {
            sys::reset_signals();
            if output.is_none_or(|output| place(output).is_ok()) {
                let argv: Vec<_> = words.iter().map(|word| word.as_c_str()).collect();
                let _ = sys::exec(program, &argv, &[]);
            }
            sys::exit_now(127)
        }
    }
}

fn place(output: BorrowedFd<'_>) -> std::io::Result<()> {
    sys::move_fd_above(output.as_raw_fd(), SCRATCH_FD).and_then(|above| sys::place_fd(above, 1))
}

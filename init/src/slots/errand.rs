//! The child that PID 1 sends to the ESP: one at a time, with a bound on its time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::pipe::PipeFlags;

use super::esp::{Listed, Report, Verb};
use crate::child::{self, Child};
use crate::sys::Ended;

/// The longest errand copies a UKI of 31 MB twice over, on a stick that writes 1 MB a second.
const ERRAND_MS_MAX: u64 = 120_000;

/// Errands that wait: the most that one boot asks for at a time is a give-back, a bless and a stage.
const WAITING_MAX: usize = 8;

/// The child's line; two slots' entries are some hundred bytes. A pipe holds it whole.
const REPORT_BYTES_MAX: u64 = 16 << 10;

/// An errand that is over.
#[derive(Debug)]
pub struct Outcome {
    /// What was asked.
    pub verb: Verb,
    /// What is on the ESP now, or why it was not done.
    pub result: Result<Vec<Listed>, String>,
}

#[derive(Debug)]
struct Out {
    verb: Verb,
    child: Child,
    said: File,
    until_ms: u64,
}

/// The errands of one ESP.
#[derive(Debug)]
pub struct Errands {
    esp: PathBuf,
    waiting: VecDeque<Verb>,
    out: Option<Out>,
}

impl Errands {
    /// None yet, on the ESP at `esp`.
    pub fn new(esp: &Path) -> Errands {
        Errands { esp: esp.to_owned(), waiting: VecDeque::new(), out: None }
    }

    /// Whether something is under way or waits.
    pub fn are_busy(&self) -> bool {
        self.out.is_some() || !self.waiting.is_empty()
    }

    /// Adds one behind the others.
    ///
    /// # Errors
    /// When too many wait.
    pub fn add(&mut self, verb: Verb) -> Result<(), String> {
        if self.waiting.len() == WAITING_MAX {
            return Err(format!("{WAITING_MAX} changes of the boot partition wait already; try again later"));
        }
        self.waiting.push_back(verb);
        Ok(())
    }

    /// Starts what may start and ends what takes too long. An errand that cannot be started is over at
    /// once.
    pub fn turn(&mut self, now_ms: u64) -> Option<Outcome> {
        if let Some(out) = &self.out {
            if now_ms >= out.until_ms {
                // Its end comes by `ended`.
                let _ = rustix::process::pidfd_send_signal(&out.child.pidfd, rustix::process::Signal::KILL);
            }
            return None;
        }
        let verb = self.waiting.pop_front()?;
        match start(&self.esp, &verb) {
            Ok((child, said)) => {
                self.out = Some(Out { verb, child, said, until_ms: now_ms + ERRAND_MS_MAX });
                None
            }
            Err(error) => Some(Outcome { verb, result: Err(format!("{error:#}")) }),
        }
    }

    /// A child of PID 1 has ended; the outcome if it was ours.
    pub fn ended(&mut self, pid: i32, ended: Ended) -> Option<Outcome> {
        let out = self.out.take_if(|out| out.child.pid == pid)?;
        let mut line = String::new();
        // The child is dead, so this ends; what it left is in the pipe.
        let read = out.said.take(REPORT_BYTES_MAX).read_to_string(&mut line);
        let result = match (ended, read, serde_json::from_str(line.trim())) {
            (Ended::Code(0), Ok(_), Ok(Report::Entries(entries))) => Ok(entries),
            (_, _, Ok(Report::Error(reason))) => Err(reason),
            (Ended::Signal(libc::SIGKILL), ..) => {
                Err(format!("the boot partition was not done with within {} s", ERRAND_MS_MAX / 1000))
            }
            (ended, ..) => Err(format!("the child for the boot partition {ended}")),
        };
        Some(Outcome { verb: out.verb, result })
    }
}

/// Starts ourselves as `vakt-init esp`, with a pipe as its output.
fn start(esp: &Path, verb: &Verb) -> anyhow::Result<(Child, File)> {
    let esp = esp.to_string_lossy().into_owned();
    let words =
        ["vakt-init".to_owned(), "esp".into(), "--esp".into(), esp].into_iter().chain(verb.arguments());
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let child = child::start(child::OURSELVES, words.collect(), Some(writer.as_fd()))?;
    Ok((child, reader.into()))
}

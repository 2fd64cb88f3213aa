//! One service as the loop holds it: what survives its deaths, and its present life.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::notify::NotifySocket;
use super::output::Output;
use super::sockets::Sockets;
use crate::manifest::Manifest;
use crate::sandbox::Plan;
use crate::sys::Ended;

/// Last lines of output kept for the page: what a dying service said is what one wants to read.
const LINES_KEPT_MAX: usize = 20;

/// A service.
#[derive(Debug)]
pub struct Service {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its room.
    pub plan: Plan,
    /// Its sockets, open across restarts.
    pub sockets: Sockets,
    /// Where it says that it is ready.
    pub notify: NotifySocket,
    /// Its process, while there is one.
    pub process: Option<Process>,
    /// The output of its life, or of the last one until that is read to the end.
    pub output: Option<Output>,
    /// Its last STATUS line.
    pub status: String,
    /// How its last life ended.
    pub ended: Option<Ended>,
    /// The last lines of its output.
    pub lines: VecDeque<String>,
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Its pid here.
    pub pid: i32,
    /// Its handle.
    pub pidfd: OwnedFd,
}

impl Service {
    /// Keeps a line, dropping the oldest past the bound.
    pub fn keep_line(&mut self, line: &str) {
        if self.lines.len() == LINES_KEPT_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.chars().take(500).collect());
    }
}

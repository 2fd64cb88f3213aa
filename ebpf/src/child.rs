//! Loading in a short-lived child.
//!
//! Reading the kernel's types takes some 40 MB for a moment, which an allocator does not wholly give back. A child that
//! loads the programs, hands over the descriptors and ends leaves the parent as small as it was.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::loader::{self, GROUPS, Parts};
use crate::sys;
use crate::unavailable::Unavailable;

/// All programs must be loaded within this; it takes a second on a busy machine.
const LOAD_WITHIN: Duration = Duration::from_secs(30);

/// Descriptors in one message: the largest group has 5 maps, 4 programs and 4 links.
const FDS_MAX: usize = 32;

/// Bytes of one message: names and reasons.
const MESSAGE_BYTES_MAX: usize = 8192;

/// A group's name and its parts, or why it is not there.
pub type Loaded = (&'static str, Result<Parts, Unavailable>);

/// Loads the groups: in a child when we are the only thread, else here.
pub fn load_all() -> Vec<Loaded> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    if threads == 1
        && let Ok(loaded) = in_a_child()
    {
        return loaded;
    }
    here()
}

fn here() -> Vec<Loaded> {
    match loader::types() {
        Ok(btf) => GROUPS.iter().map(|group| (group.name, loader::load(group, &btf))).collect(),
        Err(reason) => GROUPS.iter().map(|group| (group.name, Err(reason.clone()))).collect(),
    }
}

fn in_a_child() -> std::io::Result<Vec<Loaded>> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let child = sys::fork(|| {
        for (name, outcome) in here() {
            // A parent that is gone needs nothing more.
            let _ = tell(theirs.as_fd(), name, &outcome);
        }
    })?;
    drop(theirs);
    let (loaded, has_ended) = hear(ours.as_fd());
    match Pid::from_raw(child) {
        // What it would answer is of no interest: it said all that it had to say.
        Some(child) if has_ended => drop(waitpid(Some(child), WaitOptions::empty())),
        // A child that hangs is not waited for: what holds it up may hold its end up too.
        Some(child) => {
            let _ = kill_process(child, Signal::KILL);
            let _ = waitpid(Some(child), WaitOptions::NOHANG);
        }
        None => {}
    }
    Ok(loaded)
}

/// The message: the group's name, then `map NAME`, `program NAME`, `missing ACTION|REASON`, or `refused ACTION|REASON`, a
/// line each. The descriptors are those of the maps, the programs and the links, in this order.
fn tell(socket: BorrowedFd, name: &str, outcome: &Result<Parts, Unavailable>) -> std::io::Result<()> {
    let mut text = format!("{name}\n");
    let mut fds: Vec<BorrowedFd> = Vec::new();
    let line = |kind: &str, reason: &Unavailable| {
        let (action, reason) = reason.parts();
        format!("{kind} {action}|{}\n", reason.replace('\n', " "))
    };
    match outcome {
        Ok(parts) => {
            for (kind, named) in [("map", &parts.maps), ("program", &parts.programs)] {
                for (name, fd) in named {
                    text.push_str(&format!("{kind} {name}\n"));
                    fds.push(fd.as_fd());
                }
            }
            fds.extend(parts.links.iter().map(AsFd::as_fd));
            parts.missing.iter().for_each(|reason| text.push_str(&line("missing", reason)));
        }
        Err(reason) => text.push_str(&line("refused", reason)),
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// Hears of every group until the child has ended, which the second value says. A group of which nothing was heard in
/// time is unavailable.
fn hear(socket: BorrowedFd) -> (Vec<Loaded>, bool) {
    let until = Instant::now() + LOAD_WITHIN;
    let late = || Unavailable::said("load the programs", "the loading child ended early or took too long");
    let mut loaded: Vec<Loaded> = GROUPS.iter().map(|group| (group.name, Err(late()))).collect();
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: 0 };
        if !matches!(poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&wait)), Ok(1..)) {
            return (loaded, false);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut buffer)];
        let length = match recvmsg(socket, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) if message.bytes > 0 => message.bytes,
            _ => return (loaded, true),
        };
        let mut fds: Vec<OwnedFd> = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let Some((name, lines)) = text.split_once('\n') else { continue };
        if let Some(entry) = loaded.iter_mut().find(|(known, _)| *known == name) {
            entry.1 = parts_of(lines, fds);
        }
    }
}

fn parts_of(lines: &str, fds: Vec<OwnedFd>) -> Result<Parts, Unavailable> {
    let mut fds = fds.into_iter();
    let mut parts = Parts { maps: Vec::new(), programs: Vec::new(), links: Vec::new(), missing: Vec::new() };
    for line in lines.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (action, reason) = rest.split_once('|').unwrap_or((rest, ""));
        match kind {
            "refused" => return Err(Unavailable::said(action, reason)),
            "missing" => parts.missing.push(Unavailable::said(action, reason)),
            _ => {
                let lost = || Unavailable::said("take over the programs", "the message lacks descriptors");
                let fd = fds.next().ok_or_else(lost)?;
                let named = if kind == "map" { &mut parts.maps } else { &mut parts.programs };
                named.push((rest.to_owned(), fd));
            }
        }
    }
    parts.links = fds.collect();
    Ok(parts)
}

//! State's file system, checked before it is mounted and mended in steps: e2fsck(8) replays the journal and mends
//! what is safe to mend; only when that does not do, it mends everything, from a copy of the superblock if
//! need be. Nothing is made anew here: what e2fsck cannot read stays as it is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;

use crate::child::{self, Child};
use crate::sys::{self, Ended};

/// Where e2fsck is: in our image, and in Buildroot's.
const PROGRAMS: [&str; 2] = ["/usr/bin/e2fsck", "/usr/sbin/e2fsck"];

/// A check of 4 TiB that was not unmounted in order takes some minutes on a slow disk. What takes longer is
/// ended, and state is mounted as it is.
const CHECK_MS_MAX: u64 = 20 * 60 * 1000;

/// Of what e2fsck says this much is kept, from the beginning.
const SAID_BYTES_MAX: usize = 64 << 10;

/// e2fsck (1.47.0) that takes a copy of the superblock replays the journal and then gives up, with a file system that
/// calls itself clean and is not; the next run, forced, mends it. A third one would find what the second left.
const MENDS_MAX: u32 = 3;

/// What a check came to, by e2fsck's exit status (a sum of bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing was wrong.
    Clean,
    /// What was wrong is mended.
    Mended,
    /// Something is still wrong, or it could not be read at all.
    Wrong,
}

/// Checks and mends the unmounted file system on `node`. The line says what was wrong; none for a clean one.
///
/// # Errors
/// When there is no e2fsck, or it does not come to an end.
pub fn mend(node: &Path) -> anyhow::Result<Option<String>> {
    let (first, said) = run(node, "-p")?;
    let mut last = last_line(&said).to_owned();
    if first != Outcome::Wrong {
        let mended = || format!("state was damaged and is mended: {}", last_line(&said));
        // Replaying the journal after a power cut is no damage.
        return Ok((first == Outcome::Mended && !said.contains("recovering journal")).then(mended));
    }
    for _ in 0..MENDS_MAX {
        let (outcome, said) = run(node, "-fy")?;
        if outcome != Outcome::Wrong {
            let line = last_line(&said);
            return Ok(Some(format!("state was badly damaged and is mended as far as possible: {line}")));
        }
        last = last_line(&said).to_owned();
    }
    anyhow::bail!("e2fsck cannot mend it: {last}")
}

fn run(node: &Path, how: &str) -> anyhow::Result<(Outcome, String)> {
    let program = PROGRAMS.into_iter().find(|program| Path::new(program).exists());
    let program = program.context("there is no e2fsck in the image")?;
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let words = vec!["e2fsck".into(), how.into(), node.to_string_lossy().into_owned()];
    let name = std::ffi::CString::new(program)?;
    let started = child::start(&name, words, Some(writer.as_fd()))?;
    drop(writer);
    let said = read_to_end(&reader, &started)?;
    let ended = wait(started.pid)?;
    match ended {
        Ended::Code(code) => Ok((outcome(code), said)),
        ended => anyhow::bail!("e2fsck {ended}"),
    }
}

/// What the child says until it ends. One that takes too long is killed.
fn read_to_end(reader: &OwnedFd, child: &Child) -> anyhow::Result<String> {
    let until_ms = sys::now_ms() + CHECK_MS_MAX;
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let left_ms = until_ms.saturating_sub(sys::now_ms());
        let left = Timespec { tv_sec: (left_ms / 1000) as i64, tv_nsec: (left_ms % 1000 * 1_000_000) as _ };
        match rustix::event::poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                // The pipe ends with it.
                let _ = rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
                return Ok(String::from_utf8_lossy(&said).into_owned());
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error).context("cannot poll"),
        }
        match rustix::io::read(reader, &mut piece).context("cannot read what e2fsck says")? {
            0 => return Ok(String::from_utf8_lossy(&said).into_owned()),
            length => {
                let room = SAID_BYTES_MAX - said.len();
                said.extend_from_slice(&piece[..length.min(room)]);
            }
        }
    }
}

/// Reaps until the child is found; nothing else of ours runs yet.
fn wait(pid: i32) -> anyhow::Result<Ended> {
    loop {
        match sys::reap(true).context("cannot wait for e2fsck")? {
            Some((found, ended)) if found == pid => return Ok(ended),
            Some(_) => {}
            None => anyhow::bail!("e2fsck is gone"),
        }
    }
}

/// e2fsck(8), EXIT CODE: 1 errors corrected, 2 and a reboot is due (not for a file system that is not mounted),
/// 4 errors left, 8 and more it could not do its work.
fn outcome(code: i32) -> Outcome {
    match code {
        0 => Outcome::Clean,
        1..=3 => Outcome::Mended,
        _ => Outcome::Wrong,
    }
}

fn last_line(said: &str) -> &str {
    said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing")
}

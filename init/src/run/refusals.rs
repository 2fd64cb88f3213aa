//! The kernel's log as init reads it: for what seccomp refused, and nothing else.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use crate::sandbox::refusal::{Refusal, Teller};

/// The kernel's log.
const KMSG: &str = "/dev/kmsg";

/// Longest record that the kernel hands out (PRINTK_MESSAGE_MAX is 2 KiB, escapes make it longer).
const RECORD_BYTES_MAX: usize = 8 << 10;

/// Records read in one turn; the rest waits for the next.
const RECORDS_MAX: usize = 64;

/// The reader.
#[derive(Debug)]
pub struct Refusals {
    log: Option<File>,
    teller: Teller,
}

impl Refusals {
    /// Reads what comes from now on. Without a log that can be read, refusals are not told; the calls are
    /// refused all the same.
    pub fn open() -> Refusals {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut log = rustix::fs::open(KMSG, flags, Mode::empty()).map(File::from).ok();
        let at_end = log.as_mut().is_some_and(|log| log.seek(SeekFrom::End(0)).is_ok());
        Refusals { log: log.filter(|_| at_end), teller: Teller::default() }
    }

    /// The descriptor to wait for.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.log.iter().map(|log| log.as_fd())
    }

    /// A line for each refusal since the last look that is to be told of.
    pub fn read(&mut self, now_ms: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(log) = &mut self.log else { return lines };
        let mut buffer = [0; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            match log.read(&mut buffer) {
                Ok(length) => {
                    let refusal = std::str::from_utf8(&buffer[..length]).ok().and_then(Refusal::parse);
                    lines.extend(refusal.and_then(|refusal| self.teller.line(now_ms, &refusal)));
                }
                // The ring was overwritten before it was read; the next read goes on with its oldest record.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                Err(_) => break,
            }
        }
        lines
    }
}

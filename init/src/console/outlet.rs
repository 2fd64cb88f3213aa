//! Bytes on their way to a terminal: written as far as it takes them, never waited for.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes that wait. A serial line of 9,600 baud takes a second for 1 KiB; what does not fit is dropped, and the screen
/// is drawn anew once the line is free.
const WAITING_BYTES_MAX: usize = 16 << 10;

/// A terminal's writing end, opened without blocking.
#[derive(Debug)]
pub struct Outlet {
    file: File,
    waiting: Vec<u8>,
}

impl Outlet {
    /// Writes to `file`, which must not block.
    pub fn new(file: File) -> Outlet {
        Outlet { file, waiting: Vec::new() }
    }

    /// Takes all of `bytes` or, when they do not fit behind what waits, none; says which. Writes what the terminal takes
    /// now.
    pub fn put(&mut self, bytes: &[u8]) -> bool {
        let fits = self.waiting.len() + bytes.len() <= WAITING_BYTES_MAX;
        if fits {
            self.waiting.extend_from_slice(bytes);
        }
        self.flush();
        fits
    }

    /// Writes on. A terminal that is gone loses what waits.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.file.write(&self.waiting) {
                Ok(0) => return,
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.waiting.clear(),
            }
        }
    }

    /// Whether something waits.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The terminal.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_line_that_takes_nothing_holds_nobody_up_and_goes_on_later() {
        let (reader, writer) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC)
                .unwrap();
        let (mut reader, mut outlet) = (File::from(reader), Outlet::new(File::from(writer)));
        let mut taken = 0;
        while outlet.put(&[7; 4096]) {
            taken += 4096;
        }
        assert!(outlet.is_behind() && taken >= WAITING_BYTES_MAX);
        let (mut read, mut buffer) = (0, [0; 4096]);
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            read += length;
            outlet.flush();
        }
        assert_eq!(
            (read, outlet.is_behind()),
            (taken, false),
            "what was taken came, what was refused did not"
        );
    }

    #[test]
    fn a_terminal_that_is_gone_costs_nothing() {
        let (reader, writer) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC)
                .unwrap();
        drop(reader);
        let mut outlet = Outlet::new(File::from(writer));
        assert!(outlet.put(b"x") && !outlet.is_behind());
    }
}

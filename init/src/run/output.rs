//! A service's standard output and error: split into lines, bounded, handed on.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest line that is kept whole; the rest of a longer one becomes lines of its own.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Bytes taken from one service before the others are looked at again.
const BURST_BYTES_MAX: usize = 64 << 10;

/// The reading end of one life's output.
#[derive(Debug)]
pub struct Output {
    pipe: std::fs::File,
    partial: Vec<u8>,
}

impl Output {
    /// Reads from `pipe`, which must not block.
    pub fn new(pipe: OwnedFd) -> Output {
        Output { pipe: pipe.into(), partial: Vec::new() }
    }

    /// The lines that are complete by now, and whether the pipe has ended.
    pub fn read(&mut self) -> (Vec<String>, bool) {
        let mut buffer = [0; 4096];
        let mut taken = 0;
        while taken < BURST_BYTES_MAX {
            match self.pipe.read(&mut buffer) {
                Ok(0) => {
                    let rest = std::mem::take(&mut self.partial);
                    let mut lines = Vec::new();
                    split(&mut self.partial, &[&rest[..], b"\n"].concat(), &mut lines);
                    return (lines, true);
                }
                Ok(length) => {
                    self.partial.extend_from_slice(&buffer[..length]);
                    taken += length;
                }
                // Nothing more for now; a real error shows as end of file at the next look.
                Err(_) => break,
            }
        }
        let bytes = std::mem::take(&mut self.partial);
        let mut lines = Vec::new();
        split(&mut self.partial, &bytes, &mut lines);
        (lines, false)
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Cuts `bytes` at line ends and at the bound; what is left over becomes `partial`.
fn split(partial: &mut Vec<u8>, bytes: &[u8], lines: &mut Vec<String>) {
    let mut rest = bytes;
    loop {
        let end = rest.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n');
        let (line, next) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None if rest.len() >= LINE_BYTES_MAX => rest.split_at(LINE_BYTES_MAX),
            None => break,
        };
        if !line.is_empty() {
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
        rest = next;
    }
    *partial = rest.to_vec();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_end_and_at_the_bound() {
        let (mut partial, mut lines) = (Vec::new(), Vec::new());
        split(&mut partial, b"a\n\nb\nrest", &mut lines);
        assert_eq!((lines.join("|").as_str(), partial.as_slice()), ("a|b", b"rest".as_slice()));
        lines.clear();
        split(&mut partial, &vec![b'x'; LINE_BYTES_MAX * 2 + 1], &mut lines);
        assert_eq!((lines.len(), partial.len()), (2, 1));
    }
}

//! Syslog over a byte stream: where one message ends and the next begins (RFC 6587).
//!
//! Octet counting (`123 <13>1 …`) and newlines are told apart at each message, since senders that
//! were reconfigured mix them. A message longer than the bound is cut there and the rest skipped.

use super::MESSAGE_BYTES_MAX;

/// Largest octet count that is believed. Beyond it the digits are taken for text.
const COUNT_MAX: usize = 16 << 20;
/// Digits of [`COUNT_MAX`].
const COUNT_DIGITS_MAX: usize = 8;

/// One message found in a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The message, at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: Vec<u8>,
    /// It was longer and is cut.
    pub truncated: bool,
}

/// Cuts a stream into messages. Holds at most one message.
#[derive(Debug, Default)]
pub struct Framer {
    pending: Vec<u8>,
    /// Bytes of a counted message that are still to be skipped.
    skip: usize,
    /// The rest of a line that was cut is still to be skipped.
    skip_line: bool,
}

impl Framer {
    /// Takes the next bytes of the stream and calls `found` for each message that is complete.
    pub fn feed(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(Found)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            if self.skip_line {
                match memchr::memchr(b'\n', bytes) {
                    Some(end) => {
                        self.skip_line = false;
                        bytes = &bytes[end + 1..];
                    }
                    None => return,
                }
                continue;
            }
            // One byte more than the longest message and its count, so that a cut is seen.
            let room = MESSAGE_BYTES_MAX + COUNT_DIGITS_MAX + 2 - self.pending.len();
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(taken);
            bytes = rest;
            self.cut(found);
        }
    }

    /// The stream ended: what is left without its newline or its full count is a message too, marked
    /// truncated when its count promised more.
    pub fn finish(mut self, found: &mut dyn FnMut(Found)) {
        let left = std::mem::take(&mut self.pending);
        let body = match count(&left) {
            Count::Counted { digits, .. } => Found { message: left[digits + 1..].to_vec(), truncated: true },
            _ => Found { message: left, truncated: false },
        };
        if !body.message.trim_ascii().is_empty() {
            found(body);
        }
    }

    fn cut(&mut self, found: &mut dyn FnMut(Found)) {
        let mut at = 0;
        while let Some(step) = next(&self.pending[at..]) {
            let start = at + step.header;
            let end = start + step.length;
            let message = &self.pending[start..end];
            if !message.trim_ascii().is_empty() {
                found(Found { message: message.to_vec(), truncated: step.skip > 0 || step.skip_line });
            }
            at = end + step.trailer;
            self.skip = step.skip;
            self.skip_line = step.skip_line;
            if self.skip > 0 || self.skip_line {
                // A cut message fills the whole room, so what follows it here belongs to it as well.
                let left = self.pending.split_off(at);
                self.pending.clear();
                return self.feed(&left, found);
            }
        }
        self.pending.drain(..at);
    }
}

struct Step {
    header: usize,
    length: usize,
    trailer: usize,
    skip: usize,
    skip_line: bool,
}

/// The first complete (or overlong) message of `bytes`; `None` when more bytes are needed.
fn next(bytes: &[u8]) -> Option<Step> {
    let whole = |header, length, trailer| Step { header, length, trailer, skip: 0, skip_line: false };
    match count(bytes) {
        Count::More => None,
        Count::Counted { digits, length } if length > MESSAGE_BYTES_MAX => (bytes.len()
            > digits + MESSAGE_BYTES_MAX)
            .then(|| Step { skip: length - MESSAGE_BYTES_MAX, ..whole(digits + 1, MESSAGE_BYTES_MAX, 0) }),
        Count::Counted { digits, length } => {
            (bytes.len() > digits + length).then(|| whole(digits + 1, length, 0))
        }
        Count::None => match memchr::memchr(b'\n', bytes) {
            Some(end) if end <= MESSAGE_BYTES_MAX => Some(whole(0, end, 1)),
            None if bytes.len() <= MESSAGE_BYTES_MAX => None,
            _ => Some(Step { skip_line: true, ..whole(0, MESSAGE_BYTES_MAX, 0) }),
        },
    }
}

enum Count {
    /// The bytes begin with no octet count.
    None,
    /// They might, when more of them are there.
    More,
    /// `digits` digits, a space, then `length` bytes of message.
    Counted { digits: usize, length: usize },
}

/// RFC 6587 section 3.4.1: MSG-LEN SP SYSLOG-MSG, where a message begins with `<`.
fn count(bytes: &[u8]) -> Count {
    let digits = bytes.iter().take(COUNT_DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits > COUNT_DIGITS_MAX || bytes[0] == b'0' {
        return Count::None;
    }
    match (bytes.get(digits), bytes.get(digits + 1)) {
        (None, _) | (Some(b' '), None) => Count::More,
        (Some(b' '), Some(b'<')) => {
            let number = bytes[..digits].iter().fold(0_usize, |n, b| n * 10 + usize::from(b - b'0'));
            if number <= COUNT_MAX { Count::Counted { digits, length: number } } else { Count::None }
        }
        _ => Count::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Messages of a stream that arrives in pieces of `step` bytes; `…` marks a truncated one.
    fn messages(stream: &[u8], step: usize) -> Vec<String> {
        let mut out = Vec::new();
        let mut framer = Framer::default();
        let show = |f: Found| {
            format!("{}{}", String::from_utf8_lossy(&f.message), if f.truncated { "…" } else { "" })
        };
        for piece in stream.chunks(step) {
            framer.feed(piece, &mut |f| out.push(show(f)));
        }
        framer.finish(&mut |f| out.push(show(f)));
        out
    }

    fn check(stream: &str, expected: &[&str]) {
        for step in [1, 2, 3, 7, stream.len().max(1)] {
            assert_eq!(messages(stream.as_bytes(), step), expected, "{stream:?} in steps of {step}");
        }
    }

    #[test]
    fn both_framings_are_told_apart_at_each_message() {
        check("<1>a\n<2>b\n", &["<1>a", "<2>b"]);
        check("4 <1>a5 <2>bb", &["<1>a", "<2>bb"]);
        check("4 <1>a<2>b\n4 <3>c", &["<1>a", "<2>b", "<3>c"]);
        check("6 <1>a\nb<2>c\n", &["<1>a\nb", "<2>c"]);
        check("12 monkeys\n<1>a\n", &["12 monkeys", "<1>a"]);
        check("\n\n<1>a\n\n", &["<1>a"]);
    }

    #[test]
    fn what_is_left_at_the_end_is_a_message() {
        check("<1>a\n<2>b", &["<1>a", "<2>b"]);
        check("4 <1>a9 <2>b", &["<1>a", "<2>b…"]);
        check("42", &["42"]);
        check("", &[]);
    }

    #[test]
    fn a_message_beyond_the_bound_is_cut_and_the_next_one_whole() {
        let long = "x".repeat(MESSAGE_BYTES_MAX + 1000);
        let cut = format!("<1>{}…", "x".repeat(MESSAGE_BYTES_MAX - 3));
        let lines = format!("<1>{long}\n<2>b\n");
        let counted = format!("{} <1>{long}4 <2>b", long.len() + 3);
        for step in [1000, 70_000, 1_000_000] {
            assert_eq!(messages(lines.as_bytes(), step), [cut.as_str(), "<2>b"]);
            assert_eq!(messages(counted.as_bytes(), step), [cut.as_str(), "<2>b"]);
        }
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_stream_do_not_matter(
            stream in "([0-9]{1,3} )?(<[0-9]>|[a-z ]|\n){0,60}", step in 1_usize..9,
        ) {
            prop_assert_eq!(messages(stream.as_bytes(), step), messages(stream.as_bytes(), 1000));
        }
    }
}

//! The guest's serial console: kept whole, watched for lines, shown as it comes if wished.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes kept; a guest that prints more has gone mad, and the rest is dropped.
const KEPT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Default)]
struct Kept {
    text: String,
    ended: bool,
}

/// What the console has said so far. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Serial(Arc<(Mutex<Kept>, Condvar)>);

impl Serial {
    /// Reads `source` in a thread of its own until it ends, showing it when `show` is set.
    pub fn follow(mut source: impl Read + Send + 'static, show: bool) -> Serial {
        let serial = Serial::default();
        let writer = serial.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                if show {
                    // A closed terminal must not stop the guest.
                    let _ = std::io::stdout()
                        .write_all(&buffer[..length])
                        .and_then(|()| std::io::stdout().flush());
                }
                writer.change(|kept| {
                    if kept.text.len() < KEPT_BYTES_MAX {
                        kept.text.push_str(&String::from_utf8_lossy(&buffer[..length]));
                    }
                });
            }
            writer.change(|kept| kept.ended = true);
        });
        serial
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    /// The rest of the first line that has `mark` in it, once that line is whole.
    ///
    /// # Errors
    /// When it has not come within `within`, or the console ended; with the last lines that came.
    pub fn wait_for(&self, mark: &str, within: Duration) -> anyhow::Result<String> {
        let until = Instant::now() + within;
        let mut kept = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&kept.text, mark) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if kept.ended || left.is_zero() {
                let why = if kept.ended { "the console ended" } else { "the time ran out" };
                let from = kept.text.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
                anyhow::bail!(
                    "{mark:?} was not seen: {why} after {within:?}; last lines:\n{}",
                    &kept.text[from..]
                );
            }
            kept = self.0.1.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn find(text: &str, mark: &str) -> Option<String> {
    let rest = &text[text.find(mark)? + mark.len()..];
    let end = rest.find(['\n', '\r'])?;
    Some(rest[..end].trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_once_it_is_whole() {
        assert_eq!(find("boot\r\nvakt: setup code ABCD", "setup code "), None);
        assert_eq!(find("boot\r\nvakt: setup code ABCD\r\n", "setup code ").as_deref(), Some("ABCD"));
    }

    #[test]
    fn a_console_that_ends_is_told_with_its_last_lines() {
        let serial = Serial::follow(&b"one\ntwo\n"[..], false);
        assert_eq!(serial.wait_for("t", Duration::from_secs(10)).unwrap(), "wo");
        let error = serial.wait_for("three", Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("the console ended") && error.ends_with("two\n"), "{error}");
    }
}

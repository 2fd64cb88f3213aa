//! The machine's console: one line each for what a person at the box must know.

use std::fs::File;
use std::io::Write;

/// Longest line that is shown.
const LINE_CHARS_MAX: usize = 400;

/// Where console lines go: `/dev/console` on a machine, standard error in a container.
#[derive(Debug)]
pub struct Console(Option<File>);

impl Console {
    /// The machine's console, or standard error when there is none (a serial port that does not
    /// exist must not stop a boot).
    pub fn machine() -> Console {
        Console(File::options().write(true).open("/dev/console").ok())
    }

    /// Standard error.
    pub fn stderr() -> Console {
        Console(None)
    }

    /// Shows one line, with control characters taken out. A console that cannot be written to is
    /// passed over: nothing else could be told about it.
    pub fn line(&mut self, text: &str) {
        let clean: String = text.chars().filter(|c| !c.is_control()).take(LINE_CHARS_MAX).collect();
        let _ = match &mut self.0 {
            Some(console) => console.write_all(format!("{clean}\r\n").as_bytes()),
            None => std::io::stderr().write_all(format!("{clean}\n").as_bytes()),
        };
    }
}

//! The machine's console: one line each for what a person at the box must know.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::console::outlet::Outlet;

/// Longest line that is shown.
const LINE_CHARS_MAX: usize = 400;

/// Lines that are remembered for the status screen, and those held back while it is shown on the same terminal.
const EVENTS_MAX: usize = 16;
const HELD_MAX: usize = 64;

/// What waits for a slow line is given this long before the machine goes down.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

/// Where console lines go: `/dev/console` on a machine, standard error in a container.
#[derive(Debug)]
pub struct Console {
    device: Option<Outlet>,
    dropped: u32,
    held: Option<VecDeque<String>>,
    heard: Heard,
}

/// What the lines said, for the status screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last lines, oldest first.
    pub events: VecDeque<String>,
    /// The certificate's fingerprint.
    pub fingerprint: String,
    /// The set-up code, until it was used.
    pub setup_code: Option<String>,
}

impl Console {
    /// The machine's console, or standard error when there is none (a serial port that does not
    /// exist must not stop a boot).
    pub fn machine() -> Console {
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/console", flags, Mode::empty());
        Console { device: device.ok().map(|fd| Outlet::new(File::from(fd))), ..Console::stderr() }
    }

    /// Standard error.
    pub fn stderr() -> Console {
        Console { device: None, dropped: 0, held: None, heard: Heard::default() }
    }

    /// Shows one line, with control characters taken out. A console that cannot be written to is
    /// passed over: nothing else could be told about it. A slow one is not waited for; what it cannot take is counted.
    pub fn line(&mut self, text: &str) {
        let clean: String = text.chars().filter(|c| !c.is_control()).take(LINE_CHARS_MAX).collect();
        self.heard.hear(&clean);
        match &mut self.held {
            Some(held) => {
                if held.len() == HELD_MAX {
                    held.pop_front();
                }
                held.push_back(clean);
            }
            None => self.write(&clean),
        }
    }

    fn write(&mut self, clean: &str) {
        let Some(device) = &mut self.device else {
            let _ = std::io::stderr().write_all(format!("{clean}\n").as_bytes());
            return;
        };
        if self.dropped > 0
            && device.put(format!("vakt: {} lines were dropped here\r\n", self.dropped).as_bytes())
        {
            self.dropped = 0;
        }
        if !device.put(format!("{clean}\r\n").as_bytes()) {
            self.dropped += 1;
        }
    }

    /// Holds lines back while the screen is shown on the same terminal; afterwards they are written.
    pub fn hold(&mut self, hold: bool) {
        match (hold, self.held.take()) {
            (true, held) => self.held = Some(held.unwrap_or_default()),
            (false, held) => held.into_iter().flatten().for_each(|line| self.write(&line)),
        }
    }

    /// Writes on what a slow line could not take.
    pub fn flush(&mut self) {
        if let Some(device) = &mut self.device {
            device.flush();
        }
    }

    /// The device while something waits for it.
    pub fn behind(&self) -> Option<&Outlet> {
        self.device.as_ref().filter(|device| device.is_behind())
    }

    /// Waits, for at most two seconds, until everything is written: the machine goes down.
    pub fn settle(&mut self) {
        self.hold(false);
        let until = Instant::now() + SETTLE_WITHIN;
        while self.behind().is_some() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
            self.flush();
        }
    }

    /// What the lines said.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }
}

impl Heard {
    fn hear(&mut self, line: &str) {
        if let Some(fingerprint) = line.strip_prefix("vakt: fingerprint ") {
            self.fingerprint = fingerprint.to_owned();
            // web has begun anew, and says the code again if there is one.
            self.setup_code = None;
            return;
        }
        if let Some(code) = line.strip_prefix("vakt: setup code ") {
            self.setup_code = Some(code.to_owned());
            return;
        }
        if line.starts_with("vakt: set up by ") {
            self.setup_code = None;
        }
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(line.strip_prefix("vakt: ").unwrap_or(line).to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_learns_fingerprint_and_code_and_forgets_a_used_code() {
        let mut console = Console::stderr();
        console.hold(true);
        for line in
            ["vakt: setup code AAAA-BBBB", "vakt: fingerprint SHA256:AA", "vakt: setup code CCCC-DDDD"]
        {
            console.line(line);
        }
        let heard = console.heard().clone();
        assert_eq!(
            (heard.fingerprint.as_str(), heard.setup_code.as_deref()),
            ("SHA256:AA", Some("CCCC-DDDD"))
        );
        assert!(heard.events.is_empty(), "a code is no event: it must not stay on the screen");
        console.line("vakt: set up by admin");
        assert_eq!((console.heard().setup_code.clone(), console.heard().events.len()), (None, 1));
        (0..100).for_each(|n| console.line(&format!("vakt: {n}")));
        assert_eq!(console.heard().events.len(), EVENTS_MAX);
    }
}

//! How far it is, as a line on a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines: what an eye can follow.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Characters of the bar.
const BAR: u64 = 30;

/// A bar on standard error while that is a terminal; silence otherwise.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    total: u64,
    began: Instant,
    shown: Option<Instant>,
    shows: bool,
}

impl Progress {
    /// Begins to tell of `what`, which has `total` bytes.
    pub fn new(what: &'static str, total: u64) -> Progress {
        let shows = std::io::stderr().is_terminal();
        Progress { what, total, began: Instant::now(), shown: None, shows }
    }

    /// `done` bytes are done.
    pub fn at(&mut self, done: u64) {
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= SHOW_EVERY) || done == self.total;
        if !self.shows || !due {
            return;
        }
        self.shown = Some(Instant::now());
        let text = line(self.what, done, self.total, self.began.elapsed());
        let end = if done == self.total { "\n" } else { "" };
        // A closed terminal is no reason to stop writing.
        let _ = write!(std::io::stderr(), "\r{text}{end}");
    }
}

/// One line: `writing [####      ] 40 % 52 MiB/s`.
fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let of = |whole: u64| done.saturating_mul(whole).checked_div(total).unwrap_or(whole);
    let bar: String = (0..BAR).map(|at| if at < of(BAR) { '#' } else { ' ' }).collect();
    let speed = done as f64 / f64::from(1 << 20) / elapsed.as_secs_f64().max(0.001);
    format!("{what:<8} [{bar}] {:>3} % {speed:>6.0} MiB/s", of(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_share_and_speed() {
        let text = line("writing", 512 << 20, 1 << 30, Duration::from_secs(4));
        assert_eq!(text, format!("writing  [{}{}]  50 %    128 MiB/s", "#".repeat(15), " ".repeat(15)));
        assert!(line("writing", 0, 0, Duration::ZERO).contains("100 %"));
    }
}

//! One terminal: its keys, its menu, its screen.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

use super::IDLE_MS_MAX;
use super::keys::{Key, keys};
use super::menu::{Action, Menu, Outcome};
use super::outlet::Outlet;
use super::ports::{self, Port};
use super::screen::{Facts, draw};

/// A terminal that is open.
#[derive(Debug)]
pub struct Terminal {
    /// Which one.
    pub port: Port,
    outlet: Outlet,
    menu: Menu,
    is_open: bool,
    typed_ms: u64,
    /// What the terminal shows; `None` when that is unknown.
    shown: Option<Vec<String>>,
    is_gone: bool,
}

impl Terminal {
    /// Opens every terminal there is. One that cannot be opened is passed over.
    pub fn open_all() -> Vec<Terminal> {
        let each = |port: Port| Some(Terminal::new(Outlet::new(ports::open(&port).ok()?), port));
        ports::find().into_iter().filter_map(each).collect()
    }

    fn new(outlet: Outlet, port: Port) -> Terminal {
        let is_open = port.is_virtual;
        Terminal { port, outlet, menu: Menu::default(), is_open, typed_ms: 0, shown: None, is_gone: false }
    }

    /// Whether the screen is shown.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the terminal went away; it is not to be waited for any more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether bytes wait for the line.
    pub fn is_behind(&self) -> bool {
        self.outlet.is_behind()
    }

    /// Takes what was typed and returns what is to be done.
    pub fn read(&mut self, now_ms: u64, facts: &Facts) -> Vec<Action> {
        let mut buffer = [0; 256];
        let typed = match self.outlet.file().read(&mut buffer) {
            Ok(length @ 1..) => keys(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Vec::new()
            }
            Ok(_) | Err(_) => {
                self.is_gone = true;
                Vec::new()
            }
        };
        let mut asked = Vec::new();
        for key in typed {
            self.typed_ms = now_ms;
            if !self.is_open {
                // Noise on a line opens nothing.
                self.is_open = key == Key::Enter;
                continue;
            }
            match self.menu.key(key, facts) {
                Outcome::Stay => {}
                Outcome::Close => self.close(),
                Outcome::Do(action) => asked.push(action),
            }
        }
        if self.is_open && now_ms.saturating_sub(self.typed_ms) >= IDLE_MS_MAX {
            self.menu.rest();
            self.close();
        }
        asked
    }

    /// Shows what came of an action.
    pub fn say(&mut self, said: &str) {
        self.menu.say(said);
    }

    /// Goes back to plain lines, where there are any.
    pub fn close(&mut self) {
        if !self.port.is_virtual && self.is_open {
            self.is_open = false;
            self.shown = None;
            self.outlet.put(b"\x1B[2J\x1B[H");
        }
    }

    /// Draws the screen if it is shown and has changed, once the line is free.
    pub fn show(&mut self, facts: &Facts) {
        self.outlet.flush();
        if !self.is_open || self.outlet.is_behind() {
            return;
        }
        let lines = self.menu.lines(facts);
        if self.shown.as_ref() != Some(&lines)
            && self.outlet.put(draw(&lines, self.shown.is_none()).as_bytes())
        {
            self.shown = Some(lines);
        }
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outlet.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::supervisor::Goal;

    fn line(is_virtual: bool) -> (Terminal, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let port = Port { name: "ttyS0".into(), is_virtual, is_console: true };
        (Terminal::new(Outlet::new(File::from(OwnedFd::from(ours))), port), theirs)
    }

    fn seen(theirs: &mut UnixStream) -> String {
        let mut bytes = vec![0; 1 << 16];
        let length = theirs.read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_serial_line_shows_nothing_until_enter_and_closes_by_itself() {
        let facts = Facts { name: "guard".into(), ..Facts::default() };
        let (mut terminal, mut theirs) = line(false);
        theirs.write_all(b"noise").unwrap();
        assert_eq!(terminal.read(1, &facts), []);
        terminal.show(&facts);
        assert_eq!((terminal.is_open(), seen(&mut theirs)), (false, String::new()));

        theirs.write_all(b"\rpoff\r").unwrap();
        assert_eq!(terminal.read(2, &facts), [Action::Power(Goal::PowerOff)]);
        terminal.show(&facts);
        assert!(seen(&mut theirs).contains("guard"));
        terminal.show(&facts);
        assert_eq!(seen(&mut theirs), "", "the same screen is not drawn twice");
        terminal.show(&Facts { version: "2".into(), ..facts.clone() });
        assert!(seen(&mut theirs).contains("Vakt 2"));
        terminal.read(2 + IDLE_MS_MAX, &facts);
        assert!(!terminal.is_open());
    }

    #[test]
    fn a_virtual_terminal_shows_the_screen_from_the_start_and_always() {
        let facts = Facts { name: "guard".into(), ..Facts::default() };
        let (mut terminal, mut theirs) = line(true);
        terminal.show(&facts);
        assert!(seen(&mut theirs).contains("guard"));
        theirs.write_all(b"q").unwrap();
        terminal.read(IDLE_MS_MAX * 2, &facts);
        assert!(terminal.is_open());
        drop(theirs);
        terminal.read(3, &facts);
        assert!(terminal.is_gone());
    }
}

//! Which terminals there are, found out from sysfs: opening a port that is not there costs time, reading a file does not.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::sys;

/// Serial ports that are taken up; boxes have one or two.
const SERIAL_MAX: usize = 4;

/// Where the kernel tells of terminals.
const TTYS: &str = "/sys/class/tty";

/// A terminal that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name below /dev.
    pub name: String,
    /// It has a screen that is always shown; else it is a serial line.
    pub is_virtual: bool,
    /// init's plain lines go there too: it is /dev/console.
    pub is_console: bool,
}

/// The first virtual terminal and the serial ports that exist.
pub fn find() -> Vec<Port> {
    find_in(Path::new(TTYS))
}

fn find_in(ttys: &Path) -> Vec<Port> {
    let active = fs::read_to_string(ttys.join("console/active")).unwrap_or_default();
    // The last one is /dev/console (Documentation/ABI/testing/sysfs-tty).
    let console = active.split_whitespace().last().unwrap_or_default().to_owned();
    let mut ports = Vec::new();
    if ttys.join("tty1").exists() {
        let is_console = ["tty0", "tty1"].contains(&console.as_str());
        ports.push(Port { name: "tty1".into(), is_virtual: true, is_console });
    }
    let entries = fs::read_dir(ttys).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let serial = names.into_iter().filter(|name| is_there(ttys, name)).take(SERIAL_MAX);
    ports.extend(serial.map(|name| Port { is_console: name == console, is_virtual: false, name }));
    ports
}

/// The 8250 driver makes four ttyS whatever there is; an absent one is of type 0. Other drivers name what exists.
fn is_there(ttys: &Path, name: &str) -> bool {
    if name.starts_with("ttyS") {
        let kind = fs::read_to_string(ttys.join(name).join("type")).unwrap_or_default();
        return kind.trim().parse().is_ok_and(|kind: u32| kind != 0);
    }
    ["ttyAMA", "hvc", "ttyUSB"].iter().any(|driver| name.starts_with(driver))
}

/// Opens a terminal without waiting for a carrier, without becoming its session's, and in raw mode.
///
/// # Errors
/// When it is not there after all.
pub fn open(port: &Port) -> std::io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(Path::new("/dev").join(&port.name), flags, Mode::empty())?);
    sys::make_raw(std::os::fd::AsFd::as_fd(&file))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_do_not_exist_are_not_touched() {
        let ttys = tempfile::tempdir().unwrap();
        for (name, kind) in
            [("ttyS0", "4\n"), ("ttyS1", "0\n"), ("ttyS2", "0\n"), ("tty1", ""), ("tty0", ""), ("hvc0", "")]
        {
            fs::create_dir_all(ttys.path().join(name)).unwrap();
            fs::write(ttys.path().join(name).join("type"), kind).unwrap();
        }
        fs::create_dir_all(ttys.path().join("console")).unwrap();
        fs::write(ttys.path().join("console/active"), "tty0 ttyS0\n").unwrap();
        let found: Vec<(String, bool)> =
            find_in(ttys.path()).into_iter().map(|port| (port.name, port.is_console)).collect();
        assert_eq!(found, [("tty1".into(), false), ("hvc0".into(), false), ("ttyS0".into(), true)]);
        assert_eq!(find_in(&ttys.path().join("nothing")), []);
    }
}

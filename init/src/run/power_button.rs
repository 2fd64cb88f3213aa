//! The power button: ACPI's comes as an input device that sends KEY_POWER.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

/// Input devices that are looked at.
const DEVICES_MAX: usize = 16;

const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;

/// All input devices, any of which may be the button.
#[derive(Debug, Default)]
pub struct PowerButtons(Vec<File>);

impl PowerButtons {
    /// Opens every input device there is. None is fine: a container has none.
    pub fn open() -> PowerButtons {
        let Ok(entries) = fs::read_dir("/dev/input") else { return PowerButtons::default() };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let devices = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("event"))
            .filter_map(|entry| rustix::fs::open(entry.path(), flags, Mode::empty()).ok())
            .map(File::from);
        PowerButtons(devices.take(DEVICES_MAX).collect())
    }

    /// The descriptors to wait for.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|device| device.as_fd())
    }

    /// Whether the button was pressed since the last look.
    pub fn pressed(&mut self) -> bool {
        let mut events = [0; 24 * 64];
        let mut pressed = false;
        self.0.retain_mut(|device| match device.read(&mut events) {
            Ok(length) => {
                pressed |= events[..length].chunks_exact(24).any(is_press);
                length > 0
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        pressed
    }
}

/// `struct input_event` with 64-bit time: 16 bytes of time, type, code, value.
fn is_press(event: &[u8]) -> bool {
    let half = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    half(16) == EV_KEY && half(18) == KEY_POWER && event[20..24] == 1i32.to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_press_of_the_power_key_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            [&[0; 16][..], &kind.to_ne_bytes(), &code.to_ne_bytes(), &value.to_ne_bytes()].concat()
        };
        assert!(is_press(&event(EV_KEY, KEY_POWER, 1)));
        assert!(!is_press(&event(EV_KEY, KEY_POWER, 0)), "its release does not");
        assert!(!is_press(&event(EV_KEY, 30, 1)), "another key does not");
    }
}

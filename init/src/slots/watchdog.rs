//! The hardware watchdog: armed in stage 2, fed by the loop, disarmed by an orderly end.
//!
//! Linux Documentation/watchdog/watchdog-api.rst: any write feeds it, a `V` before the close disarms it.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;

use crate::sys;

/// The first watchdog.
const DEVICE: &str = "/dev/watchdog0";

/// How its last reset shows, without opening it (which would arm it).
const STATUS: &str = "/sys/class/watchdog/watchdog0/bootstatus";

/// A PID 1 that has not turned its loop for this long hangs: it turns each second, and the longest that it
/// does in one turn is writing a small file on a slow disk.
pub const TIMEOUT_S: u32 = 60;

/// What is said when it is not armed any more.
pub const RESETS_SAID: &str = "the watchdog reset this slot three times within an hour and is not armed; \
                               it is again by a restart after that hour";

/// `WDIOC_SETTIMEOUT`.
const SET_TIMEOUT: u64 = 0xC004_5706;

/// The watchdog, while it is armed.
#[derive(Debug)]
pub struct Watchdog(Option<File>);

/// The status bits of the last reset; `None` without a watchdog.
pub fn boot_status() -> Option<u32> {
    fs::read_to_string(STATUS).ok()?.trim().parse().ok()
}

impl Watchdog {
    /// None: a container, or a machine without one.
    pub fn none() -> Watchdog {
        Watchdog(None)
    }

    /// Arms it with [`TIMEOUT_S`]. One that takes no timeout keeps its own.
    ///
    /// # Errors
    /// When there is none.
    pub fn arm() -> std::io::Result<Watchdog> {
        let mut device = File::options().write(true).open(DEVICE)?;
        let mut timeout = TIMEOUT_S.to_ne_bytes();
        let _ = sys::ioctl_buffer(device.as_fd(), SET_TIMEOUT, &mut timeout);
        device.write_all(b"\0")?;
        Ok(Watchdog(Some(device)))
    }

    /// Gives it another [`TIMEOUT_S`].
    pub fn feed(&mut self) {
        if let Some(device) = &mut self.0 {
            // It cannot be told better than by what it then does.
            let _ = device.write_all(b"\0");
        }
    }

    /// Disarms it: the machine goes down in order.
    pub fn disarm(&mut self) {
        if let Some(mut device) = self.0.take() {
            let _ = device.write_all(b"V");
        }
    }
}

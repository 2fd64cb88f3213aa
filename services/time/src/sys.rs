//! The kernel's clock: clock_adjtime(2) behind safe functions.

use std::io;

use crate::packet::Timestamp;

/// How the kernel steers its clock, in the units that pages and metrics use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timex {
    /// What is left to be steered, in seconds.
    pub offset_s: f64,
    /// By how much the clock is made to run faster, as a ratio beside 1.
    pub frequency_ratio: f64,
    /// The kernel's bound of the error, in seconds; it grows until the next word from a server.
    pub max_error_s: f64,
    /// The error as it was told, in seconds.
    pub estimated_error_s: f64,
    /// The loop's time constant.
    pub constant: i64,
    /// Microseconds between two ticks.
    pub tick_us: i64,
    /// Seconds between TAI and UTC.
    pub tai_s: i32,
    /// The status bits (STA_*).
    pub status: i32,
    /// Whether the kernel takes the clock for right.
    pub synchronised: bool,
}

/// The wall clock now.
pub fn now() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp::of_unix(time.tv_sec, time.tv_nsec)
}

/// The wall clock in Unix seconds.
pub fn unix_s() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec
}

/// Milliseconds since the machine started, suspend included.
pub fn boot_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// How the clock is steered at present. Nothing is changed.
///
/// # Errors
/// As clock_adjtime(2).
pub fn look() -> io::Result<Timex> {
    let mut timex = zeroed();
    let state = adjust(&mut timex)?;
    // The kernel counts in nanoseconds when it was told so, else in microseconds.
    let unit = if timex.status & libc::STA_NANO != 0 { 1e-9 } else { 1e-6 };
    Ok(Timex {
        offset_s: timex.offset as f64 * unit,
        frequency_ratio: timex.freq as f64 / 65536.0 / 1e6,
        max_error_s: timex.maxerror as f64 / 1e6,
        estimated_error_s: timex.esterror as f64 / 1e6,
        constant: timex.constant,
        tick_us: timex.tick,
        tai_s: timex.tai,
        status: timex.status,
        synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
    })
}

/// Has the kernel steer its clock by `offset_s` (at most half a second) and take it for right within `error_s`;
/// `leap` is announced (1 adds, 2 removes a second at the end of the day).
///
/// # Errors
/// As clock_adjtime(2); `PermissionDenied` without CAP_SYS_TIME.
pub fn steer(offset_s: f64, error_s: f64, constant: i64, leap: u8) -> io::Result<()> {
    let mut timex = zeroed();
    timex.modes = libc::ADJ_OFFSET
        | libc::ADJ_STATUS
        | libc::ADJ_NANO
        | libc::ADJ_TIMECONST
        | libc::ADJ_MAXERROR
        | libc::ADJ_ESTERROR;
    timex.offset = (offset_s * 1e9) as _;
    timex.constant = constant as _;
    timex.maxerror = (error_s * 1e6) as _;
    timex.esterror = (offset_s.abs() * 1e6) as _;
    timex.status = libc::STA_PLL
        | match leap {
            1 => libc::STA_INS,
            2 => libc::STA_DEL,
            _ => 0,
        };
    adjust(&mut timex).map(|_| ())
}

/// Sets the clock by `offset_s` at once.
///
/// # Errors
/// As clock_adjtime(2); `PermissionDenied` without CAP_SYS_TIME.
pub fn step(offset_s: f64) -> io::Result<()> {
    let whole = offset_s.floor();
    let mut timex = zeroed();
    timex.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    timex.time.tv_sec = whole as _;
    timex.time.tv_usec = ((offset_s - whole) * 1e9) as _;
    adjust(&mut timex).map(|_| ())
}

fn zeroed() -> libc::timex {
    // SAFETY: timex is plain numbers and valid as zeroes.
    unsafe { std::mem::zeroed() }
}

fn adjust(timex: &mut libc::timex) -> io::Result<libc::c_int> {
    // SAFETY: the struct is the caller's own and outlives the call.
    let state = unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, timex) };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok(state) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_at_the_clock_needs_no_right_and_changes_nothing() {
        let (before, after) = (look().unwrap(), look().unwrap());
        assert_eq!(before.status, after.status);
        assert!((9_000..=11_000).contains(&before.tick_us));
    }
}

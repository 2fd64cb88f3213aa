//! clock_adjtime(2) behind safe functions.
#![expect(unsafe_code, reason = "clock_adjtime(2) has no safe wrapper")]

use std::io;

use super::Timex;

/// How the clock is steered at present. Nothing is changed, and no right is needed.
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
pub fn steer(offset_s: f64, error_s: f64, constant: u8, leap: u8) -> io::Result<()> {
    let mut timex = zeroed();
    timex.modes = libc::ADJ_OFFSET
        | libc::ADJ_STATUS
        | libc::ADJ_NANO
        | libc::ADJ_TIMECONST
        | libc::ADJ_MAXERROR
        | libc::ADJ_ESTERROR;
    timex.offset = (offset_s * 1e9) as _;
    timex.constant = constant.into();
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

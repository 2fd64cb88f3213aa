//! The machine's clock: what the kernel says of it, and what may be asked of who holds it.
//!
//! init holds it. The time service, which reads packets of strangers, asks init for a [`Wish`] over its socket
//! (`POST /v1/clock`), and init judges it by [`Wish::judged`]: small steering at any time, a step only to a time that can be.

mod sys;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use sys::{look, steer, step};

/// No box with this code runs earlier: 2026-11-01. It is moved with each release, and not taken from the build, which
/// has to be reproducible.
pub const EARLIEST_S: i64 = 1_793_491_200;

/// A time that is further than this from [`EARLIEST_S`] is wrong: 30 years.
pub const AHEAD_S_MAX: i64 = 30 * 365 * 86_400;

/// The kernel's loop takes offsets up to half a second (MAXPHASE in the kernel's ntp.c).
pub const STEER_S_MAX: f64 = 0.5;

/// The largest error that is told to the kernel, which calls a clock with more than 16 s unsynchronised.
const ERROR_S_MAX: f64 = 16.0;

/// Time constants that the kernel's loop takes (MAXTC).
const CONSTANT_MAX: u8 = 10;

/// Between two steps at least this passes: whoever has taken the time service over moves the clock no faster.
pub const STEP_EVERY_MIN: Duration = Duration::from_secs(10);

/// How the kernel steers its clock, in the units that pages and metrics use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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

/// What is asked of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Wish {
    /// Set it by this many seconds at once.
    Step {
        /// What is added to it.
        offset_s: f64,
    },
    /// Have the kernel steer it.
    Steer {
        /// What is added to it, little by little; at most [`STEER_S_MAX`].
        offset_s: f64,
        /// Within what it is right then.
        error_s: f64,
        /// The loop's time constant, 0 to 10.
        constant: u8,
        /// 1 adds, 2 removes a second at the end of the day.
        leap: u8,
    },
}

impl Wish {
    /// Whether it may be done when the clock stands at `now_s`.
    ///
    /// # Errors
    /// The reason why not, for the one who asks.
    pub fn judged(self, now_s: i64) -> Result<Wish, String> {
        match self {
            Wish::Step { offset_s } => {
                let then_s = now_s as f64 + offset_s;
                let bounds = EARLIEST_S as f64..(EARLIEST_S + AHEAD_S_MAX) as f64;
                if bounds.contains(&then_s) {
                    return Ok(self);
                }
                Err(format!("a step of {offset_s} s leads out of this release's time"))
            }
            Wish::Steer { offset_s, error_s, constant, leap } => {
                let fits = offset_s.abs() <= STEER_S_MAX
                    && (0.0..=ERROR_S_MAX).contains(&error_s)
                    && constant <= CONSTANT_MAX
                    && leap <= 2;
                if fits {
                    return Ok(self);
                }
                Err(format!(
                    "steering by {offset_s} s within {error_s} s, constant {constant}, leap {leap}: at most {STEER_S_MAX} s, \
                     {ERROR_S_MAX} s, {CONSTANT_MAX} and 2"
                ))
            }
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// As clock_adjtime(2); `PermissionDenied` without CAP_SYS_TIME.
    pub fn fulfil(self) -> std::io::Result<()> {
        match self {
            Wish::Step { offset_s } => step(offset_s),
            Wish::Steer { offset_s, error_s, constant, leap } => steer(offset_s, error_s, constant, leap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steering(offset_s: f64, error_s: f64, constant: u8, leap: u8) -> Wish {
        Wish::Steer { offset_s, error_s, constant, leap }
    }

    #[test]
    fn a_step_leads_neither_before_this_release_nor_a_lifetime_ahead() {
        let check = |now_s: i64, offset_s: f64, fits: bool| {
            assert_eq!(Wish::Step { offset_s }.judged(now_s).is_ok(), fits, "{now_s} {offset_s}");
        };
        check(0, EARLIEST_S as f64, true);
        check(0, EARLIEST_S as f64 - 1.0, false);
        check(EARLIEST_S + 5, -6.0, false);
        check(EARLIEST_S, AHEAD_S_MAX as f64 + 1.0, false);
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            check(EARLIEST_S + 5, wrong, false);
        }
    }

    #[test]
    fn steering_is_small_and_what_the_kernel_takes() {
        for (wish, fits) in [
            (steering(0.5, 0.1, 2, 0), true),
            (steering(-0.5, 0.0, 10, 2), true),
            (steering(0.6, 0.1, 2, 0), false),
            (steering(f64::NAN, 0.1, 2, 0), false),
            (steering(0.1, f64::NAN, 2, 0), false),
            (steering(0.1, -0.1, 2, 0), false),
            (steering(0.1, 17.0, 2, 0), false),
            (steering(0.1, 0.1, 11, 0), false),
            (steering(0.1, 0.1, 2, 3), false),
        ] {
            assert_eq!(wish.judged(EARLIEST_S + 9).is_ok(), fits, "{wish:?}");
        }
    }
}

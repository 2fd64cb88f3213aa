//! What is told about the clock: as JSON, as metrics that node_exporter's users know, as one line.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use vakt_wire::clock::Timex;

use crate::wall;

/// Without a word from the servers for this long the clock counts as right no more, whatever the kernel says.
const FRESH_MS_MAX: u64 = 3600 * 1000;

/// How the clock is; `GET /v1/time` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Standing {
    /// Whether the clock agrees with servers that agree with each other.
    pub synchronised: bool,
    /// `steered`, or `observed` where the clock is another's.
    pub clock: &'static str,
    /// What is to be added to the clock, in seconds.
    pub offset_s: Option<f64>,
    /// How wrong that may be, in seconds.
    pub error_s: Option<f64>,
    /// The best server's distance from a reference clock.
    pub stratum: Option<u8>,
    /// The best server.
    pub source: Option<String>,
    /// When servers agreed last, in RFC 3339.
    pub last_sync: Option<String>,
    /// How often the clock was set at once since the service began.
    pub steps: u64,
    /// Why it is not synchronised.
    pub reason: Option<String>,
    /// Each server.
    pub servers: Vec<Server>,
    /// On the boot clock.
    #[serde(skip)]
    pub agreed_ms: Option<u64>,
}

/// One server as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Server {
    /// As it was named.
    pub host: String,
    /// Where it was asked.
    pub address: Option<SocketAddr>,
    /// Whether its packets are authenticated.
    pub nts: bool,
    /// `config` or `dhcp`.
    pub from: &'static str,
    /// Whether it is one of those that agree.
    pub believed: bool,
    /// What it says is to be added to the clock, in seconds.
    pub offset_s: Option<f64>,
    /// The way there and back, in seconds.
    pub delay_s: Option<f64>,
    /// Its distance from a reference clock.
    pub stratum: Option<u8>,
    /// Why it did not answer.
    pub error: Option<String>,
}

/// The standing, for whoever asks.
#[derive(Debug, Default)]
pub struct Board(Mutex<Standing>);

impl Board {
    /// Puts a new standing up.
    pub fn put(&self, standing: Standing) {
        *self.lock() = standing;
    }

    /// The standing at present.
    pub fn get(&self) -> Standing {
        let mut standing = self.lock().clone();
        let fresh = |at_ms: u64| wall::boot_ms().saturating_sub(at_ms) <= FRESH_MS_MAX;
        if standing.synchronised && !standing.agreed_ms.is_some_and(fresh) {
            standing.synchronised = false;
            standing.reason = Some("no server has been heard for an hour".into());
        }
        standing
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // Whole standings are put: a panic elsewhere leaves none that is half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// One line for the pages.
    pub fn line(&self) -> String {
        let verb = if self.clock == "steered" { "steered" } else { "observed only" };
        match (&self.source, self.offset_s) {
            (Some(source), Some(offset_s)) if self.synchronised => {
                format!("{verb}, {:+.1} ms from {source}", offset_s * 1000.0)
            }
            _ => self.reason.clone().unwrap_or_else(|| "no server has answered yet".into()),
        }
    }
}

/// Prometheus text: the kernel's own figures under node_exporter's names, and what the servers say.
pub fn metrics(standing: &Standing, timex: Option<&Timex>) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: f64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    };
    if let Some(timex) = timex {
        gauge("node_timex_estimated_error_seconds", "Estimated error in seconds.", timex.estimated_error_s);
        gauge(
            "node_timex_frequency_adjustment_ratio",
            "Local clock frequency adjustment.",
            1.0 + timex.frequency_ratio,
        );
        gauge("node_timex_loop_time_constant", "Phase-locked loop time constant.", timex.constant as f64);
        gauge("node_timex_maxerror_seconds", "Maximum error in seconds.", timex.max_error_s);
        gauge(
            "node_timex_offset_seconds",
            "Time offset in between local system and reference clock.",
            timex.offset_s,
        );
        gauge("node_timex_status", "Value of the status array bits.", f64::from(timex.status));
        gauge(
            "node_timex_sync_status",
            "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
            f64::from(u8::from(timex.synchronised)),
        );
        gauge(
            "node_timex_tai_offset_seconds",
            "International Atomic Time (TAI) offset.",
            f64::from(timex.tai_s),
        );
        gauge("node_timex_tick_seconds", "Seconds between clock ticks.", timex.tick_us as f64 / 1e6);
    }
    gauge(
        "vakt_time_synchronised",
        "Whether servers agree with the clock and with each other.",
        f64::from(u8::from(standing.synchronised)),
    );
    gauge("vakt_time_steps", "How often the clock was set at once.", standing.steps as f64);
    if let (Some(offset_s), Some(error_s)) = (standing.offset_s, standing.error_s) {
        gauge("vakt_time_offset_seconds", "What servers say is to be added to the clock.", offset_s);
        gauge("vakt_time_error_seconds", "How wrong that may be.", error_s);
    }
    text
}

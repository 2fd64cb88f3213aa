//! time: how the clock is.

use serde::Deserialize;
use vakt_wire::http::{CallError, Client};

/// A caller of the time service.
#[derive(Clone, Debug)]
pub struct Time(pub(super) Client);

/// How the clock is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Whether it agrees with servers that agree with each other.
    pub synchronised: bool,
    /// `steered`, or `observed` where the clock is another's.
    pub clock: String,
    /// What is to be added to it, in seconds.
    pub offset_s: Option<f64>,
    /// How wrong that may be, in seconds.
    pub error_s: Option<f64>,
    /// The best server.
    pub source: Option<String>,
    /// When servers agreed last, in RFC 3339.
    pub last_sync: Option<String>,
    /// Why it is not synchronised.
    pub reason: Option<String>,
    /// Each server.
    pub servers: Vec<Server>,
}

/// A server that is asked for the time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    /// As it was named.
    pub host: String,
    /// Whether its packets are authenticated.
    pub nts: bool,
    /// `config` or `dhcp`.
    pub from: String,
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

impl Time {
    /// How the clock is.
    ///
    /// # Errors
    /// When time does not answer.
    pub async fn standing(&self) -> Result<Standing, CallError> {
        self.0.get("/v1/time").await
    }
}

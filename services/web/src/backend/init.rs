//! init: services and the machine.

use serde::Deserialize;
use vakt_wire::http::{CallError, Client};

use crate::clock;

/// A caller of init.
#[derive(Clone, Debug)]
pub struct Init(pub(super) Client);

/// A service, as init sees it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Name.
    pub name: String,
    /// One line of what it is.
    pub description: String,
    /// `waiting`, `starting`, `ready`, `stopping`, `killing`, `backoff`, `stopped`.
    pub state: String,
    /// Does the box count as ready without it?
    pub required: bool,
    /// Restarts since boot.
    pub restarts: u32,
    /// Seconds in this state, or until the next try.
    pub seconds: i64,
    /// Its own last word.
    pub status: String,
    /// How its last life ended.
    pub last_exit: Option<String>,
    /// Bytes of memory, where they are counted.
    pub memory_bytes: Option<f64>,
}

/// The machine, as init sees it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Vakt's version.
    pub version: String,
    /// Host name.
    pub hostname: String,
    /// `a` or `b`, empty in a container.
    pub slot: String,
    /// Why this slot runs: blessed, or on trial.
    pub slot_why: String,
    /// The last slot that was left.
    pub last_rollback: Option<Rollback>,
    /// The verified root's hash.
    pub root_hash: String,
    /// Kernel release.
    pub kernel: String,
    /// Seconds from power-on to ready.
    pub ready_after_s: Option<f64>,
    /// Why an offered config was refused.
    pub config_refused: Option<String>,
    /// What went wrong on the way up and was lived with.
    pub notes: Vec<String>,
}

/// A slot that was left for the other one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rollback {
    /// `a` or `b`.
    pub slot: String,
    /// Its version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// When that was found, in seconds since the epoch.
    pub at: i64,
}

impl Rollback {
    /// The time, for people.
    pub fn when(&self) -> String {
        clock::date_time(self.at)
    }
}

/// The slots, as init sees them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Slots {
    /// Both.
    pub slots: Vec<Slot>,
    /// Why the last update was left again.
    pub last_rollback: Option<Rollback>,
}

/// A slot.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// `a` or `b`.
    pub slot: String,
    /// What is in it.
    pub version: Option<String>,
    /// `blessed`, `trying`, `bad`, `empty`.
    pub state: String,
    /// Boots that it still gets to prove itself.
    pub tries_left: Option<u32>,
}

impl Init {
    /// Every service, by name.
    ///
    /// # Errors
    /// When init does not answer.
    pub async fn services(&self) -> Result<Vec<Service>, CallError> {
        self.0.get("/v1/services").await
    }

    /// The slots.
    ///
    /// # Errors
    /// When init does not answer, or has none.
    pub async fn slots(&self) -> Result<Slots, CallError> {
        self.0.get("/v1/slots").await
    }

    /// The machine.
    ///
    /// # Errors
    /// When init does not answer.
    pub async fn machine(&self) -> Result<Machine, CallError> {
        self.0.get("/v1/machine").await
    }
}

//! init: services and the machine.

use serde::Deserialize;
use vakt_wire::http::{CallError, Client};

use super::slots::Rollback;

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
    /// Bytes that it keeps, where there are quotas.
    pub state_bytes: Option<f64>,
    /// Bytes that it may keep.
    pub state_bytes_max: Option<f64>,
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

impl Init {
    /// Every service, by name.
    ///
    /// # Errors
    /// When init does not answer.
    pub async fn services(&self) -> Result<Vec<Service>, CallError> {
        self.0.get("/v1/services").await
    }

    /// The machine.
    ///
    /// # Errors
    /// When init does not answer.
    pub async fn machine(&self) -> Result<Machine, CallError> {
        self.0.get("/v1/machine").await
    }
}

//! init: services and the machine.

use hyper::Method;
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
    /// The machine id, which a reset of everything changes.
    pub machine_id: String,
    /// The last reset.
    pub last_reset: Option<Reset>,
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

/// A reset, as init tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reset {
    /// `settings` or `everything`.
    pub kind: String,
    /// Who asked.
    pub by: String,
    /// When it was done, in Unix seconds.
    pub done_s: Option<i64>,
}

impl Init {
    /// Asks for a reset; the box restarts then. `name` is its name as the person typed it.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the reason.
    pub async fn reset(&self, kind: &str, by: &str, name: &str) -> Result<(), CallError> {
        let wish = serde_json::json!({ "kind": kind, "by": by, "name": name });
        let _: serde::de::IgnoredAny = self.0.send(Method::POST, "/v1/reset", &wish).await?;
        Ok(())
    }

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

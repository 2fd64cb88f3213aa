//! init: the two slots, beside [`super::init`].

use serde::Deserialize;
use vakt_wire::http::CallError;

use super::init::Init;
use crate::clock;

/// The slots, as init sees them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Slots {
    /// Both.
    pub slots: Vec<Slot>,
    /// Why the last update was left again.
    pub last_rollback: Option<Rollback>,
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
    /// The slots.
    ///
    /// # Errors
    /// When init does not answer, or has none.
    pub async fn slots(&self) -> Result<Slots, CallError> {
        self.0.get("/v1/slots").await
    }
}

//! init: the two slots, beside [`super::init`].

use serde::Deserialize;
use vakt_wire::http::CallError;

use super::init::Init;

/// The slots, as init sees them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Slots {
    /// Both.
    pub slots: Vec<Slot>,
    /// Why the last update was left again.
    pub last_rollback: Option<serde_json::Value>,
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

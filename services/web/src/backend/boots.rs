//! init: how the last boots ended, beside [`super::init`].

use serde::Deserialize;
use vakt_wire::http::CallError;

use super::init::Init;

/// A boot that is over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Boot {
    /// When its end was found, in seconds since the epoch.
    pub at: i64,
    /// `a` or `b`; unknown of a kernel that died before it had a root.
    pub slot: Option<String>,
    /// What ran.
    pub version: Option<String>,
    /// `orderly`, `cut`, `unhealthy`, `panic` or `watchdog`.
    pub end: String,
    /// Why, in one line.
    pub reason: Option<String>,
    /// The kernel's last messages.
    pub kernel_log: Option<String>,
}

impl Init {
    /// The last boots, newest first; at most 16.
    ///
    /// # Errors
    /// When init does not answer.
    pub async fn boots(&self) -> Result<Vec<Boot>, CallError> {
        self.0.get("/v1/boots").await
    }
}

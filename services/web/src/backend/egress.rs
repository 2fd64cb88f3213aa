//! egress: the places that samples are sent to.

use serde::Deserialize;
use vakt_wire::http::{CallError, Client};

/// A caller of egress.
#[derive(Clone, Debug)]
pub struct Egress(pub(super) Client);

/// A place, and how it takes what is sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Forward {
    /// As the config calls it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Samples that it has acknowledged since the service began.
    pub sent_samples: f64,
    /// Samples that it refused for good.
    pub refused_samples: f64,
    /// Samples that were dropped before they were sent.
    pub lost_samples: f64,
    /// Why it does not take samples at present.
    pub error: Option<String>,
    /// Samples that wait for it.
    pub pending_samples: f64,
}

impl Egress {
    /// Every place, in the config's order.
    ///
    /// # Errors
    /// When egress does not answer.
    pub async fn forwards(&self) -> Result<Vec<Forward>, CallError> {
        self.0.get("/v1/forwards").await
    }
}

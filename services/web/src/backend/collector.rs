//! collector: how its sources fare.

use serde::Deserialize;
use vakt_wire::http::{CallError, Client};

/// A caller of the collector.
#[derive(Clone, Debug)]
pub struct Collector(pub(super) Client);

/// A source of metrics.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Source {
    /// `local/cpu`, `ebpf/runqlat`, `peer/db1`.
    pub name: String,
    /// When it last gave something, seconds since the epoch.
    pub last_success: Option<f64>,
    /// Why its last round gave nothing.
    pub error: Option<String>,
}

impl Source {
    /// Is it missing because this kernel or config has none of it? That is told and no problem.
    pub fn is_unavailable(&self) -> bool {
        self.error.as_deref().is_some_and(|error| error.starts_with("unavailable"))
    }
}

#[derive(Deserialize)]
struct Answer {
    sources: Vec<Source>,
}

impl Collector {
    /// Every source, by name.
    ///
    /// # Errors
    /// When the collector does not answer.
    pub async fn sources(&self) -> Result<Vec<Source>, CallError> {
        let answer: Answer = self.0.get("/v1/sources").await?;
        Ok(answer.sources)
    }
}

//! update: what is available, what is under way, how the last install ended.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use vakt_wire::http::{Body, CallError, Client, read};

/// How long an upload may take to its end: 128 MiB at 400 kbit/s.
const UPLOAD_WITHIN: Duration = Duration::from_secs(45 * 60);

/// Its answers are a line or a small document.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A caller of the update service.
#[derive(Clone, Debug)]
pub struct Update(pub(super) Client);

/// Everything that it tells.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct State {
    /// `idle`, `checking`, `comparing`, `writing`, `reading-back`, `staging`.
    pub phase: String,
    /// The configured repository.
    pub repository: Option<String>,
    /// Bytes of the slot that does not run; absent where there is none.
    pub slot_bytes: Option<f64>,
    /// The repository's newest version.
    pub available: Option<Available>,
    /// The last look at the repository.
    pub checked: Option<Checked>,
    /// The last install, or the one under way.
    pub last: Option<Last>,
}

/// A version that could be installed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Available {
    /// Its version.
    pub version: String,
    /// Is it newer than what runs?
    pub newer: Option<bool>,
    /// Its size.
    pub bytes: f64,
}

/// A look at the repository.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Checked {
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Why it failed.
    pub refused: Option<Reason>,
}

/// Why something did not happen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reason {
    /// For people.
    pub reason: String,
}

/// An install.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Last {
    /// When it began or ended, milliseconds since the epoch.
    pub at_ms: i64,
    /// `repository` or `archive`.
    pub source: String,
    /// What was to be installed.
    pub version: Option<String>,
    /// `running`, `staged`, `booted`, `refused`, `interrupted`.
    pub outcome: String,
    /// Why it was refused.
    pub refused: Option<Reason>,
    /// How far it got.
    pub progress: Progress,
}

/// Bytes of an install.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// In all.
    pub bytes_total: f64,
    /// Found in the slot already.
    pub bytes_kept: f64,
    /// Written.
    pub bytes_written: f64,
    /// Read back and found good.
    pub bytes_verified: f64,
}

impl Update {
    /// What it tells.
    ///
    /// # Errors
    /// When update does not answer.
    pub async fn state(&self) -> Result<State, CallError> {
        self.0.get("/v1/update").await
    }

    /// Has it look at the repository.
    ///
    /// # Errors
    /// When update does not answer, or is at work.
    pub async fn check(&self) -> Result<(), CallError> {
        self.0.send::<Value>(Method::POST, "/v1/update/check", &json!({})).await.map(drop)
    }

    /// Has it install the repository's newest version.
    ///
    /// # Errors
    /// As [`Update::check`].
    pub async fn install(&self) -> Result<(), CallError> {
        self.0.send::<Value>(Method::POST, "/v1/update/install", &json!({})).await.map(drop)
    }

    /// Asks it for a program; the JSON of its answer.
    ///
    /// # Errors
    /// [`CallError::Refused`] with its reason.
    pub async fn raw(&self, method: Method, path: &str) -> Result<Value, CallError> {
        if method == Method::GET {
            self.0.get(path).await
        } else {
            self.0.send(method, path, &json!({})).await
        }
    }

    /// Gives it an archive of a program, and waits for its decision.
    ///
    /// # Errors
    /// [`CallError::Refused`] with its reason.
    pub async fn take(&self, archive: Body) -> Result<Value, CallError> {
        let answer = self.open_archive(archive).await?;
        let status = answer.status();
        let unreadable = |reason: String| CallError::Unreadable { socket: "update".into(), reason };
        let bytes =
            read(answer.into_body(), ANSWER_BYTES_MAX).await.map_err(|e| unreadable(e.to_string()))?;
        if !status.is_success() {
            let body = String::from_utf8_lossy(&bytes).into_owned();
            return Err(CallError::Refused { socket: "update".into(), status, body });
        }
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
    }

    /// Gives it an archive. How that ended is in [`Update::state`] then.
    ///
    /// # Errors
    /// When update does not answer.
    pub async fn upload(&self, archive: Body) -> Result<(), CallError> {
        self.open_archive(archive).await.map(drop)
    }

    async fn open_archive(&self, archive: Body) -> Result<hyper::Response<hyper::body::Incoming>, CallError> {
        let request = hyper::Request::put("/v1/update/archive").body(archive);
        let request = request.map_err(|error| CallError::Unreadable {
            socket: "update".into(),
            reason: format!("bad request: {error}"),
        })?;
        self.0.clone().within(UPLOAD_WITHIN).open(request).await
    }
}

//! init: services and the machine.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use serde::Deserialize;
use vakt_wire::http::{Body, CallError, Client, Response, empty, read};

use super::slots::Rollback;
use crate::random;

/// A few sentences.
const ANSWER_BYTES_MAX: usize = 64 << 10;

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
    /// Public SSH keys for peers, by purpose.
    pub ssh_public_keys: std::collections::BTreeMap<String, String>,
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

/// The catalog is read and encrypted, or checked and written, document by document.
const BACKUP_WITHIN: Duration = Duration::from_secs(10 * 60);

impl Init {
    /// A backup as it is made, encrypted with the passphrase.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the reason.
    pub async fn backup(&self, passphrase: &str, by: &str) -> Result<Response, CallError> {
        let answer = self.hand_over("/v1/backup", passphrase, by, empty(), 0).await?;
        Ok(Response::new(answer.into_body().map_err(std::io::Error::other).boxed()))
    }

    /// Restores a backup of `length` bytes; what was done is the answer.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the reason; nothing was changed then.
    pub async fn restore(
        &self,
        passphrase: &str,
        by: &str,
        file: Body,
        length: u64,
    ) -> Result<serde_json::Value, CallError> {
        let answer = self.hand_over("/v1/restore", passphrase, by, file, length).await?;
        let unreadable = |reason: String| CallError::Unreadable { socket: "init".into(), reason };
        let bytes = read(answer.into_body(), ANSWER_BYTES_MAX)
            .await
            .map_err(|error| unreadable(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
    }

    async fn hand_over(
        &self,
        path: &str,
        passphrase: &str,
        by: &str,
        body: Body,
        length: u64,
    ) -> Result<hyper::Response<hyper::body::Incoming>, CallError> {
        let request = hyper::Request::post(path)
            .header("x-vakt-passphrase", random::hex(passphrase.as_bytes()))
            .header("x-vakt-by", random::hex(by.as_bytes()))
            .header("content-length", length)
            .body(body);
        let socket = || "init".to_owned();
        let unreadable = |reason: String| CallError::Unreadable { socket: socket(), reason };
        let request = request.map_err(|error| unreadable(format!("bad request: {error}")))?;
        let answer = self.0.clone().within(BACKUP_WITHIN).open(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said = read(answer.into_body(), ANSWER_BYTES_MAX)
            .await
            .map_err(|error| unreadable(error.to_string()))?;
        Err(CallError::Refused {
            socket: socket(),
            status,
            body: String::from_utf8_lossy(&said).into_owned(),
        })
    }

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

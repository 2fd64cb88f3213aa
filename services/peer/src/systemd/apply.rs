//! The verbs: ask systemd, and wait until the job is over.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use zbus::OwnedObjectPath;

use super::{BusError, Systemd, UnitName, Verb};

/// What a new job does to a waiting one: takes its place, as `systemctl` itself asks.
const MODE: &str = "replace";

/// What systemd answers when polkit said no, or would have to ask a person.
const DENIED: [&str; 2] = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];

/// How systemd ended the job (JobRemoved in org.freedesktop.systemd1(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// `done`, `canceled`, `timeout`, `failed`, `dependency` or `skipped`; `done` for a verb without
    /// a job (reset-failed).
    pub result: String,
}

impl Applied {
    /// Whether systemd did what was asked. That the unit stays up is another question.
    pub fn done(&self) -> bool {
        self.result == "done"
    }
}

/// Why a verb had no result.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// polkit on the peer says no. Nothing was done.
    #[error("peer {peer}: {verb} {unit} is refused by the peer's polkit: {reason}")]
    Refused {
        /// The peer's name.
        peer: String,
        /// The verb.
        verb: Verb,
        /// The unit.
        unit: UnitName,
        /// The peer's words.
        reason: String,
    },
    /// systemd answered with another error, such as no such unit. Nothing was done.
    #[error("peer {peer}: {verb} {unit}: {reason}")]
    Answer {
        /// The peer's name.
        peer: String,
        /// The verb.
        verb: Verb,
        /// The unit.
        unit: UnitName,
        /// systemd's words.
        reason: String,
    },
    /// The job was not over in time; it goes on at the peer.
    #[error("peer {peer}: {verb} {unit} was not over within {within:?}; the job goes on")]
    Late {
        /// The peer's name.
        peer: String,
        /// The verb.
        verb: Verb,
        /// The unit.
        unit: UnitName,
        /// The deadline that passed.
        within: Duration,
    },
    /// The connection was lost: whether the verb took effect is not known.
    #[error("whether {verb} {unit} took effect is not known: {source}")]
    Unknown {
        /// The verb.
        verb: Verb,
        /// The unit.
        unit: UnitName,
        /// What happened to the connection.
        source: BusError,
    },
}

impl Systemd {
    /// Does `verb` to `unit` and waits for the end of the job, at most `within`.
    ///
    /// # Errors
    /// Every kind of [`VerbError`]. A job that systemd ended badly is no error here: see
    /// [`Applied::done`].
    pub async fn apply(&self, verb: Verb, unit: &UnitName, within: Duration) -> Result<Applied, VerbError> {
        let late = || VerbError::Late { peer: self.peer.to_string(), verb, unit: unit.clone(), within };
        timeout(within, self.apply_unbounded(verb, unit)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn apply_unbounded(&self, verb: Verb, unit: &UnitName) -> Result<Applied, VerbError> {
        let unknown = |source| VerbError::Unknown { verb, unit: unit.clone(), source };
        let _place = self.place().await.map_err(unknown)?;
        // Listened to before the call: a quick job may be over before the call is answered.
        let mut removed = self.manager.receive_job_removed().await.map_err(|e| unknown(self.closed(e)))?;
        let name = unit.as_str();
        let job = match verb {
            Verb::Restart => self.manager.restart_unit(name, MODE).await,
            Verb::Start => self.manager.start_unit(name, MODE).await,
            Verb::Stop => self.manager.stop_unit(name, MODE).await,
            Verb::Reload => self.manager.reload_unit(name, MODE).await,
            Verb::ResetFailed => {
                self.manager.reset_failed_unit(name).await.map_err(|e| self.refused(verb, unit, e))?;
                return Ok(Applied { result: "done".into() });
            }
        };
        let job = job.map_err(|error| self.refused(verb, unit, error))?;
        let result = ended(&mut removed, &job).await;
        result.map(|result| Applied { result }).ok_or_else(|| unknown(self.closed("the bus went away")))
    }

    fn refused(&self, verb: Verb, unit: &UnitName, error: zbus::Error) -> VerbError {
        let (peer, unit) = (self.peer.to_string(), unit.clone());
        match super::answered(error) {
            Ok(answer) if DENIED.contains(&answer.name.as_str()) => {
                VerbError::Refused { peer, verb, unit, reason: answer.text }
            }
            Ok(answer) => VerbError::Answer { peer, verb, unit, reason: answer.text },
            Err(lost) => VerbError::Unknown { verb, unit, source: self.closed(lost) },
        }
    }
}

/// Waits for the end of `job`; `None` when the bus goes away first.
async fn ended(removed: &mut super::proxy::JobRemovedStream, job: &OwnedObjectPath) -> Option<String> {
    loop {
        let signal = std::future::poll_fn(|cx| Pin::new(&mut *removed).poll_next(cx)).await?;
        match signal.args() {
            Ok(args) if args.job == *job => return Some(args.result),
            // Another job, or a signal that cannot be read, which is not ours to judge.
            _ => {}
        }
    }
}

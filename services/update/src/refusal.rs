//! Why an update was not installed.

use hyper::StatusCode;
use jiff::Timestamp;
use vakt_wire::http::CallError;

use crate::version::Version;

/// One reason, with what it is about and what would help. The running slot is the same after every one.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Too few good signatures, by keys that this box trusts.
    #[error(
        "{role} metadata has {valid} valid signatures of the {threshold} that it needs; the update is not by whom this box trusts"
    )]
    Signature {
        /// The role.
        role: String,
        /// Good signatures found.
        valid: u64,
        /// Good signatures needed.
        threshold: u64,
    },
    /// Metadata past its time.
    #[error(
        "{role} metadata has expired by this box' clock, which says {clock}; sign the repository anew, or set the clock"
    )]
    Expired {
        /// The role.
        role: String,
        /// The system clock.
        clock: Timestamp,
    },
    /// The clock is behind what was seen already, or behind the making of the update.
    #[error("the clock says {clock}, which is before {seen}, {what}; set the clock")]
    ClockBehind {
        /// The system clock.
        clock: Timestamp,
        /// What it should be past.
        seen: Timestamp,
        /// What that moment was.
        what: &'static str,
    },
    /// Metadata older than what this box has seen: a replay.
    #[error("rollback: {reason}; this box has seen newer metadata and takes no older one")]
    Rollback {
        /// Which document, which versions.
        reason: String,
    },
    /// A version below the one that runs.
    #[error("version {offered} is older than {running}, which runs")]
    OlderVersion {
        /// The newest of the repository.
        offered: Version,
        /// The running one.
        running: Version,
    },
    /// The version that runs.
    #[error("version {running} runs already")]
    SameVersion {
        /// The running one.
        running: Version,
    },
    /// Nothing for this kind of machine.
    #[error("the update is for {offered}, this machine is {ours}")]
    WrongMachine {
        /// What it is for.
        offered: String,
        /// What this is.
        ours: &'static str,
    },
    /// A repository without any update.
    #[error("the repository offers no update")]
    Empty,
    /// More than the slot holds.
    #[error("the update needs {needed} bytes, the slot has {slot}")]
    NoRoom {
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        slot: u64,
    },
    /// Fewer bytes than were signed.
    #[error("{name} is truncated: {found} bytes of {expected}")]
    Truncated {
        /// The file.
        name: String,
        /// Bytes found.
        found: u64,
        /// Bytes signed.
        expected: u64,
    },
    /// More bytes than were signed.
    #[error("{name} is oversized: more than the {expected} bytes that were signed")]
    Oversized {
        /// The file.
        name: String,
        /// Bytes signed, or the bound.
        expected: u64,
    },
    /// Other bytes than were signed.
    #[error("{name} is not what was signed: {detail}")]
    Mismatch {
        /// The file.
        name: String,
        /// Where, or how.
        detail: String,
    },
    /// A document that is none.
    #[error("{name} cannot be used: {reason}")]
    Malformed {
        /// The document.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The sender was too slow, or went away.
    #[error("{name}: {reason}")]
    Transfer {
        /// The file or URL.
        name: String,
        /// What happened.
        reason: String,
    },
    /// Nothing to work with on this box.
    #[error("{0}")]
    NotSetUp(String),
    /// init does not do its part.
    #[error("init: {0}")]
    Init(String),
    /// The slot or the service's directory.
    #[error("{object}: {source}")]
    Disk {
        /// What was read or written.
        object: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Refusal {
    /// One stable word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::Signature { .. } => "signature",
            Refusal::Expired { .. } => "expired",
            Refusal::ClockBehind { .. } => "clock",
            Refusal::Rollback { .. } => "rollback",
            Refusal::OlderVersion { .. } => "older-version",
            Refusal::SameVersion { .. } => "same-version",
            Refusal::WrongMachine { .. } => "wrong-machine",
            Refusal::Empty => "empty",
            Refusal::NoRoom { .. } => "no-room",
            Refusal::Truncated { .. } => "truncated",
            Refusal::Oversized { .. } => "oversized",
            Refusal::Mismatch { .. } => "mismatch",
            Refusal::Malformed { .. } => "malformed",
            Refusal::Transfer { .. } => "transfer",
            Refusal::NotSetUp(_) => "not-set-up",
            Refusal::Init(_) => "init",
            Refusal::Disk { .. } => "disk",
        }
    }

    /// The HTTP status of an upload that ends so.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NotSetUp(_) | Refusal::Init(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Disk { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// For `map_err` on an operation of `object`.
    pub fn disk(object: impl ToString) -> impl FnOnce(std::io::Error) -> Refusal {
        let object = object.to_string();
        move |source| Refusal::Disk { object, source }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Refusal {
        // init's refusals are written for people.
        let said = match &error {
            CallError::Refused { body, .. } => serde_json::from_str::<serde_json::Value>(body).ok(),
            _ => None,
        };
        let said = said.and_then(|body| body.get("error")?.as_str().map(str::to_owned));
        Refusal::Init(said.unwrap_or_else(|| error.to_string()))
    }
}

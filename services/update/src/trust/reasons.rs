//! What `tough` says, as what this box says.

use std::error::Error as _;

use jiff::Timestamp;
use tough::error::Error;
use tough::schema::Error as SchemaError;

use crate::refusal::Refusal;

/// The refusal that `error` stands for, at `clock`.
pub fn refusal(error: Error, clock: Timestamp) -> Refusal {
    match error {
        Error::ExpiredMetadata { role, .. } => Refusal::Expired { role: role.to_string(), clock },
        Error::SystemTimeSteppedBackward { sys_time, latest_known_time } => Refusal::ClockBehind {
            clock: sys_time,
            seen: latest_known_time,
            what: "when it last was looked at",
        },
        Error::VerifyMetadata { role, source, .. } => unverified(&role.to_string(), source),
        Error::VerifyTrustedMetadata { source, .. } => {
            Refusal::NotSetUp(format!("the image's own root.json cannot be trusted: {source}"))
        }
        Error::ParseTrustedMetadata { source, .. } => {
            Refusal::NotSetUp(format!("the image's own root.json cannot be read: {source}"))
        }
        Error::OlderMetadata { .. }
        | Error::OlderSnapshotInTimestamp { .. }
        | Error::SnapshotRoleRollback { .. }
        | Error::SnapshotRoleMissing { .. } => Refusal::Rollback { reason: said(&error) },
        Error::VersionMismatch { role, fetched, expected, .. } => Refusal::Mismatch {
            name: format!("{role} metadata"),
            detail: format!("version {fetched}, where version {expected} was signed for"),
        },
        Error::ParseMetadata { role, source, .. } => {
            Refusal::Malformed { name: format!("{role} metadata"), reason: source.to_string() }
        }
        Error::Transport { url, source, .. } => fetched(file_of(&url), &source),
        Error::DatastoreInit { source, .. }
        | Error::DatastoreCreate { source, .. }
        | Error::DatastoreOpen { source, .. }
        | Error::DatastoreRemove { source, .. } => {
            Refusal::Disk { object: "what was seen of the repository".into(), source }
        }
        other => Refusal::Malformed { name: "metadata".into(), reason: said(&other) },
    }
}

fn unverified(role: &str, error: SchemaError) -> Refusal {
    match error {
        SchemaError::SignatureThreshold { threshold, valid, .. } => {
            Refusal::Signature { role: role.to_owned(), valid, threshold }
        }
        other => Refusal::Malformed { name: format!("{role} metadata"), reason: other.to_string() },
    }
}

/// The cause of an error of the transport is what our own transport met, or what `tough` found in the stream.
fn fetched(name: String, error: &tough::TransportError) -> Refusal {
    if let Some(ours) = error.source().and_then(|source| source.downcast_ref::<Refusal>()) {
        return match ours {
            Refusal::Oversized { expected, .. } => Refusal::Oversized { name, expected: *expected },
            Refusal::Transfer { name, reason } => {
                Refusal::Transfer { name: name.clone(), reason: reason.clone() }
            }
            other => Refusal::Transfer { name, reason: other.to_string() },
        };
    }
    let cause = error.source().and_then(|source| source.downcast_ref::<Error>());
    match cause {
        Some(Error::HashMismatch { calculated, expected, .. }) => Refusal::Mismatch {
            name,
            detail: format!("its SHA-256 is {calculated}, {expected} was signed for"),
        },
        Some(Error::MaxSizeExceeded { max_size, .. }) => Refusal::Oversized { name, expected: *max_size },
        _ => {
            let reason = error.source().map_or_else(|| error.kind().to_string(), ToString::to_string);
            Refusal::Transfer { name, reason }
        }
    }
}

fn file_of(url: &url::Url) -> String {
    url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned()
}

/// tough's text, begun in lower case as ours are.
fn said(error: &Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

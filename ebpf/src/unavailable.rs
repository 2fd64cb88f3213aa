//! Why something cannot be measured.

/// Why something cannot be measured here. The text is what a person is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action}: {reason}")]
pub struct Unavailable {
    /// What was tried.
    action: String,
    /// What the kernel or the loader said, down to the first cause.
    reason: String,
}

/// Characters of a reason that are kept: a verifier's log has thousands of lines, and its end says why.
const REASON_CHARS_MAX: usize = 300;

impl Unavailable {
    pub(crate) fn new(action: impl Into<String>, error: &dyn std::error::Error) -> Unavailable {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            let text = deeper.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = deeper.source();
        }
        let kept = reason.trim().lines().last().unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        Unavailable { action: action.into(), reason: kept }
    }

    pub(crate) fn said(action: impl Into<String>, reason: &str) -> Unavailable {
        Unavailable { action: action.into(), reason: reason.into() }
    }

    /// Action and reason, for a message to another process.
    pub(crate) fn parts(&self) -> (&str, &str) {
        (&self.action, &self.reason)
    }
}

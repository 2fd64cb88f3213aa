//! One call: look once more, record that the verb is sent, send it.

use std::sync::Arc;

use vakt_peer::systemd::{Systemd, VerbError};

use crate::clock::Clock;
use crate::engine::{Answer, Moment, snapshot};
use crate::evidence::{Draft, Journal};
use crate::policy::Policy;

/// Everything that a call needs; it runs on its own, beside its watcher.
pub(super) struct Call {
    pub slot: usize,
    pub systemd: Systemd,
    pub policy: Policy,
    pub invocation: String,
    pub journal: Arc<Journal>,
    pub clock: Clock,
    /// The `called` record, without its detail.
    pub draft: Draft,
}

/// How it went.
pub(super) struct Called {
    pub slot: usize,
    /// When the verb was sent; `None` when it was not.
    pub at: Option<Moment>,
    pub answer: Answer,
    /// Nothing was sent because it could not be recorded.
    pub unrecorded: bool,
}

impl Call {
    pub async fn run(self) -> Called {
        let slot = self.slot;
        let not_called = |answer, unrecorded| Called { slot, at: None, answer, unrecorded };
        let state = match self.systemd.state(&self.policy.unit).await {
            Ok(state) => state,
            Err(error) => return not_called(Answer::NotCalled(error.to_string()), false),
        };
        if !self.policy.state.holds(&state) || state.invocation != self.invocation {
            let reason = format!("the unit is {} by now, invocation {}", state.active, state.invocation);
            return not_called(Answer::NotCalled(reason), false);
        }
        let mut detail = snapshot(&state);
        detail.insert("verb".into(), self.policy.action.verb.as_str().into());
        let draft = Draft { at_ms: self.clock.wall_ms(), detail, ..self.draft };
        if let Err(error) = self.journal.record(draft).await {
            tracing::error!(unit = %self.policy.unit, %error, "nothing is done without evidence");
            return not_called(Answer::NotCalled(error.to_string()), true);
        }
        let at = Some(self.clock.now());
        let action = &self.policy.action;
        let answered = self.systemd.apply(action.verb, &self.policy.unit, action.timeout.duration()).await;
        let answer = match answered {
            Ok(applied) if applied.done() => Answer::Done,
            Ok(applied) => Answer::Failed(format!("systemd's job ended with: {}", applied.result)),
            Err(error @ VerbError::Refused { .. }) => Answer::Refused(error.to_string()),
            Err(error @ VerbError::Answer { .. }) => Answer::Failed(error.to_string()),
            Err(error @ VerbError::Late { .. }) => Answer::Late(error.to_string()),
            Err(error @ VerbError::Unknown { .. }) => Answer::Unknown(error.to_string()),
        };
        Called { slot, at, answer, unrecorded: false }
    }
}

//! One policy on one machine, as a pure state machine: what was seen and `now` in, what to do out.
//!
//! ```text
//! Watching -> Suspect -> Acting -> Verifying -> Healthy -> (like Watching)
//!                 \         \          \-> GaveUp(why, until) -> Suspect, or Watching when it came right
//!                  \---------\---------/
//! ```
//!
//! It touches no connection and no clock. Whoever drives it looks at the unit whenever it changed and
//! whenever [`Engine::look_again_at`] is due, passes that in, and does what comes out, in order.

mod guards;
#[cfg(test)]
mod histories;

use serde::Serialize;
use serde_json::{Map, Value, json};
use vakt_peer::systemd::UnitState;

pub use guards::{BACKOFF_MAX_MS, Guard};

use crate::evidence::Step;
use crate::policy::Policy;

/// Milliseconds of a clock that never goes back. What it counts from is the driver's business.
pub type Moment = u64;

/// After evidence could not be recorded, the next try comes this much later.
const EVIDENCE_RETRY_MS: u64 = 5_000;

/// A call has the policy's timeout, and this long for what is around it. One that never ends after all
/// counts as one whose outcome is not known.
const CALL_GRACE_MS: u64 = 60_000;

/// Where a policy stands on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is wrong, as far as was seen.
    Watching,
    /// The unit is wrong, but not for long enough yet.
    Suspect {
        /// Since when.
        since: Moment,
    },
    /// A verb is under way.
    Acting {
        /// Since when.
        since: Moment,
    },
    /// The verb is done; the unit must stay right for a while.
    Verifying {
        /// When it must have been right for long enough, or has failed.
        until: Moment,
        /// Since when it is right, and in which invocation; `None` while it is not.
        right: Option<Holding>,
    },
    /// Repaired, and seen to be right for as long as the policy asks.
    Healthy {
        /// Since when.
        since: Moment,
    },
    /// It will not be tried again before `until`.
    GaveUp {
        /// Why.
        reason: String,
        /// When it is looked at again.
        until: Moment,
    },
}

/// A unit that is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holding {
    since: Moment,
    invocation: String,
}

/// What the driver has to do, in order. When one fails, the rest is dropped.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Record this before going on; when that fails: [`Engine::not_recorded`].
    Record(Step, Map<String, Value>),
    /// Record this, now or later; go on either way.
    RecordLater(Step, Map<String, Value>),
    /// Look at the unit again; if it is still wrong and its invocation is still this one, record
    /// `called` and send the policy's verb. Then [`Engine::answered`].
    Call {
        /// InvocationID of the unit that was found wrong.
        invocation: String,
    },
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// systemd did it.
    Done,
    /// systemd tried, and its job ended otherwise.
    Failed(String),
    /// The machine's polkit said no.
    Refused(String),
    /// It took longer than the policy's timeout; systemd goes on.
    Late(String),
    /// The connection was lost; it may have been done.
    Unknown(String),
    /// The unit was no longer as it was seen, so nothing was sent.
    NotCalled(String),
}

impl Answer {
    /// The word in evidence and metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            Answer::Done => "done",
            Answer::Failed(_) => "failed",
            Answer::Refused(_) => "refused",
            Answer::Late(_) => "late",
            Answer::Unknown(_) => "unknown",
            Answer::NotCalled(_) => "not called",
        }
    }

    fn detail(&self) -> Map<String, Value> {
        let mut detail = object(json!({"outcome": self.outcome()}));
        match self {
            Answer::Done => {}
            Answer::Failed(why)
            | Answer::Refused(why)
            | Answer::Late(why)
            | Answer::Unknown(why)
            | Answer::NotCalled(why) => {
                detail.insert("reason".into(), why.as_str().into());
            }
        }
        detail
    }
}

/// One policy on one machine.
#[derive(Clone, Debug)]
pub struct Engine {
    policy: Policy,
    phase: Phase,
    guard: Guard,
}

impl Engine {
    /// A new one. `called`: when the verb was sent before (as evidence tells), oldest first.
    pub fn new(policy: Policy, called: impl IntoIterator<Item = Moment>) -> Engine {
        Engine { policy, phase: Phase::Watching, guard: Guard::new(called) }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// When the unit must be looked at again even if nothing is heard of it; `None`: no hurry.
    pub fn look_again_at(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Watching | Phase::Healthy { .. } => None,
            Phase::Acting { since } => Some(since + self.policy.action.timeout.millis() + CALL_GRACE_MS),
            Phase::Suspect { since } => Some(since + self.policy.wrong_for.millis()),
            Phase::Verifying { until, right } => {
                let held = right.as_ref().map(|right| right.since + self.policy.verify.held_for.millis());
                Some(held.map_or(*until, |held| held.min(*until)))
            }
            Phase::GaveUp { until, .. } => Some(*until),
        }
    }

    /// The unit was looked at.
    pub fn seen(&mut self, state: &UnitState, now: Moment) -> Vec<Action> {
        let wrong = self.policy.state.holds(state);
        match &self.phase {
            Phase::Acting { .. } if self.look_again_at().is_some_and(|end| now >= end) => {
                self.answered(Answer::Unknown("the call never ended".into()), now)
            }
            Phase::Acting { .. } => Vec::new(),
            Phase::Verifying { .. } => self.verify(state, now),
            Phase::GaveUp { until, .. } if wrong && now < *until => Vec::new(),
            _ if !wrong => {
                // Healthy stays what it is: it says more than Watching.
                if !matches!(self.phase, Phase::Healthy { .. }) {
                    self.phase = Phase::Watching;
                }
                Vec::new()
            }
            Phase::Suspect { since } => self.suspect(*since, state, now),
            Phase::Watching | Phase::Healthy { .. } | Phase::GaveUp { .. } => self.suspect(now, state, now),
        }
    }

    fn suspect(&mut self, since: Moment, state: &UnitState, now: Moment) -> Vec<Action> {
        self.phase = Phase::Suspect { since };
        if now < since + self.policy.wrong_for.millis() {
            return Vec::new();
        }
        let seen = Action::Record(Step::Seen, snapshot(state));
        match self.guard.permits(&self.policy.guards, now) {
            Ok(()) => {
                self.phase = Phase::Acting { since: now };
                let decided = object(json!({
                    "act": true,
                    "verb": self.policy.action.verb.as_str(),
                    "actions_last_hour": self.guard.last_hour(now),
                    "max_per_hour": self.policy.guards.max_per_hour,
                }));
                let call = Action::Call { invocation: state.invocation.clone() };
                vec![seen, Action::Record(Step::Decided, decided), call]
            }
            Err(refusal) => {
                let decided = object(json!({
                    "act": false,
                    "reason": refusal.reason,
                    "wait_ms": refusal.until.saturating_sub(now),
                }));
                self.phase = Phase::GaveUp { reason: refusal.reason, until: refusal.until };
                vec![seen, Action::Record(Step::Decided, decided)]
            }
        }
    }

    /// Evidence could not be recorded, so nothing was done.
    pub fn not_recorded(&mut self, now: Moment) {
        let reason = "evidence cannot be recorded, so nothing is done".to_owned();
        self.phase = Phase::GaveUp { reason, until: now + EVIDENCE_RETRY_MS };
    }

    /// The verb is about to be sent. The guards count it from now on, whatever comes of it.
    pub fn calling(&mut self, now: Moment) {
        self.guard.called(now);
    }

    /// The call ended.
    pub fn answered(&mut self, answer: Answer, now: Moment) -> Vec<Action> {
        if !matches!(self.phase, Phase::Acting { .. }) {
            return Vec::new();
        }
        let record = Action::RecordLater(Step::Answered, answer.detail());
        match answer {
            // Lost in the middle: the state that is seen next tells whether it worked.
            Answer::Done | Answer::Unknown(_) | Answer::Late(_) => {
                let until = now + self.policy.action.timeout.millis() + self.policy.verify.held_for.millis();
                self.phase = Phase::Verifying { until, right: None };
                vec![record]
            }
            Answer::NotCalled(_) => {
                self.phase = Phase::Watching;
                vec![record]
            }
            Answer::Failed(reason) | Answer::Refused(reason) => {
                vec![record, self.give_up(reason, now)]
            }
        }
    }

    fn verify(&mut self, state: &UnitState, now: Moment) -> Vec<Action> {
        let Phase::Verifying { until, right } = &mut self.phase else { return Vec::new() };
        let holds = self.policy.verify.state.holds(state);
        *right = match right.take() {
            // Another invocation means that it went down in between.
            Some(before) if holds && before.invocation == state.invocation => Some(before),
            _ if holds => Some(Holding { since: now, invocation: state.invocation.clone() }),
            _ => None,
        };
        let held_for = self.policy.verify.held_for.millis();
        if right.as_ref().is_some_and(|right| now >= right.since + held_for) {
            self.guard.worked();
            self.phase = Phase::Healthy { since: now };
            return vec![verified(true, state, "")];
        }
        let reason = match (self.policy.state.holds(state), now >= *until) {
            (true, _) => format!("the unit is {} again", state.active),
            (false, true) => {
                format!("the unit is {} and was not right for {held_for} ms in time", state.active)
            }
            (false, false) => return Vec::new(),
        };
        let record = verified(false, state, &reason);
        vec![record, self.give_up(reason, now)]
    }

    fn give_up(&mut self, reason: String, now: Moment) -> Action {
        let until = self.guard.failed(&self.policy.guards, now);
        let detail = object(json!({"reason": reason, "wait_ms": until.saturating_sub(now)}));
        self.phase = Phase::GaveUp { reason, until };
        Action::RecordLater(Step::Escalated, detail)
    }
}

fn verified(held: bool, state: &UnitState, reason: &str) -> Action {
    let mut detail = snapshot(state);
    detail.insert("held".into(), held.into());
    if !reason.is_empty() {
        detail.insert("reason".into(), reason.into());
    }
    Action::RecordLater(Step::Verified, detail)
}

/// A unit's state as it stands in evidence.
pub fn snapshot(state: &UnitState) -> Map<String, Value> {
    object(json!({
        "active": state.active.as_str(),
        "sub": state.sub,
        "load": state.load,
        "result": state.result,
        "invocation": state.invocation,
        "restarts": state.restarts,
        "changed_us": state.changed_us,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

//! The time of one connection: look, decide, do, until it is lost or the service stops.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use vakt_peer::systemd::{BusError, Systemd, UnitName};

use super::call::{Call, Called};
use super::{Connected, POLL_EVERY, Watcher};
use crate::engine::{Action, Phase};
use crate::evidence::{Draft, Step};

/// At shutdown, calls under way get this long to end; the rest of the drain time is for evidence.
const CALLS_END_WITHIN: Duration = Duration::from_secs(7);

/// After the connection is lost, calls on it end by themselves within this time.
const LOST_CALLS_END_WITHIN: Duration = Duration::from_secs(2);

impl Watcher {
    /// Returns why the connection ended.
    pub(super) async fn attend(&mut self, connected: Connected) -> String {
        let Connected { session, systemd, mut watch } = connected;
        let stop = self.shared.stop.clone();
        let mut calls = JoinSet::new();
        let mut look_at = self.units();
        let mut poll_at = Instant::now() + POLL_EVERY;
        let why = loop {
            if let Err(error) = self.look(&systemd, &look_at, &mut calls).await {
                break error.to_string();
            }
            look_at.clear();
            let wake_at = self.next_look().map_or(poll_at, |at| at.min(poll_at));
            tokio::select! {
                () = stop.cancelled() => break "the service stops".to_owned(),
                changed = watch.changed() => match changed {
                    Some(units) => look_at = units,
                    None => break format!("peer {}: connection lost", self.target.name()),
                },
                Some(called) = calls.join_next() => look_at = self.ended(called.ok()).await,
                () = sleep_until(wake_at) => {
                    look_at = self.units();
                    if poll_at <= Instant::now() {
                        poll_at = Instant::now() + POLL_EVERY;
                    }
                }
            }
        };
        if stop.is_cancelled() {
            self.finish(&mut calls, CALLS_END_WITHIN).await;
            session.close().await;
        } else {
            // With the connection gone, calls under way end with `unknown`.
            drop((session, systemd, watch));
            self.finish(&mut calls, LOST_CALLS_END_WITHIN).await;
        }
        why
    }

    /// Looks at `units` and does what the engines decide. An error means that the bus is gone.
    async fn look(
        &mut self,
        systemd: &Systemd,
        units: &BTreeSet<UnitName>,
        calls: &mut JoinSet<Called>,
    ) -> Result<(), BusError> {
        for unit in units {
            let state = match systemd.state(unit).await {
                Ok(state) => state,
                Err(error @ BusError::Answer { .. }) => {
                    tracing::warn!(%error, "cannot look at a unit");
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.shared.board.unit(self.target.name(), unit, &state);
            for slot in 0..self.slots.len() {
                if self.slots[slot].engine.policy().unit == *unit {
                    let actions = self.slots[slot].engine.seen(&state, self.shared.clock.now());
                    self.perform(slot, actions, Some((systemd, calls))).await;
                }
            }
        }
        Ok(())
    }

    /// When the first engine wants its unit to be looked at again.
    fn next_look(&self) -> Option<Instant> {
        let due = self.slots.iter().filter_map(|slot| slot.engine.look_again_at()).min();
        due.map(|moment| self.shared.clock.deadline(moment))
    }

    /// Does `actions` in order; without evidence it stops at the first that needs some.
    async fn perform(
        &mut self,
        slot: usize,
        actions: Vec<Action>,
        on: Option<(&Systemd, &mut JoinSet<Called>)>,
    ) {
        let mut on = on;
        for action in actions {
            match action {
                Action::Record(step, detail) => {
                    if step == Step::Seen {
                        self.slots[slot].repair = None;
                    }
                    match self.shared.journal.record(self.draft(slot, step, detail)).await {
                        Ok(record) => self.slots[slot].repair = Some(record.repair),
                        Err(error) => {
                            self.unrecorded(slot, &error.to_string()).await;
                            break;
                        }
                    }
                }
                Action::RecordLater(step, detail) => {
                    if step == Step::Escalated {
                        let (peer, unit) = (self.target.name(), &self.slots[slot].engine.policy().unit);
                        let reason = detail.get("reason").and_then(Value::as_str).unwrap_or_default();
                        tracing::error!(peer, %unit, reason, "a person is needed");
                    }
                    self.shared.journal.record_later(self.draft(slot, step, detail)).await;
                }
                Action::Call { invocation } => {
                    let Some((systemd, calls)) = on.as_mut() else { continue };
                    let call = Call {
                        slot,
                        systemd: systemd.clone(),
                        policy: self.slots[slot].engine.policy().clone(),
                        invocation,
                        journal: self.shared.journal.clone(),
                        clock: self.shared.clock,
                        draft: self.draft(slot, Step::Called, Map::new()),
                    };
                    calls.spawn(call.run());
                }
            }
        }
        self.show(slot);
    }

    /// A call ended. Returns the unit to look at.
    async fn ended(&mut self, called: Option<Called>) -> BTreeSet<UnitName> {
        // A call that panicked has told nobody; its engine gives it up in time.
        let Some(called) = called else { return self.units() };
        let (slot, now) = (called.slot, self.shared.clock.now());
        let outcome = called.answer.outcome();
        let policy = self.slots[slot].engine.policy();
        tracing::info!(peer = self.target.name(), unit = %policy.unit, verb = %policy.action.verb, outcome, "call ended");
        self.shared.board.answered(outcome);
        let engine = &mut self.slots[slot].engine;
        if let Some(at) = called.at {
            engine.calling(at);
        }
        let actions = engine.answered(called.answer, now);
        if called.unrecorded {
            engine.not_recorded(now);
        }
        self.perform(slot, actions, None).await;
        [self.slots[slot].engine.policy().unit.clone()].into()
    }

    /// Waits for calls under way, and takes their answers; what does not end is interrupted.
    async fn finish(&mut self, calls: &mut JoinSet<Called>, within: Duration) {
        let deadline = Instant::now() + within;
        while let Ok(Some(called)) = timeout_at(deadline, calls.join_next()).await {
            self.ended(called.ok()).await;
        }
        calls.abort_all();
        let acting: Vec<_> = (0..self.slots.len())
            .filter(|slot| matches!(self.slots[*slot].engine.phase(), Phase::Acting { .. }))
            .collect();
        for slot in acting {
            let answer = crate::engine::Answer::Unknown("the call was cut off".into());
            let now = self.shared.clock.now();
            let actions = self.slots[slot].engine.answered(answer, now);
            self.perform(slot, actions, None).await;
        }
    }

    /// Records of every repair under way that it was interrupted.
    pub(super) async fn interrupt(&mut self, reason: &str) {
        for slot in 0..self.slots.len() {
            if matches!(self.slots[slot].engine.phase(), Phase::Acting { .. } | Phase::Verifying { .. }) {
                let detail = Map::from_iter([("reason".to_owned(), reason.into())]);
                let draft = self.draft(slot, Step::Interrupted, detail);
                // The next start records it, should the store be gone already.
                let _ = timeout(Duration::from_secs(2), self.shared.journal.record_later(draft)).await;
            }
        }
    }

    async fn unrecorded(&mut self, slot: usize, error: &str) {
        let unit = self.slots[slot].engine.policy().unit.clone();
        tracing::error!(peer = self.target.name(), %unit, error, "nothing is done without evidence");
        self.slots[slot].engine.not_recorded(self.shared.clock.now());
        if self.slots[slot].repair.is_some() {
            let detail = Map::from_iter([("reason".to_owned(), error.into())]);
            self.shared.journal.record_later(self.draft(slot, Step::Interrupted, detail)).await;
        }
    }

    fn draft(&self, slot: usize, step: Step, detail: Map<String, Value>) -> Draft {
        let Slotted { policy, unit, repair } = self.slotted(slot);
        let (at_ms, peer) = (self.shared.clock.wall_ms(), self.target.name().to_owned());
        Draft { at_ms, repair, policy, peer, unit, step, detail }
    }

    fn slotted(&self, slot: usize) -> Slotted {
        let slot = &self.slots[slot];
        let policy = slot.engine.policy();
        Slotted {
            policy: policy.name.to_string(),
            unit: policy.unit.to_string(),
            repair: slot.repair.clone(),
        }
    }

    fn show(&self, slot: usize) {
        let engine = &self.slots[slot].engine;
        self.shared.board.policy(self.target.name(), engine.policy().name.as_str(), engine.phase());
    }
}

/// What a record says about its slot.
struct Slotted {
    policy: String,
    unit: String,
    repair: Option<String>,
}

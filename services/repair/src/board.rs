//! What the pages see: connections, units and policies as they stand, and counters.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};
use vakt_peer::systemd::{UnitName, UnitState};

use crate::clock::Clock;
use crate::engine::Phase;

/// How the connection to a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// The evidence in the store has not been read yet.
    WaitingForEvidence,
    /// No policy is about this machine, so nobody connects.
    Idle,
    /// No repair key in the config.
    NoKey,
    /// On its way.
    Connecting,
    /// Watching.
    Connected,
    /// Lost, or never there; tried again at `next_try_ms`.
    Disconnected,
}

/// One machine on the board.
#[derive(Clone, Debug, Serialize)]
pub struct PeerView {
    /// Its name.
    pub name: String,
    /// Where its sshd is.
    pub address: String,
    /// The connection.
    pub state: Link,
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
    /// Why it was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try_ms: Option<u64>,
    /// The watched units as last seen.
    pub units: BTreeMap<UnitName, UnitState>,
    /// The policies on this machine and where they stand.
    pub policies: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
struct Inner {
    peers: BTreeMap<String, PeerView>,
    answers: BTreeMap<&'static str, u64>,
    connects: u64,
    losses: u64,
}

/// Shared by the watchers, who write it, and the API, which reads it.
#[derive(Debug)]
pub struct Board {
    clock: Clock,
    inner: Mutex<Inner>,
}

impl Board {
    /// An empty one.
    pub fn new(clock: Clock) -> Board {
        Board { clock, inner: Mutex::default() }
    }

    /// Puts a machine up.
    pub fn add(&self, name: &str, address: &str, state: Link) {
        let view = PeerView {
            name: name.into(),
            address: address.into(),
            state,
            since_ms: self.clock.wall_ms(),
            error: None,
            next_try_ms: None,
            units: BTreeMap::new(),
            policies: BTreeMap::new(),
        };
        self.locked().peers.insert(name.into(), view);
    }

    /// The connection changed.
    pub fn link(&self, peer: &str, state: Link, error: Option<String>, next_try_ms: Option<u64>) {
        let mut inner = self.locked();
        match state {
            Link::Connected => inner.connects += 1,
            Link::Disconnected => inner.losses += 1,
            _ => {}
        }
        let now_ms = self.clock.wall_ms();
        if let Some(view) = inner.peers.get_mut(peer) {
            if view.state != state {
                view.since_ms = now_ms;
            }
            // While it connects again, the last failure stays to be read.
            if state != Link::Connecting {
                view.error = error;
            }
            (view.state, view.next_try_ms) = (state, next_try_ms);
        }
    }

    /// A unit was looked at.
    pub fn unit(&self, peer: &str, unit: &UnitName, state: &UnitState) {
        if let Some(view) = self.locked().peers.get_mut(peer) {
            view.units.insert(unit.clone(), state.clone());
        }
    }

    /// A policy stands somewhere else now.
    pub fn policy(&self, peer: &str, policy: &str, phase: &Phase) {
        let wall = |moment: &u64| self.clock.wall_of(*moment);
        let value = match phase {
            Phase::Watching => json!({"phase": "watching"}),
            Phase::Suspect { since } => json!({"phase": "suspect", "since_ms": wall(since)}),
            Phase::Acting { since } => json!({"phase": "acting", "since_ms": wall(since)}),
            Phase::Verifying { until, .. } => json!({"phase": "verifying", "until_ms": wall(until)}),
            Phase::Healthy { since } => json!({"phase": "healthy", "since_ms": wall(since)}),
            Phase::GaveUp { reason, until } => {
                json!({"phase": "gave-up", "reason": reason, "until_ms": wall(until)})
            }
        };
        if let Some(view) = self.locked().peers.get_mut(peer) {
            view.policies.insert(policy.into(), value);
        }
    }

    /// A call ended with this outcome.
    pub fn answered(&self, outcome: &'static str) {
        *self.locked().answers.entry(outcome).or_default() += 1;
    }

    /// Every machine, by name.
    pub fn peers(&self) -> Vec<PeerView> {
        self.locked().peers.values().cloned().collect()
    }

    /// Where each policy stands, by machine.
    pub fn standing_of(&self, policy: &str) -> BTreeMap<String, Value> {
        let inner = self.locked();
        let of =
            |(name, view): (&String, &PeerView)| Some((name.clone(), view.policies.get(policy)?.clone()));
        inner.peers.iter().filter_map(of).collect()
    }

    /// The counters in Prometheus' text form.
    pub fn metrics(&self) -> String {
        let inner = self.locked();
        let connected = inner.peers.values().filter(|view| view.state == Link::Connected).count();
        let mut text = format!(
            "# TYPE vakt_repair_peers gauge\nvakt_repair_peers {}\n\
             # TYPE vakt_repair_peers_connected gauge\nvakt_repair_peers_connected {connected}\n\
             # TYPE vakt_repair_connects_total counter\nvakt_repair_connects_total {}\n\
             # TYPE vakt_repair_connection_failures_total counter\nvakt_repair_connection_failures_total {}\n\
             # TYPE vakt_repair_answers_total counter\n",
            inner.peers.len(),
            inner.connects,
            inner.losses,
        );
        for (outcome, count) in &inner.answers {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "vakt_repair_answers_total{{outcome=\"{outcome}\"}} {count}");
        }
        text
    }

    /// What a panicking holder left is still a board.
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

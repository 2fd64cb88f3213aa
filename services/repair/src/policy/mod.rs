//! What is repaired, and how: one small YAML document a policy, strict to the last key.
//!
//! ```yaml
//! version: 1
//! name: restart-demo
//! match:
//!   unit: demo.service       # the exact name
//!   peers: [db1]             # or: all
//!   state: failed            # failed (default) or inactive
//!   for: 0s                  # how long it must have been so; default 0s
//! guards:
//!   max_per_hour: 3          # 1 to 60; default 3
//!   cooldown: 10s            # least time between two actions; doubles with each failure; default 1m
//! action:
//!   verb: restart            # restart, start, stop, reload, reset-failed
//!   timeout: 30s             # 1s to 10m; default 1m
//! verify:
//!   active_for: 10s          # inactive_for after stop and reset-failed; 1s to 10m
//! ```
//!
//! A document that is not exactly right is refused whole, with line, column, reason and an example; the
//! others stay in force. Limits: 64 KiB and 256 policies, 1,000 peers a policy.

mod parse;
mod set;
mod span;

use std::collections::BTreeSet;

use serde::Serialize;
use vakt_peer::systemd::{ActiveState, UnitName, UnitState, Verb};
use vakt_wire::config::Name;

pub use parse::{Refusal, YAML_BYTES_MAX, parse};
pub use set::{PolicySet, Refused};
pub use span::{SPAN_MAX, Span};

/// Policies that are in force at a time; further ones are refused.
pub const POLICIES_MAX: usize = 256;

/// A policy that passed every check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Its name; the same as in the config.
    pub name: Name,
    /// The unit, exactly.
    pub unit: UnitName,
    /// The machines.
    pub peers: Peers,
    /// What is wrong with the unit when it is to be repaired.
    pub state: Wrong,
    /// How long it must have been so.
    #[serde(rename = "for")]
    pub wrong_for: Span,
    /// When not to act.
    pub guards: Guards,
    /// What to do.
    pub action: Action,
    /// What must be true for how long, for the repair to count.
    pub verify: Verify,
}

/// Which machines a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Peers {
    /// Every machine in the config.
    All,
    /// These.
    #[serde(untagged)]
    Only(BTreeSet<Name>),
}

impl Peers {
    /// Whether the machine called `name` is among them.
    pub fn include(&self, name: &str) -> bool {
        match self {
            Peers::All => true,
            Peers::Only(names) => names.iter().any(|peer| peer.as_str() == name),
        }
    }
}

/// The states that can be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrong {
    /// `ActiveState=failed`.
    Failed,
    /// `ActiveState=inactive`: somebody stopped it, or it ended by itself.
    Inactive,
}

impl Wrong {
    /// Whether `state` is what is to be repaired. A unit that does not exist is not.
    pub fn holds(self, state: &UnitState) -> bool {
        let wanted = match self {
            Wrong::Failed => ActiveState::Failed,
            Wrong::Inactive => ActiveState::Inactive,
        };
        state.load == "loaded" && state.active == wanted
    }
}

/// `guards`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Guards {
    /// Actions in any 60 minutes, for one unit on one machine.
    pub max_per_hour: u32,
    /// Least time between two actions.
    pub cooldown: Span,
}

/// `action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// What to do to the unit.
    pub verb: Verb,
    /// How long systemd's job may take.
    pub timeout: Span,
}

/// `verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Verify {
    /// The state the unit must be in.
    pub state: Right,
    /// For how long, without a start in between.
    pub held_for: Span,
}

/// The states that a repair can lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// `ActiveState=active`.
    Active,
    /// `ActiveState=inactive`.
    Inactive,
}

impl Right {
    /// Whether `state` is what the repair was to lead to.
    pub fn holds(self, state: &UnitState) -> bool {
        let wanted = match self {
            Right::Active => ActiveState::Active,
            Right::Inactive => ActiveState::Inactive,
        };
        state.active == wanted
    }

    /// What `verb` leads to when it works.
    pub fn after(verb: Verb) -> Right {
        match verb {
            Verb::Restart | Verb::Start | Verb::Reload => Right::Active,
            Verb::Stop | Verb::ResetFailed => Right::Inactive,
        }
    }
}

//! Recording and alerting rules in Prometheus' rule-file format: queries that are asked in time, and whose answers are
//! stored as series.
//!
//! Files are read once, at the start. One thread evaluates the groups one after the other, each at multiples of its
//! interval; what it missed is skipped and counted. Alerts are kept in memory and, as the series `ALERTS` and
//! `ALERTS_FOR_STATE`, in the store, from which a rule with `for` takes them up again after a restart.

mod alert;
mod evaluate;
mod file;
mod schedule;
mod template;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use alert::{Alert, State};
pub use file::{Group, Rule, RuleKind, RulesError, load};
pub use schedule::Schedule;

use crate::series::Labels;

/// How a rule's last evaluation ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// There was none yet.
    #[default]
    Unknown,
    /// Well.
    Ok,
    /// With an error.
    Bad(String),
}

/// What is known of a rule besides its definition.
#[derive(Clone, Debug, Default)]
pub struct RuleState {
    /// How the last evaluation ended.
    pub health: Health,
    /// When it began, in milliseconds since the epoch; 0 for never.
    pub evaluated_at: i64,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// Alerts that are pending, firing, or resolved a short time ago.
    pub alerts: Vec<Alert>,
    /// When the first evaluation since the start began by the clock, in milliseconds since the epoch; its own time may be
    /// before what was stored last before the start.
    first_at: Option<i64>,
    /// The series that the last evaluation wrote.
    written: Vec<Labels>,
}

/// What is known of a group.
#[derive(Clone, Debug)]
pub struct GroupState {
    /// Its definition.
    pub group: Arc<Group>,
    /// When its last evaluation began, in milliseconds since the epoch; 0 for never.
    pub evaluated_at: i64,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// Evaluations that were skipped, because the one before took too long.
    pub missed: u64,
    /// Its rules, in order.
    pub rules: Vec<RuleState>,
}

/// The rules of a running store.
#[derive(Debug, Default)]
pub struct Rules(Mutex<Vec<GroupState>>);

impl Rules {
    /// Rules that were never evaluated.
    pub fn new(groups: Vec<Group>) -> Rules {
        let state = |group: Group| GroupState {
            rules: vec![RuleState::default(); group.rules.len()],
            group: Arc::new(group),
            evaluated_at: 0,
            took_s: 0.0,
            missed: 0,
        };
        Rules(Mutex::new(groups.into_iter().map(state).collect()))
    }

    /// What is known of all groups at this moment.
    pub fn groups(&self) -> Vec<GroupState> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<GroupState>> {
        // A panic under the lock is a bug that ends one evaluation; each rule's state is set whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

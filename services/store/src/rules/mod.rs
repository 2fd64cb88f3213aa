//! Recording and alerting rules in Prometheus' rule-file format: queries that are asked in time, and whose answers are
//! stored as series.
//!
//! Files are read at the start and when somebody says so (SIGHUP, `POST /-/reload`); groups and rules that are still there go on
//! where they were. One thread evaluates the groups one after the other, each at multiples of its
//! interval; what it missed is skipped and counted. Alerts are kept in memory and, as the series `ALERTS` and
//! `ALERTS_FOR_STATE`, in the store, from which a rule with `for` takes them up again after a restart.

mod alert;
mod evaluate;
mod file;
mod schedule;
mod template;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use alert::{Alert, State};
pub use evaluate::Place;
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

/// How the files were read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// When, in milliseconds since the epoch, they were read without an error; 0 for never since the start.
    pub at: i64,
    /// Whether the last try failed; the rules of before stay in force then.
    pub failed: bool,
}

/// The rules of a running store.
#[derive(Debug, Default)]
pub struct Rules {
    /// Patterns of the files.
    patterns: Vec<String>,
    groups: Mutex<Vec<GroupState>>,
    /// What was read and is taken over before the next evaluation.
    next: Mutex<Option<Vec<Group>>>,
    loaded: Mutex<Loaded>,
}

impl Rules {
    /// Rules of these files that were never evaluated.
    ///
    /// # Errors
    /// [`RulesError`] for the first thing that is wrong.
    pub fn load(patterns: &[String]) -> Result<Rules, RulesError> {
        let groups = load(patterns)?.into_iter().map(fresh).collect();
        Ok(Rules { patterns: patterns.to_vec(), groups: Mutex::new(groups), ..Rules::default() })
    }

    /// Reads the files anew, at `now` (milliseconds since the epoch). What is in them is in force from the next evaluation on.
    ///
    /// # Errors
    /// [`RulesError`] for the first thing that is wrong; the rules of before stay in force.
    pub fn reload(&self, now: i64) -> Result<(), RulesError> {
        let read = load(&self.patterns);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.failed = read.is_err();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(read?);
        loaded.at = now;
        Ok(())
    }

    /// How the files were read last.
    pub fn loaded(&self) -> Loaded {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what was read; gives the states of rules that are gone.
    fn take_over(&self) -> Vec<RuleState> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(next) = next else { return Vec::new() };
        let mut groups = self.lock();
        let (merged, gone) = merge(std::mem::take(&mut *groups), next);
        *groups = merged;
        gone
    }

    /// What is known of all groups at this moment.
    pub fn groups(&self) -> Vec<GroupState> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<GroupState>> {
        // A panic under the lock is a bug that ends one evaluation; each rule's state is set whole.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh(group: Group) -> GroupState {
    GroupState {
        rules: vec![RuleState::default(); group.rules.len()],
        group: Arc::new(group),
        evaluated_at: 0,
        took_s: 0.0,
        missed: 0,
    }
}

/// New groups with what is known of the old ones, and the states of rules that are in none of them. A group goes by file and
/// name, a rule of it by name and labels, as in Prometheus.
fn merge(mut old: Vec<GroupState>, new: Vec<Group>) -> (Vec<GroupState>, Vec<RuleState>) {
    let name_of = |rule: &Rule| {
        let labels: Vec<_> =
            rule.labels.iter().map(|(name, value)| (name.clone(), value.text().to_owned())).collect();
        (rule.name.clone(), labels)
    };
    let mut merged = Vec::with_capacity(new.len());
    for group in new {
        let mut state = fresh(group);
        let same = |other: &&mut GroupState| {
            other.group.file == state.group.file && other.group.name == state.group.name
        };
        if let Some(before) = old.iter_mut().find(same) {
            state.evaluated_at = before.evaluated_at;
            (state.took_s, state.missed) = (before.took_s, before.missed);
            let mut known: Vec<_> = before.group.rules.iter().map(&name_of).zip(&mut before.rules).collect();
            for (rule, slot) in state.group.rules.iter().zip(&mut state.rules) {
                let name = name_of(rule);
                if let Some(at) = known.iter().position(|(known, _)| *known == name) {
                    *slot = std::mem::take(known.remove(at).1);
                }
            }
        }
        merged.push(state);
    }
    let gone = old.into_iter().flat_map(|group| group.rules).filter(|rule| !rule.written.is_empty());
    (merged, gone.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_there_goes_on_and_what_is_gone_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.yml");
        let write =
            |rules: &str| std::fs::write(&path, format!("groups:\n- name: g\n  rules:\n{rules}")).unwrap();
        write(
            "  - {record: a, expr: up}\n  - {record: b, expr: up}\n  - {record: b, expr: up, labels: {x: y}}\n",
        );
        let rules = Rules::load(&[path.display().to_string()]).unwrap();
        for (n, state) in rules.lock()[0].rules.iter_mut().enumerate() {
            state.written = vec![[("n", n.to_string().as_str())].into_iter().collect()];
        }
        write(
            "  - {record: c, expr: up}\n  - {record: b, expr: down, labels: {x: y}}\n  - {record: a, expr: up}\n",
        );
        assert!(rules.take_over().is_empty());
        rules.reload(7).unwrap();
        let gone = rules.take_over();
        let numbers = |states: &[RuleState]| -> Vec<String> {
            states.iter().flat_map(|state| &state.written).map(|labels| labels.get("n").to_owned()).collect()
        };
        assert_eq!(numbers(&gone), ["1"]);
        assert_eq!(numbers(&rules.groups()[0].rules), ["2", "0"]);
        assert_eq!(rules.loaded(), Loaded { at: 7, failed: false });
        write("  - {record: c, expr: up(}\n");
        assert!(rules.reload(8).is_err());
        assert!(rules.take_over().is_empty());
        assert_eq!((rules.groups()[0].rules.len(), rules.loaded()), (3, Loaded { at: 7, failed: true }));
    }
}

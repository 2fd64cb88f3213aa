//! The latest repairs, put together from their records: what the pages show, and what the guards must know
//! after a restart. The chain in the store is the truth; this is a window on its end.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use super::record::{Record, Step};

/// Repairs that are kept in memory; older ones are in the store. Some 2 KB each.
pub const REPAIRS_MAX: usize = 200;

/// Records that one repair may have; a whole one has seven.
const RECORDS_MAX: usize = 16;

/// One repair and its records so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Repair {
    /// Key of its first record.
    pub id: String,
    /// By which policy.
    pub policy: String,
    /// On which machine.
    pub peer: String,
    /// What.
    pub unit: String,
    /// How it stands: `running`, `held`, `not held`, `refused`, `failed`, `withheld`, `moot`, `interrupted`.
    pub outcome: &'static str,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    /// When its last record was made.
    pub ended_ms: u64,
    /// Its records, oldest first.
    pub records: Vec<Record>,
}

impl Repair {
    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        self.outcome != "running"
    }

    /// When the verb was sent, if it was.
    pub fn called_ms(&self) -> Option<u64> {
        self.records.iter().find(|record| record.step == Step::Called).map(|record| record.at_ms)
    }

    fn take(&mut self, record: &Record) {
        self.ended_ms = record.at_ms;
        if let Some(outcome) = outcome(record) {
            self.outcome = outcome;
        }
        if self.records.len() < RECORDS_MAX {
            self.records.push(record.clone());
        }
    }
}

/// What a record says about how its repair stands; `None` when it says nothing new.
fn outcome(record: &Record) -> Option<&'static str> {
    let member = |name: &str| record.detail.get(name);
    match record.step {
        Step::Seen | Step::Called | Step::Escalated => None,
        Step::Decided => (member("act") == Some(&Value::Bool(false))).then_some("withheld"),
        Step::Answered => match member("outcome").and_then(Value::as_str) {
            Some("refused") => Some("refused"),
            Some("failed" | "late") => Some("failed"),
            Some("not called") => Some("moot"),
            _ => None,
        },
        Step::Verified if member("held") == Some(&Value::Bool(true)) => Some("held"),
        Step::Verified => Some("not held"),
        Step::Interrupted => Some("interrupted"),
    }
}

/// The window.
#[derive(Clone, Debug, Default)]
pub struct Memory(VecDeque<Repair>);

impl Memory {
    /// Adds the next record of the chain.
    pub fn take(&mut self, record: &Record) {
        // Looked for from the end: a record nearly always belongs to one of the latest repairs.
        if let Some(repair) = self.0.iter_mut().rev().find(|repair| repair.id == record.repair) {
            repair.take(record);
            return;
        }
        if self.0.len() == REPAIRS_MAX {
            self.0.pop_front();
        }
        let mut repair = Repair {
            id: record.repair.clone(),
            policy: record.policy.clone(),
            peer: record.peer.clone(),
            unit: record.unit.clone(),
            outcome: "running",
            started_ms: record.at_ms,
            ended_ms: record.at_ms,
            records: Vec::new(),
        };
        repair.take(record);
        self.0.push_back(repair);
    }

    /// The repairs, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Repair> {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Draft, Head};
    use super::*;
    use ed25519_dalek::SigningKey;
    use serde_json::json;

    fn check(steps: &[(Step, Value)], expected: &str) {
        let (key, mut head, mut memory) =
            (SigningKey::from_bytes(&[1; 32]), Head::empty(), Memory::default());
        let mut repair = None;
        for (step, detail) in steps {
            let draft = Draft {
                at_ms: 1,
                repair: repair.clone(),
                policy: "p".into(),
                peer: "db1".into(),
                unit: "demo.service".into(),
                step: *step,
                detail: detail.as_object().cloned().unwrap_or_default(),
            };
            let record = Record::seal(draft, &head, &key).unwrap();
            head = record.head();
            repair = Some(record.repair.clone());
            memory.take(&record);
        }
        let repairs: Vec<_> = memory.newest().collect();
        assert_eq!(repairs.len(), 1);
        assert_eq!((repairs[0].outcome, repairs[0].records.len()), (expected, steps.len()), "{steps:?}");
    }

    #[test]
    fn the_outcome_follows_from_the_records() {
        use Step::*;
        let seen = (Seen, json!({}));
        let go = (Decided, json!({"act": true}));
        let called = (Called, json!({}));
        let answered = |outcome: &str| (Answered, json!({"outcome": outcome}));
        check(std::slice::from_ref(&seen), "running");
        check(&[seen.clone(), (Decided, json!({"act": false}))], "withheld");
        check(&[seen.clone(), go.clone(), called.clone(), answered("done")], "running");
        check(
            &[seen.clone(), go.clone(), called.clone(), answered("refused"), (Escalated, json!({}))],
            "refused",
        );
        check(&[seen.clone(), go.clone(), answered("not called")], "moot");
        let held = |held: bool| (Verified, json!({"held": held}));
        check(&[seen.clone(), go.clone(), called.clone(), answered("done"), held(true)], "held");
        check(&[seen.clone(), go.clone(), called.clone(), answered("unknown"), held(false)], "not held");
        check(&[seen, go, called, (Interrupted, json!({}))], "interrupted");
    }

    #[test]
    fn only_the_latest_repairs_are_kept() {
        let (key, mut head, mut memory) =
            (SigningKey::from_bytes(&[1; 32]), Head::empty(), Memory::default());
        for n in 0..REPAIRS_MAX as u64 + 5 {
            let draft = Draft {
                at_ms: n,
                repair: None,
                policy: "p".into(),
                peer: "db1".into(),
                unit: "demo.service".into(),
                step: Step::Seen,
                detail: serde_json::Map::new(),
            };
            let record = Record::seal(draft, &head, &key).unwrap();
            head = record.head();
            memory.take(&record);
        }
        assert_eq!(memory.newest().count(), REPAIRS_MAX);
        assert_eq!(memory.newest().next().map(|repair| repair.started_ms), Some(REPAIRS_MAX as u64 + 4));
    }
}

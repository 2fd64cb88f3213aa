//! repair: policies, connections, repairs with their evidence.

use serde::Deserialize;
use serde_json::{Map, Value};
use vakt_wire::http::{CallError, Client};

/// A caller of repair.
#[derive(Clone, Debug)]
pub struct Repair(pub(super) Client);

/// One step of a repair, as it stands in the evidence.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Place in the chain.
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// `seen`, `decided`, `called`, `answered`, `verified`, `escalated`, `interrupted`.
    pub step: String,
    /// What was found.
    pub detail: Map<String, Value>,
    /// Its hash.
    pub hash: String,
    /// Its signature, when it has one.
    pub sig: String,
}

/// One repair.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RepairRun {
    /// Key of its first record.
    pub id: String,
    /// By which policy.
    pub policy: String,
    /// On which machine.
    pub peer: String,
    /// Which unit.
    pub unit: String,
    /// `running`, `held`, `not held`, `refused`, `failed`, `withheld`, `moot`, `interrupted`.
    pub outcome: String,
    /// When it began, milliseconds since the epoch.
    pub started_ms: i64,
    /// When its last record was made.
    pub ended_ms: i64,
    /// Its records, oldest first.
    pub records: Vec<Record>,
}

/// How the connection to a machine stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PeerLink {
    /// Its name.
    pub name: String,
    /// Where its sshd is.
    pub address: String,
    /// `connected`, `connecting`, `disconnected`, `idle`, `no-key`, `waiting-for-evidence`.
    pub state: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
    /// Why it was lost.
    pub error: Option<String>,
}

/// The end of the evidence chain.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Head {
    /// Place of the last record; 0 when there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// Everything else that repair says about it (key, signature, state).
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A policy that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Its name or file.
    pub name: String,
    /// `line 3, column 5`, or empty.
    pub place: String,
    /// Why.
    pub reason: String,
}

/// Policies, valid and refused.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Those in force, as repair shows them.
    pub valid: Vec<Value>,
    /// Those that are not.
    pub refused: Vec<Refused>,
}

impl Repair {
    /// The newest repairs.
    ///
    /// # Errors
    /// When repair does not answer.
    pub async fn repairs(&self, limit: usize) -> Result<Vec<RepairRun>, CallError> {
        let answer: Value = self.0.get(&format!("/v1/repairs?limit={limit}")).await?;
        Ok(list(&answer, "repairs"))
    }

    /// The connections.
    ///
    /// # Errors
    /// When repair does not answer.
    pub async fn peers(&self) -> Result<Vec<PeerLink>, CallError> {
        let answer: Value = self.0.get("/v1/peers").await?;
        Ok(list(&answer, "peers"))
    }

    /// The end of the evidence.
    ///
    /// # Errors
    /// When repair does not answer.
    pub async fn head(&self) -> Result<Head, CallError> {
        self.0.get("/v1/evidence/head").await
    }

    /// The policies.
    ///
    /// # Errors
    /// When repair does not answer.
    pub async fn policies(&self) -> Result<Policies, CallError> {
        let answer: Value = self.0.get("/v1/policies").await?;
        Ok(Policies { valid: list(&answer, "policies"), refused: refused(&answer) })
    }
}

/// A list that is the answer itself or its member `name`; what has another shape is left out.
fn list<T: serde::de::DeserializeOwned>(answer: &Value, name: &str) -> Vec<T> {
    let items = answer.as_array().or_else(|| answer.get(name)?.as_array());
    items.into_iter().flatten().filter_map(|item| serde_json::from_value(item.clone()).ok()).collect()
}

fn refused(answer: &Value) -> Vec<Refused> {
    let one = |item: &Value| {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| item.get(name).and_then(Value::as_u64).unwrap_or_default();
        let place = match (number("line"), number("column")) {
            (0, _) => String::new(),
            (line, 0) => format!("line {line}"),
            (line, column) => format!("line {line}, column {column}"),
        };
        let (name, file) = (text("name"), text("file"));
        let name = match (name.is_empty(), file.is_empty() || file == name) {
            (true, _) => file,
            (false, true) => name,
            (false, false) => format!("{name} ({file})"),
        };
        Refused { name, place, reason: text("reason") }
    };
    answer.get("refused").and_then(Value::as_array).into_iter().flatten().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refused_policies_have_name_place_and_reason() {
        let answer = json!({"policies": [{"name": "a"}], "refused": [
            {"name": "b", "file": "b.yaml", "line": 3, "column": 5, "reason": "no such verb"}, {"name": "c", "reason": "empty"}]});
        let said: Vec<_> =
            refused(&answer).into_iter().map(|r| format!("{}|{}|{}", r.name, r.place, r.reason)).collect();
        assert_eq!(said, ["b (b.yaml)|line 3, column 5|no such verb", "c||empty"]);
        assert_eq!(list::<Value>(&answer, "policies").len(), 1);
    }

    #[test]
    fn a_repair_is_read_whatever_else_it_carries() {
        let answer = json!([{"id": "1", "outcome": "held", "new": true, "records": [
            {"v": 1, "seq": 4, "at_ms": 5, "step": "seen", "detail": {"active": "failed"}}]}, 7]);
        let repairs: Vec<RepairRun> = list(&answer, "repairs");
        assert_eq!((repairs.len(), repairs[0].records[0].step.as_str()), (1, "seen"));
    }
}

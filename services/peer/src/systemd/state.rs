//! What systemd says about a unit.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use zbus::OwnedVariant;

/// `ActiveState` of org.freedesktop.systemd1.Unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActiveState {
    /// Running, or done as it should be.
    Active,
    /// Running, and reading its configuration.
    Reloading,
    /// Not running, not failed.
    Inactive,
    /// Not running since it failed.
    Failed,
    /// On its way to active.
    Activating,
    /// On its way to inactive or failed.
    Deactivating,
    /// Under maintenance, or a state of a later systemd.
    Other,
}

impl ActiveState {
    /// systemd's word, or `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActiveState::Active => "active",
            ActiveState::Reloading => "reloading",
            ActiveState::Inactive => "inactive",
            ActiveState::Failed => "failed",
            ActiveState::Activating => "activating",
            ActiveState::Deactivating => "deactivating",
            ActiveState::Other => "other",
        }
    }

    fn of(text: &str) -> ActiveState {
        match text {
            "active" => ActiveState::Active,
            "reloading" | "refreshing" => ActiveState::Reloading,
            "inactive" => ActiveState::Inactive,
            "failed" => ActiveState::Failed,
            "activating" => ActiveState::Activating,
            "deactivating" => ActiveState::Deactivating,
            _ => ActiveState::Other,
        }
    }
}

impl std::fmt::Display for ActiveState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One consistent snapshot of a unit's properties (systemd answers GetAll in one go).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// `ActiveState`.
    pub active: ActiveState,
    /// `SubState`, such as `running`, `dead`, `auto-restart`.
    pub sub: String,
    /// `LoadState`, such as `loaded` or `not-found`.
    pub load: String,
    /// `Result` of a service, such as `success`, `exit-code`, `oom-kill`; empty for other kinds.
    pub result: String,
    /// `InvocationID` in hex: changes whenever the unit is started; empty before the first start.
    pub invocation: String,
    /// `NRestarts` of a service: how often systemd itself restarted it; 0 for other kinds.
    pub restarts: u32,
    /// `StateChangeTimestamp`: microseconds since 1970 by the peer's clock; 0 before the first change.
    pub changed_us: u64,
}

type Properties = HashMap<String, OwnedVariant>;

impl UnitState {
    /// Reads what GetAll answered for the Unit interface and, of a service, the Service interface.
    /// What is missing becomes empty or 0: systemd versions differ, and a gap must not hide the rest.
    pub(super) fn of(unit: &Properties, service: Option<&Properties>) -> UnitState {
        let invocation: Vec<u8> =
            unit.get("InvocationID").and_then(|v| v.try_clone().ok()?.try_into().ok()).unwrap_or_default();
        UnitState {
            active: ActiveState::of(&text(unit, "ActiveState")),
            sub: text(unit, "SubState"),
            load: text(unit, "LoadState"),
            result: service.map(|s| text(s, "Result")).unwrap_or_default(),
            invocation: invocation.iter().map(|byte| format!("{byte:02x}")).collect(),
            restarts: service
                .and_then(|s| s.get("NRestarts")?.downcast_ref::<u32>().ok())
                .unwrap_or_default(),
            changed_us: unit
                .get("StateChangeTimestamp")
                .and_then(|v| v.downcast_ref::<u64>().ok())
                .unwrap_or_default(),
        }
    }
}

fn text(properties: &Properties, name: &str) -> String {
    properties.get(name).and_then(|v| v.downcast_ref::<&str>().ok()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::Variant;

    fn owned(value: impl Into<Variant<'static>>) -> OwnedVariant {
        value.into().try_to_owned().unwrap()
    }

    #[test]
    fn a_snapshot_is_read_and_gaps_are_empty() {
        let unit = HashMap::from([
            ("ActiveState".to_owned(), owned("failed")),
            ("InvocationID".to_owned(), owned(vec![1u8, 0xab])),
            ("StateChangeTimestamp".to_owned(), owned(7u64)),
        ]);
        let service =
            HashMap::from([("Result".to_owned(), owned("exit-code")), ("NRestarts".to_owned(), owned(3u32))]);
        let state = UnitState::of(&unit, Some(&service));
        assert_eq!(state.active, ActiveState::Failed);
        assert_eq!((state.invocation.as_str(), state.restarts, state.changed_us), ("01ab", 3, 7));
        assert_eq!((state.result.as_str(), state.sub.as_str()), ("exit-code", ""));
        assert_eq!(UnitState::of(&HashMap::new(), None).active, ActiveState::Other);
    }

    #[test]
    fn every_state_is_read_as_it_is_written() {
        use ActiveState::*;
        for state in [Active, Reloading, Inactive, Failed, Activating, Deactivating, Other] {
            assert_eq!(ActiveState::of(state.as_str()), state);
        }
    }
}

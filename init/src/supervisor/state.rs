//! The states of a service, and what the machine as a whole is heading for.

use serde::Serialize;

/// Where a service is in its life. Times are in the supervisor's milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Not started yet: something it starts after has not been ready.
    Waiting,
    /// Spawned, and not ready yet.
    Starting {
        /// When it was spawned.
        since_ms: u64,
    },
    /// Doing its work.
    Ready {
        /// When it said so.
        since_ms: u64,
    },
    /// Asked to end by SIGTERM.
    Stopping {
        /// When it is killed.
        until_ms: u64,
    },
    /// Its cgroup was killed; the exit is on its way.
    Killing,
    /// Dead, and to be started again.
    Backoff {
        /// When.
        until_ms: u64,
    },
    /// Dead for good: the machine is going down.
    Stopped,
}

impl State {
    /// Whether a process exists in this state.
    pub fn has_process(self) -> bool {
        matches!(self, State::Starting { .. } | State::Ready { .. } | State::Stopping { .. } | State::Killing)
    }

    /// Whether a service may go from this state to `next`: the table in the module's head.
    pub fn can_become(self, next: State) -> bool {
        use State::{Backoff, Killing, Ready, Starting, Stopped, Stopping, Waiting};
        matches!(
            (self, next),
            (Waiting | Backoff { .. }, Starting { .. } | Stopped)
                | (Starting { .. }, Ready { .. } | Stopping { .. } | Killing | Backoff { .. } | Stopped)
                | (Ready { .. }, Stopping { .. } | Killing | Backoff { .. } | Stopped)
                | (Stopping { .. }, Killing | Backoff { .. } | Stopped)
                | (Killing, Backoff { .. } | Stopped)
        )
    }
}

/// What the machine is heading for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Run.
    Run,
    /// Stop everything, then switch off.
    PowerOff,
    /// Stop everything, then start again.
    Reboot,
}

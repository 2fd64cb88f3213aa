//! What init tells about the machine and its services, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cgroup::Cgroups;
use super::life::Service;
use crate::machine::quota::Quotas;
use crate::reset::Reset;
use crate::slots::history::Rollback;
use crate::supervisor::{State, Supervisor};

/// A service on the pages.
#[derive(Debug, Serialize)]
pub struct ServiceStatus {
    /// Name.
    pub name: String,
    /// One line of what it is.
    pub description: String,
    /// `waiting`, `starting`, `ready`, `stopping`, `killing`, `backoff` or `stopped`.
    pub state: String,
    /// Whether the box counts as ready without it.
    pub required: bool,
    /// Pid, while it has a process.
    pub pid: Option<i32>,
    /// Restarts since boot.
    pub restarts: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Seconds in this state since its start or readiness; until the next try for `backoff`.
    pub seconds: u64,
    /// Its own last word on how it is.
    pub status: String,
    /// How its last life ended.
    pub last_exit: Option<String>,
    /// Bytes of memory, where the controller exists.
    pub memory_bytes: Option<u64>,
    /// Bytes that it keeps in state, where quotas are held.
    pub state_bytes: Option<u64>,
    /// Bytes that it may keep there.
    pub state_bytes_max: Option<u64>,
    /// Processes of it that the kernel killed for want of memory since boot, where the controller exists.
    pub oom_kills: Option<u64>,
    /// Last lines of output.
    pub lines: Vec<String>,
}

/// One entry for each service, by name.
pub fn services(
    now_ms: u64,
    supervisor: &Supervisor,
    services: &BTreeMap<String, Service>,
    cgroups: &Cgroups,
    quotas: Option<&Quotas>,
) -> Vec<ServiceStatus> {
    let one = |(name, service): (&String, &Service)| {
        let watched = supervisor.services().get(name)?;
        let (state, seconds) = describe(now_ms, watched.state);
        let kept = quotas.and_then(|quotas| quotas.used(service.plan.uid));
        Some(ServiceStatus {
            name: name.clone(),
            description: service.manifest.description.clone(),
            state: state.to_owned(),
            required: service.manifest.required,
            pid: service.process.as_ref().map(|process| process.pid),
            restarts: watched.restarts,
            failures: watched.failures,
            seconds,
            status: service.status.clone(),
            last_exit: service.ended.map(|ended| ended.to_string()),
            memory_bytes: cgroups.memory_bytes(name),
            oom_kills: cgroups.oom_kills(name),
            state_bytes: kept.map(|used| used.bytes),
            state_bytes_max: kept.map(|used| used.bytes_max),
            lines: service.lines.iter().cloned().collect(),
        })
    };
    services.iter().filter_map(one).collect()
}

fn describe(now_ms: u64, state: State) -> (&'static str, u64) {
    let seconds = match state {
        State::Starting { since_ms } | State::Ready { since_ms } => now_ms.saturating_sub(since_ms) / 1000,
        State::Stopping { until_ms } | State::Backoff { until_ms } => {
            until_ms.saturating_sub(now_ms).div_ceil(1000)
        }
        State::Waiting | State::Killing | State::Stopped => 0,
    };
    (state_name(state), seconds)
}

/// A state in a word.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Starting { .. } => "starting",
        State::Ready { .. } => "ready",
        State::Stopping { .. } => "stopping",
        State::Killing => "killing",
        State::Backoff { .. } => "backoff",
        State::Stopped => "stopped",
    }
}

/// The machine on the pages.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MachineStatus {
    /// Vakt's version.
    pub version: String,
    /// Host name.
    pub hostname: String,
    /// `a` or `b`; empty in a container.
    pub slot: String,
    /// Why this slot runs: blessed, or on trial; empty until the boot partition was read.
    pub slot_why: String,
    /// The last slot that was left, and why.
    pub last_rollback: Option<Rollback>,
    /// The last reset, and who asked for it.
    pub last_reset: Option<Reset>,
    /// The verified root's hash in hex; empty in a container.
    pub root_hash: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine id.
    pub machine_id: String,
    /// Seconds from power-on (or start) to all required services ready.
    pub ready_after_s: Option<f64>,
    /// Whether memory, pids and cpu bounds are in force.
    pub bounded: bool,
    /// Why an offered config was refused.
    pub config_refused: Option<String>,
    /// What went wrong on the way up and was lived with.
    pub notes: Vec<String>,
    /// Public SSH keys for peers, by purpose.
    pub ssh_public_keys: BTreeMap<String, String>,
    /// Lines of output that the log service never got.
    pub lines_shed: u64,
}

/// Notes that are kept; a service that says ever new ones is heard no more.
const NOTES_MAX: usize = 32;

impl MachineStatus {
    /// Keeps what a service found wrong, each once.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) && self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    /// The version that `os-release` of the root names (that of this build when it names none) and the
    /// kernel filled in, the rest as it becomes known.
    pub fn of(os_release: &str) -> MachineStatus {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let version = os_release.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="));
        let version = version.unwrap_or(env!("CARGO_PKG_VERSION")).trim_matches('"').to_owned();
        MachineStatus { version, kernel, ..MachineStatus::default() }
    }
}

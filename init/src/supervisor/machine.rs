//! The transition function.

use std::collections::BTreeMap;

use super::backoff::{STABLE_AFTER_MS, restart_delay_ms};
use super::state::{Goal, State};
use crate::manifest::Manifest;

/// From SIGTERM to cgroup.kill: the services' own drain bound (`vakt_wire::life::DRAIN_MAX`, 10 s)
/// and two seconds of grace.
pub const STOP_TIMEOUT_MS: u64 = 12_000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed; nothing else.
    Tick,
    /// The service's process ended, or could not be spawned at all.
    Exited(String),
    /// The service said READY=1.
    Ready(String),
    /// The service is to begin anew in order, for its config is another. One without a process does so
    /// by itself.
    Restart(String),
    /// The machine is to go down.
    Stop(Goal),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start its process; a failure to do so is reported as [`Event::Exited`].
    Spawn(String),
    /// Send SIGTERM to its process.
    Terminate(String),
    /// Kill its whole cgroup.
    Kill(String),
    /// Everything has stopped: switch off or reboot.
    Finish(Goal),
}

/// A service as the supervisor sees it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where it is.
    pub state: State,
    /// Failures in a row; cleared by a life of [`STABLE_AFTER_MS`].
    pub failures: u32,
    /// Restarts since boot.
    pub restarts: u32,
    /// Whether it has been ready since boot; what waits for it may start.
    pub was_ready: bool,
    after: Vec<String>,
    start_timeout_ms: u64,
}

/// All services and the machine's goal.
#[derive(Clone, Debug)]
pub struct Supervisor {
    services: BTreeMap<String, Service>,
    goal: Goal,
    finished: bool,
}

impl Supervisor {
    /// Everything waiting, heading for [`Goal::Run`]. `after` entries that are not among `manifests`
    /// (left out in a container) are dropped.
    pub fn new(manifests: &BTreeMap<String, Manifest>) -> Supervisor {
        let services = manifests
            .iter()
            .map(|(name, manifest)| {
                let after =
                    manifest.after.iter().filter(|other| manifests.contains_key(*other)).cloned().collect();
                let service = Service {
                    state: State::Waiting,
                    failures: 0,
                    restarts: 0,
                    was_ready: false,
                    after,
                    start_timeout_ms: u64::from(manifest.start_timeout_s) * 1000,
                };
                (name.clone(), service)
            })
            .collect();
        Supervisor { services, goal: Goal::Run, finished: false }
    }

    /// The services by name.
    pub fn services(&self) -> &BTreeMap<String, Service> {
        &self.services
    }

    /// What the machine is heading for.
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Takes an event at `now_ms` and says what is to be done. Events about unknown services and
    /// notices from a life that is over change nothing.
    pub fn step(&mut self, now_ms: u64, event: &Event) -> Vec<Action> {
        let mut restarting = None;
        match event {
            Event::Tick => {}
            Event::Exited(name) => self.exited(now_ms, name),
            Event::Ready(name) => self.ready(now_ms, name),
            Event::Restart(name) => restarting = Some(name.as_str()),
            // The first wish counts: a second one does not turn a power-off into a reboot.
            Event::Stop(goal) if self.goal == Goal::Run => self.goal = *goal,
            Event::Stop(_) => {}
        }
        let mut actions = self.overdue(now_ms);
        if let Some(name) = restarting {
            self.restart(now_ms, name, &mut actions);
        }
        match self.goal {
            Goal::Run => self.start_what_may(now_ms, &mut actions),
            goal => self.stop_what_may(now_ms, goal, &mut actions),
        }
        actions
    }

    /// When [`Event::Tick`] is due next, or `None` when only an event can change anything.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.services.values().filter_map(Service::deadline_ms).min()
    }

    fn exited(&mut self, now_ms: u64, name: &str) {
        let goal = self.goal;
        let Some(service) = self.services.get_mut(name).filter(|s| s.state.has_process()) else { return };
        if goal != Goal::Run {
            service.go(State::Stopped);
            return;
        }
        // It was asked to: that is no failure, and there is nothing to wait for.
        if matches!(service.state, State::Stopping { .. }) {
            service.go(State::Backoff { until_ms: now_ms });
            return;
        }
        if let State::Ready { since_ms } = service.state
            && now_ms.saturating_sub(since_ms) >= STABLE_AFTER_MS
        {
            service.failures = 0;
        }
        service.failures = service.failures.saturating_add(1);
        service.go(State::Backoff { until_ms: now_ms + restart_delay_ms(service.failures) });
    }

    fn ready(&mut self, now_ms: u64, name: &str) {
        let Some(service) = self.services.get_mut(name) else { return };
        if matches!(service.state, State::Starting { .. }) {
            service.go(State::Ready { since_ms: now_ms });
            service.was_ready = true;
        }
    }

    fn restart(&mut self, now_ms: u64, name: &str, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(name) else { return };
        if matches!(service.state, State::Starting { .. } | State::Ready { .. }) {
            service.go(State::Stopping { until_ms: now_ms + STOP_TIMEOUT_MS });
            actions.push(Action::Terminate(name.to_owned()));
        }
    }

    fn overdue(&mut self, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for (name, service) in &mut self.services {
            let late = service.deadline_ms().is_some_and(|deadline| now_ms >= deadline);
            if late && matches!(service.state, State::Starting { .. } | State::Stopping { .. }) {
                service.go(State::Killing);
                actions.push(Action::Kill(name.clone()));
            }
        }
        actions
    }

    fn start_what_may(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let may: Vec<String> = self
            .services
            .iter()
            .filter(|(_, service)| match service.state {
                State::Waiting => service.after.iter().all(|other| self.services[other].lets_others_start()),
                State::Backoff { until_ms } => now_ms >= until_ms,
                _ => false,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in may {
            if let Some(service) = self.services.get_mut(&name) {
                service.restarts += u32::from(service.state != State::Waiting);
                service.go(State::Starting { since_ms: now_ms });
                actions.push(Action::Spawn(name));
            }
        }
    }

    /// Stops in the reverse of the start order: a service goes when nothing that starts after it
    /// has a process.
    fn stop_what_may(&mut self, now_ms: u64, goal: Goal, actions: &mut Vec<Action>) {
        let idle = |service: &&mut Service| !service.state.has_process() && service.state != State::Stopped;
        for service in self.services.values_mut().filter(idle) {
            service.go(State::Stopped);
        }
        let needed: Vec<String> = self
            .services
            .values()
            .filter(|service| service.state.has_process())
            .flat_map(|service| service.after.iter().cloned())
            .collect();
        for (name, service) in &mut self.services {
            let runs = matches!(service.state, State::Starting { .. } | State::Ready { .. });
            if runs && !needed.contains(name) {
                service.go(State::Stopping { until_ms: now_ms + STOP_TIMEOUT_MS });
                actions.push(Action::Terminate(name.clone()));
            }
        }
        if !self.finished && self.services.values().all(|service| service.state == State::Stopped) {
            self.finished = true;
            actions.push(Action::Finish(goal));
        }
    }
}

impl Service {
    /// The only way from a state to another: along the table.
    fn go(&mut self, next: State) {
        debug_assert!(self.state.can_become(next), "{:?} must not become {next:?}", self.state);
        self.state = next;
    }

    /// A service that failed holds nobody up: the pages must come up over a broken store.
    fn lets_others_start(&self) -> bool {
        self.was_ready || self.failures > 0
    }

    fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Starting { since_ms } => Some(since_ms + self.start_timeout_ms),
            State::Stopping { until_ms } | State::Backoff { until_ms } => Some(until_ms),
            State::Waiting | State::Ready { .. } | State::Killing | State::Stopped => None,
        }
    }
}

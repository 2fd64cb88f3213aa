//! How the required services are, all together.

use std::collections::BTreeMap;

use super::assess::Health;
use crate::supervisor::{Service, State};

/// The health, and with [`Health::Ill`] what is wrong in a line.
pub fn health(services: &BTreeMap<String, Service>, is_required: impl Fn(&str) -> bool) -> (Health, String) {
    let mut since_ms = 0;
    let mut wrong = Vec::new();
    for (name, service) in services.iter().filter(|(name, _)| is_required(name)) {
        match service.state {
            State::Ready { since_ms: since } => since_ms = since_ms.max(since),
            state => wrong.push(format!("{name} is {}{}", word(state), failures(service.failures))),
        }
    }
    if wrong.is_empty() {
        (Health::Well { since_ms }, String::new())
    } else {
        (Health::Ill, wrong.join(", "))
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting for others",
        State::Starting { .. } => "not ready",
        State::Ready { .. } => "ready",
        State::Stopping { .. } | State::Killing => "being ended",
        State::Backoff { .. } | State::Stopped => "down",
    }
}

fn failures(count: u32) -> String {
    match count {
        0 => String::new(),
        1 => " after a failure".into(),
        _ => format!(" after {count} failures"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use crate::supervisor::{Event, Supervisor};

    #[test]
    fn all_required_services_together_are_well_or_it_is_said_which_is_not() {
        let manifests = ["store", "log", "network"]
            .map(|name| (name.to_owned(), manifest::parse(name, "description='x'\nexec=['/x']").unwrap()));
        let mut supervisor = Supervisor::new(&manifests.into_iter().collect());
        let look = |supervisor: &Supervisor| health(supervisor.services(), |name| name != "network");
        supervisor.step(0, &Event::Tick);
        assert_eq!(look(&supervisor), (Health::Ill, "log is not ready, store is not ready".into()));
        supervisor.step(5, &Event::Ready("log".into()));
        supervisor.step(9, &Event::Ready("store".into()));
        assert_eq!(look(&supervisor).0, Health::Well { since_ms: 9 });
        supervisor.step(10, &Event::Exited("log".into()));
        assert_eq!(look(&supervisor), (Health::Ill, "log is down after a failure".into()));
    }
}

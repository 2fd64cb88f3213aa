//! What is wrong at this moment, from what the services say: pure.

use crate::backend::Panel;
use crate::backend::init::{Machine, Service};
use crate::backend::repair::{PeerLink, Policies};
use crate::form;
use crate::handlers::overview::HostCard;

/// Share of a disk above which it is a problem, and one that does not wait.
const DISK_PERCENT: (f64, f64) = (85.0, 95.0);
/// The same for memory.
const MEMORY_PERCENT: (f64, f64) = (90.0, 97.0);
/// A service that was restarted this often since boot is worth a look.
const RESTARTS: u32 = 3;
/// Problems that are shown.
pub const PROBLEMS_MAX: usize = 30;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `bad` or `warn`: the class of its mark.
    pub level: &'static str,
    /// What, in a sentence.
    pub text: String,
    /// Where to look.
    pub link: String,
}

fn problem(level: &'static str, text: String, link: String) -> Problem {
    Problem { level, text, link }
}

/// Everything that is wrong, worst first.
pub fn find(
    services: &Panel<Vec<Service>>,
    machine: &Panel<Machine>,
    hosts: &Panel<Vec<HostCard>>,
    peers: &Panel<Vec<PeerLink>>,
    policies: &Panel<Policies>,
) -> Vec<Problem> {
    let mut all = Vec::new();
    for service in services.iter().flatten() {
        all.extend(of_service(service));
    }
    if let Ok(machine) = machine {
        all.extend(of_machine(machine));
    }
    for host in hosts.iter().flatten() {
        all.extend(of_host(host));
    }
    for peer in peers.iter().flatten() {
        all.extend(of_peer(peer));
    }
    if let Ok(policies) = policies {
        let text = |name: &str| format!("Policy {name} was refused and is not in force");
        all.extend(
            policies
                .refused
                .iter()
                .map(|refused| problem("warn", text(&refused.name), "/repairs#policies".into())),
        );
    }
    // Stable: within a level the order above stays.
    all.sort_by_key(|problem| problem.level != "bad");
    all.truncate(PROBLEMS_MAX);
    all
}

fn of_service(service: &Service) -> Option<Problem> {
    let name = &service.name;
    let link = form::url("/logs", &[("q", &format!("app_name:={name}")), ("range", "1h")]);
    match service.state.as_str() {
        "ready" if service.restarts >= RESTARTS => {
            let text = format!("Service {name} was restarted {} times since boot", service.restarts);
            Some(problem("warn", text, link))
        }
        "ready" | "starting" | "waiting" => None,
        state => {
            let level = if service.required { "bad" } else { "warn" };
            let ended = service.last_exit.as_deref().map(|exit| format!(" ({exit})")).unwrap_or_default();
            Some(problem(level, format!("Service {name} is not running: {state}{ended}"), link))
        }
    }
}

fn of_machine(machine: &Machine) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(reason) = &machine.config_refused {
        found.push(problem("bad", format!("The offered config was refused: {reason}"), "/#box".into()));
    }
    found.extend(machine.notes.iter().map(|note| problem("warn", note.clone(), "/#box".into())));
    found
}

fn of_host(host: &HostCard) -> Vec<Problem> {
    let mut found = Vec::new();
    if host.is_silent {
        found.push(problem(
            "bad",
            format!("No metrics of {} for five minutes", host.name),
            host.link.clone(),
        ));
    }
    let level = |percent: f64, (warn, bad): (f64, f64)| match percent {
        p if p >= bad => Some("bad"),
        p if p >= warn => Some("warn"),
        _ => None,
    };
    if let Some(level) = level(host.disk.percent, DISK_PERCENT) {
        let text = format!("{}: {} is {} full", host.name, host.disk.name, host.disk.text);
        found.push(problem(level, text, host.link.clone()));
    }
    if let Some(level) = level(host.memory.percent, MEMORY_PERCENT) {
        let text = format!("{}: memory is {} full", host.name, host.memory.text);
        found.push(problem(level, text, host.link.clone()));
    }
    found
}

fn of_peer(peer: &PeerLink) -> Option<Problem> {
    let why = peer.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    match peer.state.as_str() {
        "disconnected" => Some(problem(
            "bad",
            format!("No repair connection to {}{why}", peer.name),
            "/repairs#peers".into(),
        )),
        "no-key" => {
            let text = format!("{} cannot be repaired: there is no repair key in the config", peer.name);
            Some(problem("warn", text, "/repairs#peers".into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::repair::Refused;
    use crate::handlers::overview::Share;

    #[test]
    fn what_is_wrong_is_said_worst_first() {
        let service = |name: &str, state: &str, required| Service {
            name: name.into(),
            state: state.into(),
            required,
            ..Service::default()
        };
        let services = Ok(vec![
            service("log", "ready", true),
            service("store", "backoff", true),
            service("x", "stopped", false),
        ]);
        let share = |percent: f64| Share { name: "/".into(), percent, text: format!("{percent} %") };
        let host =
            HostCard { name: "db1".into(), disk: share(96.0), memory: share(10.0), ..HostCard::default() };
        let peer = PeerLink {
            name: "db1".into(),
            state: "disconnected".into(),
            error: Some("refused".into()),
            ..PeerLink::default()
        };
        let policies = Policies {
            refused: vec![Refused { name: "p".into(), ..Refused::default() }],
            ..Policies::default()
        };
        let found = find(&services, &Err("away".into()), &Ok(vec![host]), &Ok(vec![peer]), &Ok(policies));
        let said: Vec<_> = found.iter().map(|p| format!("{} {}", p.level, p.text)).collect();
        assert_eq!(
            said,
            [
                "bad Service store is not running: backoff",
                "bad db1: / is 96 % full",
                "bad No repair connection to db1: refused",
                "warn Service x is not running: stopped",
                "warn Policy p was refused and is not in force",
            ]
        );
    }

    #[test]
    fn services_that_are_away_are_no_problem_of_their_own_twice() {
        let away = || "not running".to_owned();
        assert!(find(&Err(away()), &Err(away()), &Err(away()), &Err(away()), &Err(away())).is_empty());
    }
}

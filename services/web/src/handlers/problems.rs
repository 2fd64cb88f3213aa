//! What is wrong at this moment, from what the services say: pure.

use crate::backend::Panel;
use crate::backend::collector::Source;
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

/// What the services say.
#[derive(Debug)]
pub struct Known<'a> {
    /// init's services.
    pub services: &'a Panel<Vec<Service>>,
    /// init's machine.
    pub machine: &'a Panel<Machine>,
    /// The store's hosts.
    pub hosts: &'a Panel<Vec<HostCard>>,
    /// repair's connections.
    pub peers: &'a Panel<Vec<PeerLink>>,
    /// repair's policies.
    pub policies: &'a Panel<Policies>,
    /// The collector's sources.
    pub sources: &'a Panel<Vec<Source>>,
}

/// Everything that is wrong, worst first.
pub fn find(known: &Known<'_>) -> Vec<Problem> {
    let mut all = Vec::new();
    all.extend(known.services.iter().flatten().filter_map(of_service));
    all.extend(known.machine.iter().flat_map(of_machine));
    all.extend(known.hosts.iter().flatten().flat_map(of_host));
    all.extend(known.peers.iter().flatten().filter_map(of_peer));
    all.extend(known.sources.iter().flatten().filter_map(of_source));
    let refused = known.policies.iter().flat_map(|policies| &policies.refused);
    all.extend(refused.map(|refused| {
        let text = format!("Policy {} was refused and is not in force", refused.name);
        problem("warn", text, "/repairs#policies".into())
    }));
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

fn of_source(source: &Source) -> Option<Problem> {
    let error = source.error.as_ref().filter(|_| !source.is_unavailable())?;
    Some(problem("warn", format!("No metrics from {}: {error}", source.name), "/#sources".into()))
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
        let source = |name: &str, error: &str| Source {
            name: name.into(),
            error: Some(error.into()),
            ..Source::default()
        };
        let sources = vec![
            source("ebpf/runqlat", "unavailable: no BTF"),
            source("peer/db1", "refused"),
            Source::default(),
        ];
        let found = find(&Known {
            services: &services,
            machine: &Err("away".into()),
            hosts: &Ok(vec![host]),
            peers: &Ok(vec![peer]),
            policies: &Ok(policies),
            sources: &Ok(sources),
        });
        let said: Vec<_> = found.iter().map(|p| format!("{} {}", p.level, p.text)).collect();
        assert_eq!(
            said,
            [
                "bad Service store is not running: backoff",
                "bad db1: / is 96 % full",
                "bad No repair connection to db1: refused",
                "warn Service x is not running: stopped",
                "warn No metrics from peer/db1: refused",
                "warn Policy p was refused and is not in force",
            ]
        );
    }

    #[test]
    fn services_that_are_away_are_no_problem_of_their_own_twice() {
        let known = Known {
            services: &Err("away".into()),
            machine: &Err("away".into()),
            hosts: &Err("away".into()),
            peers: &Err("away".into()),
            policies: &Err("away".into()),
            sources: &Err("away".into()),
        };
        assert!(find(&known).is_empty());
    }
}

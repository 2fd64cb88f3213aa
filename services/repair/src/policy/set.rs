//! The policies of a config: those in force, and those refused.

use serde::Serialize;
use vakt_wire::config::MachineConfig;

use super::{POLICIES_MAX, Peers, Policy, parse};

/// A policy that is not in force, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its name in the config.
    pub name: String,
    /// Which document the place is in.
    pub file: String,
    /// Line, from 1; 0 when it is about the whole document.
    pub line: u64,
    /// Column, from 1; 0 when it is about the whole document.
    pub column: u64,
    /// What is wrong.
    pub reason: String,
}

/// All policies of a config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    /// In force.
    pub valid: Vec<Policy>,
    /// Not in force.
    pub refused: Vec<Refused>,
}

impl PolicySet {
    /// Reads every policy of `config`. One that is wrong is refused, and the others stay in force: wrong in
    /// itself, called otherwise than in the config, about a machine that the config does not have, or
    /// about what an earlier one repairs already.
    pub fn of(config: &MachineConfig) -> PolicySet {
        let mut set = PolicySet::default();
        for entry in &config.policies {
            let refused = |line, column, reason| Refused {
                name: entry.name.to_string(),
                file: format!("policy {:?} in the config", entry.name.as_str()),
                line,
                column,
                reason,
            };
            let read = parse(&entry.yaml).map_err(|r| refused(r.line, r.column, r.reason));
            let fits = |policy: Policy| match set.objection(&policy, entry.name.as_str(), config) {
                Some(reason) => Err(refused(0, 0, reason)),
                None => Ok(policy),
            };
            match read.and_then(fits) {
                Ok(policy) => set.valid.push(policy),
                Err(refused) => set.refused.push(refused),
            }
        }
        set
    }

    fn objection(&self, policy: &Policy, name: &str, config: &MachineConfig) -> Option<String> {
        if self.valid.len() == POLICIES_MAX {
            return Some(format!("there are {POLICIES_MAX} policies in force already"));
        }
        if policy.name.as_str() != name {
            return Some(format!(
                "the document says name: {}, the config {name:?}; use one name",
                policy.name
            ));
        }
        if let Peers::Only(names) = &policy.peers {
            let known = |name: &str| config.peers.iter().any(|peer| peer.name.as_str() == name);
            if let Some(stranger) = names.iter().find(|name| !known(name.as_str())) {
                return Some(format!(
                    "peer {:?} is not in the config; add it as a [[peer]]",
                    stranger.as_str()
                ));
            }
        }
        let same = |other: &&Policy| other.unit == policy.unit && other.state == policy.state;
        let shared = |other: &Policy| {
            let both = |name: &str| policy.peers.include(name) && other.peers.include(name);
            config.peers.iter().map(|peer| peer.name.to_string()).find(|name| both(name))
        };
        self.valid.iter().filter(same).find_map(|other| {
            let peer = shared(other)?;
            Some(format!("policy {:?} repairs {} on {peer} already", other.name.as_str(), policy.unit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(name: &str, peers: &str, state: &str) -> String {
        format!(
            "version: 1\\nname: {name}\\nmatch: {{unit: a.service, peers: {peers}, state: {state}}}\\n\
             action: {{verb: restart}}\\nverify: {{active_for: 1s}}\\n"
        )
    }

    /// Policies as (name in the config, YAML); what is said about the last one.
    fn check(policies: &[(&str, String)], expected: &str) {
        let mut text = "version = 1\n".to_owned();
        for peer in ["db1", "db2"] {
            text += &format!(
                "[[peer]]\nname = \"{peer}\"\naddress = \"192.0.2.1:22\"\nhost_key = \"ssh-ed25519 AAAA\"\n"
            );
        }
        for (name, yaml) in policies {
            text += &format!("[[policy]]\nname = \"{name}\"\nyaml = \"{yaml}\"\n");
        }
        let set = PolicySet::of(&vakt_wire::config::parse(&text).unwrap());
        let said = set.refused.last().map_or("in force".to_owned(), |refused| refused.reason.clone());
        assert!(said.contains(expected), "{policies:?}: said {said:?}, expected {expected:?}");
        assert_eq!(set.valid.len() + set.refused.len(), policies.len());
    }

    #[test]
    fn one_bad_policy_is_refused_and_the_others_stay() {
        let good = || ("a", yaml("a", "[db1]", "failed"));
        check(&[good()], "in force");
        check(&[good(), ("b", yaml("b", "[db2]", "failed"))], "in force");
        check(&[good(), ("b", yaml("b", "all", "inactive"))], "in force");
        check(&[good(), ("b", yaml("b", "all", "failed"))], "policy \"a\" repairs a.service on db1 already");
        check(&[good(), ("b", yaml("c", "[db2]", "failed"))], "says name: c, the config \"b\"");
        check(&[good(), ("b", yaml("b", "[db9]", "failed"))], "peer \"db9\" is not in the config");
        check(&[good(), ("b", "version: 2".into())], "this build reads version 1");
    }
}

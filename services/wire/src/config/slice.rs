//! What of the machine config each service gets to see.

use super::forward::ReadFrom;
use super::types::{MachineConfig, Ssh};
use crate::role::Role;

impl MachineConfig {
    /// The part of this config that `role` needs, everything else at its default: a service that is
    /// taken over holds no other's secrets.
    pub fn slice_for(&self, role: Role) -> MachineConfig {
        let base = MachineConfig { hostname: self.hostname.clone(), ..MachineConfig::default() };
        match role {
            Role::Init => self.clone(),
            Role::Network => MachineConfig { network: self.network.clone(), ..base },
            Role::Collector => MachineConfig {
                peers: self.peers.clone(),
                scrape: self.scrape.clone(),
                scrape_jobs: self.scrape_jobs.clone(),
                ssh: Ssh { read_key: self.ssh.read_key.clone(), repair_key: None },
                ..base
            },
            Role::Repair => MachineConfig {
                peers: self.peers.clone(),
                policies: self.policies.clone(),
                ssh: Ssh { read_key: None, repair_key: self.ssh.repair_key.clone() },
                ..base
            },
            Role::Web => MachineConfig {
                admin: self.admin.clone(),
                tls: self.tls.clone(),
                tokens: self.tokens.clone(),
                peers: self.peers.clone(),
                read_from: self.read_from.as_ref().map(ReadFrom::shown),
                ..base
            },
            Role::Egress => {
                MachineConfig { forwards: self.forwards.clone(), read_from: self.read_from.clone(), ..base }
            }
            Role::Probe => MachineConfig { scrape: self.scrape.clone(), ..base },
            Role::Time => MachineConfig { time: self.time.clone(), ..base },
            Role::Update => MachineConfig { update: self.update.clone(), ..base },
            Role::Log | Role::Store => base,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_update_is_told_of_the_repository() {
        let text = "version = 1\n[update]\nrepository = \"https://u.example.org\"\ncheck = \"off\"";
        let config = crate::config::parse(text).unwrap();
        for role in Role::ALL {
            let told = config.slice_for(role).update.repository.is_some();
            assert_eq!(told, matches!(role, Role::Init | Role::Update), "{role}");
        }
    }

    #[test]
    fn only_web_is_told_the_key_of_the_pages() {
        let text = "version = 2\n[tls]\ncertificate = \"-----BEGIN CERTIFICATE-----\"\nkey = \"-----BEGIN PRIVATE KEY-----\"";
        let config = crate::config::parse(text).unwrap();
        for role in Role::ALL {
            let told = config.slice_for(role).tls.key.is_some();
            assert_eq!(told, matches!(role, Role::Init | Role::Web), "{role}");
        }
    }

    #[test]
    fn only_egress_is_told_where_samples_are_sent_and_with_which_secret() {
        let text = "version = 1\n[[forward]]\nname = \"a\"\nurl = \"http://a/w\"\nbearer = \"t\"";
        let config = crate::config::parse(text).unwrap();
        for role in Role::ALL {
            let told = !config.slice_for(role).forwards.is_empty();
            assert_eq!(told, matches!(role, Role::Init | Role::Egress), "{role}");
        }
    }

    #[test]
    fn web_is_told_where_its_numbers_are_from_and_egress_alone_with_which_secret() {
        let text = "version = 1\n[read_from]\nurl = \"http://a/x\"\nbearer = \"t\"";
        let config = crate::config::parse(text).unwrap();
        for role in Role::ALL {
            let told = config.slice_for(role).read_from;
            assert_eq!(told.is_some(), matches!(role, Role::Init | Role::Egress | Role::Web), "{role}");
            let secret = told.is_some_and(|read_from| read_from.bearer.is_some());
            assert_eq!(secret, matches!(role, Role::Init | Role::Egress), "{role}");
        }
    }

    #[test]
    fn only_the_collector_and_repair_see_their_own_ssh_key() {
        let text = "version = 1\n[ssh]\nread_key = \"-----BEGIN OPENSSH PRIVATE KEY-----r\"\n\
                    repair_key = \"-----BEGIN OPENSSH PRIVATE KEY-----w\"";
        let config = crate::config::parse(text).unwrap();
        for role in Role::ALL {
            let ssh = config.slice_for(role).ssh;
            assert_eq!(ssh.read_key.is_some(), matches!(role, Role::Init | Role::Collector), "{role}");
            assert_eq!(ssh.repair_key.is_some(), matches!(role, Role::Init | Role::Repair), "{role}");
        }
    }
}

//! The shape of the machine config.

use serde::{Deserialize, Serialize};

use super::forward::{Forward, ReadFrom};
use super::network::{Network, Time};
use super::scrape_job::ScrapeJob;
use super::value::{
    Authorities, HostKey, HostPort, Hostname, Name, PasswordHash, RepositoryUrl, Rhythm, Seconds, Sha256Hex,
    SshKey, TlsKey, UserName,
};

/// The whole document. Every part but `version` may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineConfig {
    /// The version of this format; 2.
    pub version: u32,
    /// The box' name. Default `vakt`.
    #[serde(default)]
    pub hostname: Hostname,
    /// Addresses. Default: DHCP on every Ethernet interface.
    #[serde(default)]
    pub network: Network,
    /// Where the time comes from. Default: from the servers that DHCP names.
    #[serde(default)]
    pub time: Time,
    /// Who signs in first. Without it the first visitor sets the password with the set-up code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// The certificate of the pages. Without it the box makes one of its own.
    #[serde(default, skip_serializing_if = "Tls::is_default")]
    pub tls: Tls,
    /// Bearer tokens of programs.
    #[serde(default, rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
    /// The keys with which the box signs in to peers. Made at first boot when absent.
    #[serde(default)]
    pub ssh: Ssh,
    /// The machines that are watched.
    #[serde(default, rename = "peer", skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
    /// How the box measures itself.
    #[serde(default)]
    pub scrape: Scrape,
    /// Endpoints that speak Prometheus' format.
    #[serde(default, rename = "scrape_job", skip_serializing_if = "Vec::is_empty")]
    pub scrape_jobs: Vec<ScrapeJob>,
    /// What is repaired, and how.
    #[serde(default, rename = "policy", skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// Where every sample is sent as well.
    #[serde(default, rename = "forward", skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<Forward>,
    /// Where the pages read metrics from, when not from the box' own store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_from: Option<ReadFrom>,
    /// Where updates come from.
    #[serde(default)]
    pub update: Update,
}

impl Default for MachineConfig {
    fn default() -> MachineConfig {
        MachineConfig {
            version: super::migrate::VERSION,
            hostname: Hostname::default(),
            network: Network::default(),
            time: Time::default(),
            admin: None,
            tls: Tls::default(),
            tokens: Vec::new(),
            ssh: Ssh::default(),
            peers: Vec::new(),
            scrape: Scrape::default(),
            scrape_jobs: Vec::new(),
            policies: Vec::new(),
            forwards: Vec::new(),
            read_from: None,
            update: Update::default(),
        }
    }
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The name to sign in with.
    pub user: UserName,
    /// argon2id in PHC form, as `vakt-web hash-password` prints it.
    pub password_hash: PasswordHash,
}

/// `[tls]`: what the pages are served with. Both or neither are there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate in PEM, and those between it and its authority behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Authorities>,
    /// Its key in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<TlsKey>,
}

impl Tls {
    fn is_default(&self) -> bool {
        *self == Tls::default()
    }
}

/// `[[token]]`: only the token's hash is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What it is for; shown on pages and in the audit.
    pub name: Name,
    /// SHA-256 of the token's bytes, in hex.
    pub sha256: Sha256Hex,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Query metrics.
    #[serde(rename = "metrics:read")]
    MetricsRead,
    /// Push metrics.
    #[serde(rename = "metrics:write")]
    MetricsWrite,
    /// Delete series, take snapshots of the store and have its rule files read anew.
    #[serde(rename = "metrics:admin")]
    MetricsAdmin,
    /// Query logs.
    #[serde(rename = "logs:read")]
    LogsRead,
    /// Push logs.
    #[serde(rename = "logs:write")]
    LogsWrite,
    /// See the machine config and its history, without secrets.
    #[serde(rename = "config:read")]
    ConfigRead,
    /// See which update is available and how the last one ended.
    #[serde(rename = "update:read")]
    UpdateRead,
    /// Install signed updates.
    #[serde(rename = "update:write")]
    UpdateWrite,
    /// Reset the box: its settings, or everything.
    #[serde(rename = "reset")]
    Reset,
    /// Take a backup, which holds every secret, encrypted by the passphrase of who asks.
    #[serde(rename = "backup:read")]
    BackupRead,
    /// Restore a backup: this is to be the administrator.
    #[serde(rename = "backup:write")]
    BackupWrite,
    /// Change the machine config: this is to be the administrator.
    #[serde(rename = "config:write")]
    ConfigWrite,
}

/// `[ssh]`: OpenSSH private keys, whole files as multi-line strings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// Signs in as each peer's `read_user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_key: Option<SshKey>,
    /// Signs in as each peer's `repair_user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_key: Option<SshKey>,
}

/// `[[peer]]`: one machine that is watched, with nothing installed on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its name here; becomes the `instance` label.
    pub name: Name,
    /// Where its sshd listens.
    pub address: HostPort,
    /// Its host key, pinned: `ssh-ed25519 AAAA…`, as in its /etc/ssh/ssh_host_ed25519_key.pub.
    pub host_key: HostKey,
    /// The user without rights, for reading.
    #[serde(default = "read_user")]
    pub read_user: UserName,
    /// The user that polkit lets restart units.
    #[serde(default = "repair_user")]
    pub repair_user: UserName,
    /// Time between two scrapes.
    #[serde(default = "Seconds::fifteen")]
    pub interval: Seconds,
}

fn read_user() -> UserName {
    UserName::new("vakt-read")
}

fn repair_user() -> UserName {
    UserName::new("vakt-repair")
}

/// `[scrape]`: how the box measures itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scrape {
    /// Time between two scrapes of the box itself, 1s to 15s.
    #[serde(default = "Seconds::five")]
    pub interval: Seconds,
    /// Load the eBPF programs.
    #[serde(default = "yes")]
    pub ebpf: bool,
}

impl Default for Scrape {
    fn default() -> Scrape {
        Scrape { interval: Seconds::five(), ebpf: true }
    }
}

fn yes() -> bool {
    true
}

/// `[[policy]]`: a repair policy in YAML; vakt-repair validates it and shows what it refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its name, unique; shown with each repair.
    pub name: Name,
    /// The document.
    pub yaml: String,
}

/// `[update]`: where signed updates come from. Who may sign them is not said here: that is in the image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The repository: the directory with `metadata/` and `targets/`. Without it only archives that
    /// are uploaded are installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryUrl>,
    /// How often the repository is looked at. Nothing is installed by that. Default: every 6 hours.
    #[serde(default)]
    pub check: Rhythm,
    /// Certificates that the repository's server may be known by, in PEM; the public ones when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<Authorities>,
}

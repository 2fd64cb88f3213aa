//! The machine config: one TOML document, `version = 2`, that says everything about a box.
//!
//! It is parsed once at each edge into [`MachineConfig`]; a wrong one is refused with the key, the
//! place and an example ([`ConfigError`]) and the one before stays in force. init owns the file and
//! hands each service only its own slice ([`MachineConfig::slice_for`]), in the same format.

pub mod edit;
mod error;
mod forward;
mod migrate;
mod network;
mod network_check;
mod parse;
mod scrape_job;
mod slice;
mod types;
mod value;

pub use error::ConfigError;
pub use forward::{Forward, ReadFrom};
pub use migrate::{EMPTY, VERSION, current, version};
pub use network::{
    Bond, Interface, Limit, Mac, Miimon, Mtu, Network, Port, Time, TimeHost, TimeServer, Vlan, VlanId,
};
pub use network_check::{INTERFACES_MAX, TIME_SERVERS_MAX};
pub use parse::{BYTES_MAX, FORWARDS_MAX, parse};
pub use scrape_job::{Action, BasicAuth, Relabel, Scheme, ScrapeJob, ScrapeTls};
pub use types::{Admin, MachineConfig, Peer, Policy, Scope, Scrape, Ssh, Tls, Token, Update};
pub use value::{
    Authorities, Cidr, Credential, HostKey, HostPort, Hostname, Name, PasswordHash, QueryUrl, RepositoryUrl,
    Rhythm, Seconds, Sha256Hex, SshKey, Tenant, TlsKey, UserName, WriteUrl,
};

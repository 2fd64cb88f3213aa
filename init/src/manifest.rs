//! A service as data: one TOML file an image ships under `/usr/lib/vakt/services/`.
//!
//! The file's stem is the service's name and its [`Role`]. Unknown keys are refused, so that a typing
//! error never silently loosens a sandbox.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vakt_wire::role::Role;

/// More services than this are a mistake, not an appliance.
pub const SERVICES_MAX: usize = 32;

/// What all services together may take of the state partition; the rest is the reserve.
const STATE_PERCENT_MAX: u32 = 90;

/// Largest manifest that is read, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// One service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// One line for pages.
    pub description: String,
    /// Program and arguments; the program is an absolute path in the image.
    pub exec: Vec<String>,
    /// Services that this one starts after (ready once, or failed) and stops before.
    #[serde(default)]
    pub after: Vec<String>,
    /// Whether the box counts as not ready without it. A new slot is blessed only when all required
    /// services are well, so what depends on the world outside (addresses, updates) must not be.
    #[serde(default = "yes")]
    pub required: bool,
    /// It is not restarted to make room when memory is short: what was measured and logged is kept there, and the
    /// operator comes in there.
    #[serde(default)]
    pub critical: bool,
    /// From spawn to `READY=1`; past it the service is killed and counts as failed.
    #[serde(default = "start_timeout")]
    pub start_timeout_s: u32,
    /// It is handed the partition of the slot that does not run, read-write, as `slot` among its sockets.
    /// Where there is none, it is not.
    #[serde(default)]
    pub slot: bool,
    /// Only where the network is the machine's own: in the booted image, or in a container with `--own-network`.
    #[serde(default)]
    pub machine_only: bool,
    /// Sockets that init opens and hands over.
    #[serde(default)]
    pub listen: Vec<Listen>,
    /// cgroup v2 and rlimit bounds.
    #[serde(default)]
    pub limits: Limits,
    /// What the service may see and do.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// The system calls that were recorded of it (`NAME.calls` beside the manifest, one a line); `None` without
    /// such a file.
    #[serde(skip)]
    pub calls: Option<Vec<String>>,
}

fn yes() -> bool {
    true
}

fn start_timeout() -> u32 {
    90
}

/// A socket to open: exactly one of the addresses.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
    /// A unix stream socket's path.
    pub unix: Option<PathBuf>,
    /// A unix datagram socket's path.
    pub unix_datagram: Option<PathBuf>,
    /// A TCP address.
    pub tcp: Option<SocketAddr>,
    /// A UDP address.
    pub udp: Option<SocketAddr>,
    /// A raw ICMPv6 socket to send by, which hears nothing; none where the kernel has no IPv6.
    #[serde(default)]
    pub icmp6: bool,
    /// Whether the firewall lets everybody in there; not where a client asks from, whose answers it knows.
    #[serde(default = "yes")]
    pub open: bool,
}

/// Bounds on resources.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// `memory.max`, in MiB.
    pub memory_max_mib: u32,
    /// `pids.max`: threads count.
    pub pids_max: u32,
    /// `cpu.weight`, 1 to 10000.
    pub cpu_weight: u32,
    /// `RLIMIT_NOFILE`.
    pub nofile_max: u32,
    /// Of the state partition, for the directories that it may write; 0 for a service that keeps nothing.
    pub state_percent: u8,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_max_mib: 64, pids_max: 32, cpu_weight: 100, nofile_max: 1024, state_percent: 0 }
    }
}

/// The room that the service lives in. Everything that is not listed is not there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sandbox {
    /// Share the machine's network namespace; otherwise an empty one.
    pub network: bool,
    /// Socket kinds that socket(2) may make.
    pub sockets: Vec<SocketKind>,
    /// TCP ports that may be connected to; 0 stands for any.
    pub tcp_connect: Vec<u16>,
    /// Paths to read.
    pub read: Vec<PathBuf>,
    /// Directories to read and write; made, and owned by the service, when absent.
    pub write: Vec<PathBuf>,
    /// Device nodes to open.
    pub devices: Vec<PathBuf>,
    /// Services whose `/run/vakt/<name>/` is visible.
    pub calls: Vec<String>,
    /// File systems to measure: an empty directory of each appears at its mount point, so that
    /// statvfs(2) tells of it and nothing in it is seen.
    pub measure: Vec<PathBuf>,
    /// Resolve names: `/etc` with hosts and resolv.conf, as the network service keeps them.
    pub names: bool,
    /// Directories of kernel settings to look at, below /proc/sys; those that the kernel lacks are passed over.
    pub settings: Vec<PathBuf>,
    /// The machine's /proc, read-only.
    pub proc: bool,
    /// The machine's /sys, read-only.
    pub sys: bool,
    /// Capabilities kept, as `CAP_BPF`.
    pub capabilities: Vec<String>,
    /// Further system calls, by group.
    pub syscalls: Vec<SyscallGroup>,
}

/// A kind of socket that seccomp lets socket(2) make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketKind {
    /// AF_UNIX, stream and datagram.
    Unix,
    /// TCP over IPv4 and IPv6.
    Tcp,
    /// UDP over IPv4 and IPv6.
    Udp,
    /// NETLINK_ROUTE.
    NetlinkRoute,
    /// NETLINK_NETFILTER.
    NetlinkNetfilter,
}

/// System calls beyond what every service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyscallGroup {
    /// bpf(2).
    Bpf,
}

/// Why the manifests cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The directory or a file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is not a manifest.
    #[error("{path}: {reason}")]
    Invalid {
        /// The path.
        path: PathBuf,
        /// What is wrong, with the line where TOML can tell.
        reason: String,
    },
}

/// Reads all manifests of a directory, by name.
///
/// # Errors
/// [`ManifestError`] for the first file that is not a valid manifest; nothing is skipped.
pub fn load(directory: &Path) -> Result<BTreeMap<String, Manifest>, ManifestError> {
    let read = |source| ManifestError::Read { path: directory.to_owned(), source };
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let (name, manifest) = load_one(&path)?;
        all.insert(name, manifest);
    }
    check_together(directory, &all)?;
    Ok(all)
}

/// Reads one manifest with what lies beside it, and its name.
///
/// # Errors
/// [`ManifestError`] when it is not valid.
pub fn load_one(path: &Path) -> Result<(String, Manifest), ManifestError> {
    let read = |source| ManifestError::Read { path: path.to_owned(), source };
    let invalid = |reason: String| ManifestError::Invalid { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(read)?.len();
    if size > BYTES_MAX {
        return Err(invalid(format!("{size} bytes; at most {BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut manifest = parse(&name, &text).map_err(invalid)?;
    manifest.calls = load_calls(&path.with_extension("calls"))?;
    Ok((name, manifest))
}

/// A list that cannot be read must not become one that allows more.
fn load_calls(path: &Path) -> Result<Option<Vec<String>>, ManifestError> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|source| ManifestError::Read { path: path.to_owned(), source })?,
    };
    let mut text = String::new();
    let read = std::io::Read::read_to_string(&mut std::io::Read::take(file, BYTES_MAX), &mut text);
    read.map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
    Ok(Some(text.lines().map(str::to_owned).collect()))
}

/// Parses the manifest of service `name`.
///
/// # Errors
/// A text that says what is wrong.
pub fn parse(name: &str, text: &str) -> Result<Manifest, String> {
    let manifest: Manifest = toml::from_str(text).map_err(|error| error.to_string())?;
    if Role::of_name(name).is_none() {
        return Err(format!("{name:?} has no role, and so no uid, in services/wire/src/role.rs"));
    }
    if !manifest.exec.first().is_some_and(|program| program.starts_with('/')) {
        return Err("exec must begin with an absolute path".into());
    }
    for listen in &manifest.listen {
        let addresses = usize::from(listen.unix.is_some())
            + usize::from(listen.unix_datagram.is_some())
            + usize::from(listen.tcp.is_some())
            + usize::from(listen.udp.is_some())
            + usize::from(listen.icmp6);
        if addresses != 1 {
            return Err(format!(
                "listen {:?} needs exactly one of unix, unix_datagram, tcp, udp and icmp6",
                listen.name
            ));
        }
    }
    for capability in &manifest.sandbox.capabilities {
        capability.parse::<caps::Capability>().map_err(|_| format!("{capability:?} is no capability"))?;
    }
    Ok(manifest)
}

fn check_together(directory: &Path, all: &BTreeMap<String, Manifest>) -> Result<(), ManifestError> {
    let invalid = |name: &str, reason: String| ManifestError::Invalid {
        path: directory.join(format!("{name}.toml")),
        reason,
    };
    if all.len() > SERVICES_MAX {
        return Err(invalid("", format!("{} services; at most {SERVICES_MAX}", all.len())));
    }
    let shares: u32 = all.values().map(|manifest| u32::from(manifest.limits.state_percent)).sum();
    if shares > STATE_PERCENT_MAX {
        let reason = format!("the services take {shares} % of state; at most {STATE_PERCENT_MAX} %");
        return Err(invalid("", reason));
    }
    for (name, manifest) in all {
        let others = manifest.after.iter().chain(&manifest.sandbox.calls);
        if let Some(unknown) = others.into_iter().find(|other| *other != "init" && !all.contains_key(*other))
        {
            return Err(invalid(name, format!("names {unknown:?}, which is no service")));
        }
        if reaches(all, name, name, SERVICES_MAX) {
            return Err(invalid(name, "starts after itself".into()));
        }
    }
    Ok(())
}

/// Does following `after` from `from` lead to `goal` within `steps` steps?
fn reaches(all: &BTreeMap<String, Manifest>, from: &str, goal: &str, steps: usize) -> bool {
    let Some(manifest) = all.get(from).filter(|_| steps > 0) else { return false };
    manifest.after.iter().any(|next| next == goal || reaches(all, next, goal, steps - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str, expected: &str) {
        let said = parse(name, text).map_or_else(|error| error, |_| "ok".into());
        assert!(said.contains(expected), "{text:?} gave {said:?}");
    }

    #[test]
    fn a_manifest_is_refused_for_what_it_does_not_know() {
        check("store", "description = 'x'\nexec = ['/b']", "ok");
        check("shop", "description = 'x'\nexec = ['/b']", "has no role");
        check("store", "description = 'x'\nexec = ['b']", "absolute");
        check("store", "description = 'x'\nexec = ['/b']\n[sandbox]\nreed = []", "unknown field `reed`");
        check(
            "store",
            "description = 'x'\nexec = ['/b']\n[sandbox]\ncapabilities = ['CAP_ALL']",
            "no capability",
        );
        check("store", "description = 'x'\nexec = ['/b']\n[[listen]]\nname = 'a'", "exactly one");
    }

    #[test]
    fn the_manifests_of_the_image_are_valid_and_have_no_cycle() {
        let overlay = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../buildroot-overlay/board/vakt/rootfs_overlay/usr/lib/vakt/services"
        );
        let all = load(Path::new(overlay)).unwrap();
        assert!(all.contains_key("web") && all.contains_key("store"));
    }
}

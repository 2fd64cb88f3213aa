//! `vakt-init exposure`: what each service's room leaves open, as a table; with `--unit NAME` as the systemd
//! unit that closes the same, for `systemd-analyze security --offline=yes` to judge (systemd.exec(5)).
//!
//! Whom a service may talk to depends on the machine config (`--config FILE`); without one it is told as for peers
//! and a repository by name, which is the most that a config can open.
//!
//! A line is written only for what the room enforces; `qemu-tests/tests/sandbox_escapes.rs` tries each.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use vakt_wire::role::Role;

use crate::manifest::{self, Manifest, SocketKind, SyscallGroup};
use crate::sandbox::addresses::{Prefix, lists};
use crate::sandbox::{Access, Plan, calls};

/// The services' manifests in the image.
const MANIFESTS: &str = "/usr/lib/vakt/services";

/// True of every room, whatever its manifest says, and where it is closed.
const EVERY_ROOM: &[&str] = &[
    // privileges.rs
    "NoNewPrivileges=yes",
    "UMask=0077",
    "LimitCORE=0",
    // root.rs: a root of its own in which only listed paths appear.
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectControlGroups=yes",
    // Namespaces of its own.
    "PrivateMounts=yes",
    "PrivateIPC=yes",
    "RemoveIPC=yes",
    "ProtectHostname=yes",
    "ProtectKernelTunables=yes",
    // No capability for them, and seccomp.
    "ProtectKernelModules=yes",
    "KeyringMode=private",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "ProtectClock=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
];

/// Prints the table, or one service's unit.
///
/// # Errors
/// When the manifests cannot be read, or there is no such service.
pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (mut directory, mut wanted, mut config) = (MANIFESTS, None, None);
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word {
            "--services" => directory = value,
            "--unit" => wanted = Some(value),
            "--config" => config = Some(value),
            _ => anyhow::bail!("exposure knows --unit NAME, --services DIR and --config FILE, not {word:?}"),
        }
    }
    let all = manifest::load(Path::new(directory))?;
    let Some(name) = wanted else {
        print!("{}", table(&all.iter().map(|(name, m)| (name.as_str(), m)).collect::<Vec<_>>()));
        return Ok(ExitCode::SUCCESS);
    };
    let manifest = all.get(name).with_context(|| format!("{directory} has no service {name:?}"))?;
    print!("{}", unit(&Plan::new(name, manifest)?, manifest, &addresses(name, config)?));
    Ok(ExitCode::SUCCESS)
}

/// Whom a service may talk to under the config in that file.
fn addresses(name: &str, config: Option<&str>) -> anyhow::Result<Vec<Prefix>> {
    let role = Role::of_name(name).with_context(|| format!("{name:?} has no role"))?;
    let Some(path) = config else { return Ok(lists::most(role)) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let config = vakt_wire::config::parse(&text).map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    Ok(lists::of(role, &config))
}

fn table(services: &[(&str, &Manifest)]) -> String {
    let mut text = format!(
        "{:<10} {:<8} {:<26} {:<42} {}\n",
        "service", "network", "sockets it may make", "capabilities", "devices, writable paths"
    );
    for (name, manifest) in services {
        let sandbox = &manifest.sandbox;
        let paths: Vec<String> =
            sandbox.devices.iter().chain(&sandbox.write).map(|path| path.display().to_string()).collect();
        let kinds: Vec<String> =
            sandbox.sockets.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        let _ = writeln!(
            text,
            "{name:<10} {:<8} {:<26} {:<42} {}",
            if sandbox.network { "shared" } else { "none" },
            kinds.join(" "),
            sandbox.capabilities.join(" "),
            paths.join(" ")
        );
    }
    text
}

/// The unit whose directives close what the room closes.
fn unit(plan: &Plan, manifest: &Manifest, addresses: &[Prefix]) -> String {
    let sandbox = &manifest.sandbox;
    let capabilities = sandbox.capabilities.join(" ");
    let mut lines = vec![
        "[Unit]".to_owned(),
        format!("Description=Vakt {}: {}", plan.name, manifest.description),
        String::new(),
        "[Service]".to_owned(),
        "Type=notify".to_owned(),
        format!("ExecStart={}", manifest.exec.join(" ")),
        format!("User={}", plan.uid),
        format!("Group={}", plan.uid),
        format!("RootDirectory=/run/vakt/rooms/{}", plan.name),
    ];
    lines.extend(EVERY_ROOM.iter().map(|line| (*line).to_owned()));
    lines.push(format!("CapabilityBoundingSet={capabilities}"));
    lines.push(format!("AmbientCapabilities={capabilities}"));
    lines.push(format!("LimitNOFILE={}", plan.nofile_max));
    lines.push(format!("MemoryMax={}M", manifest.limits.memory_max_mib));
    lines.push(format!("TasksMax={}", manifest.limits.pids_max));
    if !sandbox.network {
        // An empty network namespace reaches no address at all.
        lines.push("PrivateNetwork=yes".to_owned());
    }
    lines.push("IPAddressDeny=any".to_owned());
    if sandbox.network {
        // addresses/: programs on the service's cgroup.
        lines.extend(addresses.iter().map(|prefix| format!("IPAddressAllow={prefix}")));
    }
    if !sandbox.proc {
        lines.push("ProtectProc=invisible".to_owned());
        lines.push("ProcSubset=pid".to_owned());
    }
    let kmsg = sandbox.devices.iter().any(|device| device.ends_with("kmsg"));
    if !kmsg && !sandbox.capabilities.iter().any(|capability| capability == "CAP_SYSLOG") {
        lines.push("ProtectKernelLogs=yes".to_owned());
    }
    lines.push("DevicePolicy=closed".to_owned());
    match sandbox.devices.as_slice() {
        [] => lines.push("PrivateDevices=yes".to_owned()),
        devices => lines.extend(devices.iter().map(|device| format!("DeviceAllow={} rw", device.display()))),
    }
    lines.push(format!("RestrictAddressFamilies={}", families(&sandbox.sockets)));
    lines.push(format!("SystemCallFilter={}", system_calls(plan)));
    for shown in &plan.shown {
        let directive = match shown.access {
            Access::Write => "BindPaths",
            Access::Device => continue,
            Access::Read | Access::Sockets => "BindReadOnlyPaths",
        };
        lines.push(format!("{directive}={}:{}", shown.from.display(), shown.at.display()));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The families of the sockets that may be made. None is written as systemd wants it.
fn families(kinds: &[SocketKind]) -> String {
    let of_kind = |kind: &SocketKind| -> &[&'static str] {
        match kind {
            SocketKind::Unix => &["AF_UNIX"],
            SocketKind::Tcp | SocketKind::Udp => &["AF_INET", "AF_INET6"],
            SocketKind::NetlinkRoute | SocketKind::NetlinkNetfilter => &["AF_NETLINK"],
        }
    };
    let mut names: Vec<&str> = Vec::new();
    for name in kinds.iter().flat_map(of_kind) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

/// The names of the system calls that seccomp lets through.
fn system_calls(plan: &Plan) -> String {
    let bpf: &[calls::Call] = if plan.syscalls.contains(&SyscallGroup::Bpf) { calls::BPF } else { &[] };
    let all = plan.calls.iter().chain(calls::JUDGED).chain(bpf);
    let mut names: Vec<&str> = all.map(|(name, _)| name.trim_start_matches("SYS_")).collect();
    names.sort_unstable();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let manifest = manifest::parse("store", text).unwrap();
        let peer = Prefix::host("192.0.2.7".parse().unwrap());
        unit(&Plan::new("store", &manifest).unwrap(), &manifest, &[peer])
    }

    #[test]
    fn a_unit_says_what_the_manifest_leaves_open_and_nothing_more() {
        let closed = of("description = 'x'\nexec = ['/usr/bin/vakt-store']");
        for line in [
            "PrivateNetwork=yes",
            "ProtectKernelLogs=yes",
            "RestrictAddressFamilies=none",
            "PrivateDevices=yes",
        ] {
            assert!(closed.contains(&format!("\n{line}\n")), "{line}:\n{closed}");
        }
        assert!(closed.contains("\nCapabilityBoundingSet=\n"));
        assert!(closed.contains("\nIPAddressDeny=any\n") && !closed.contains("IPAddressAllow"));
        let open = of(
            "description = 'x'\nexec = ['/b']\n[sandbox]\nnetwork = true\nsockets = ['tcp', 'udp', 'unix']\nproc = true\n\
             devices = ['/dev/kmsg']\ncapabilities = ['CAP_BPF']\nsyscalls = ['bpf']\nwrite = ['/state/x']",
        );
        for line in ["PrivateNetwork", "ProtectKernelLogs", "PrivateDevices", "ProtectProc"] {
            assert!(!open.contains(line), "{line}:\n{open}");
        }
        for line in [
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
            "DeviceAllow=/dev/kmsg rw",
            "CapabilityBoundingSet=CAP_BPF",
            "BindPaths=/state/x:/state/x",
            "IPAddressDeny=any",
            "IPAddressAllow=192.0.2.7/32",
        ] {
            assert!(open.contains(&format!("\n{line}\n")), "{line}:\n{open}");
        }
        assert!(open.contains(" bpf ") && !closed.contains(" bpf "));
        assert!(!open.contains(" mount ") && !open.contains(" ptrace "));
    }
}

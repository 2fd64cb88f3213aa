//! What a sandbox will be, computed before anything is done.

use std::path::{Path, PathBuf};

use vakt_wire::role::Role;

use super::calls::{self, Call};
use crate::manifest::{Manifest, SocketKind, SyscallGroup};

/// Where the processes' sockets and config slices live.
pub const RUN: &str = "/run/vakt";

/// Says where the services' cgroups are.
pub const CGROUPS: &str = "/run/vakt/cgroups";

/// What rooms that resolve names see as /etc.
pub const ETC: &str = "/run/vakt/etc";

/// The empty directory of a file system that stands for it where it is measured.
pub const MEASURED: &str = ".measured";

/// The program to run inside.
#[derive(Clone, Debug, PartialEq)]
pub enum Program {
    /// The service's own, bound from the image.
    Installed(PathBuf),
    /// Bytes brought from outside (`vakt-init exec`), placed at this path in the room.
    Brought {
        /// Where it is put.
        path: PathBuf,
        /// The ELF file.
        bytes: Vec<u8>,
    },
}

impl Program {
    /// Its path inside the room.
    pub fn path(&self) -> &Path {
        match self {
            Program::Installed(path) | Program::Brought { path, .. } => path,
        }
    }
}

/// One path that the room shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it is outside.
    pub from: PathBuf,
    /// Where it appears inside.
    pub at: PathBuf,
    /// What may be done with it.
    pub access: Access,
}

/// What may be done with a shown path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write files and directories below it.
    Write,
    /// Open the device node.
    Device,
    /// Reach the unix sockets in it.
    Sockets,
}

/// Everything about the room of one service.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Service name.
    pub name: String,
    /// Uid and gid.
    pub uid: u32,
    /// The program.
    pub program: Program,
    /// What it sees.
    pub shown: Vec<Shown>,
    /// Namespaces to create.
    pub namespaces: libc::c_int,
    /// Capabilities kept.
    pub capabilities: Vec<caps::Capability>,
    /// Sockets it may make.
    pub sockets: Vec<SocketKind>,
    /// TCP ports it may connect to; `None` stands for any.
    pub tcp_connect: Option<Vec<u16>>,
    /// System calls that need no judging.
    pub calls: Vec<Call>,
    /// Further system calls.
    pub syscalls: Vec<SyscallGroup>,
    /// RLIMIT_NOFILE.
    pub nofile_max: u32,
}

impl Plan {
    /// The room that `manifest` describes for service `name`.
    ///
    /// # Errors
    /// When the name has no role or a capability is unknown; manifests were checked for both.
    pub fn new(name: &str, manifest: &Manifest) -> anyhow::Result<Plan> {
        let role = Role::of_name(name).ok_or_else(|| anyhow::anyhow!("service {name:?} has no role"))?;
        let sandbox = &manifest.sandbox;
        let mut namespaces = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        if !sandbox.network {
            namespaces |= libc::CLONE_NEWNET;
        }
        let capabilities: Result<Vec<_>, _> = sandbox.capabilities.iter().map(|c| c.parse()).collect();
        Ok(Plan {
            name: name.to_owned(),
            uid: role.uid(),
            program: Program::Installed(manifest.exec.first().map(PathBuf::from).unwrap_or_default()),
            shown: shown(name, manifest),
            namespaces,
            capabilities: capabilities.map_err(|error| anyhow::anyhow!("service {name}: {error}"))?,
            sockets: sandbox.sockets.clone(),
            tcp_connect: (!sandbox.tcp_connect.contains(&0)).then(|| sandbox.tcp_connect.clone()),
            calls: calls::of_service(manifest.calls.as_deref(), manifest.slot || !sandbox.write.is_empty()),
            syscalls: sandbox.syscalls.clone(),
            nofile_max: manifest.limits.nofile_max,
        })
    }
}

fn shown(name: &str, manifest: &Manifest) -> Vec<Shown> {
    let same = |path: &Path, access| Shown { from: path.to_owned(), at: path.to_owned(), access };
    let sandbox = &manifest.sandbox;
    let mut all = vec![
        same(Path::new("/dev/null"), Access::Device),
        // getrandom's fallback waits on the first and reads the second.
        same(Path::new("/dev/random"), Access::Device),
        same(Path::new("/dev/urandom"), Access::Device),
        Shown {
            from: format!("{RUN}/config/{name}.toml").into(),
            at: format!("{RUN}/config.toml").into(),
            access: Access::Read,
        },
        Shown {
            from: format!("{RUN}/notify/{name}").into(),
            at: format!("{RUN}/notify").into(),
            access: Access::Sockets,
        },
    ];
    if sandbox.names {
        all.push(Shown { from: ETC.into(), at: "/etc".into(), access: Access::Read });
    }
    all.extend(sandbox.measure.iter().map(|path| Shown {
        from: path.join(MEASURED),
        at: path.clone(),
        access: Access::Read,
    }));
    if sandbox.proc {
        all.push(same(Path::new("/proc"), Access::Read));
    }
    if sandbox.sys {
        all.push(same(Path::new("/sys"), Access::Read));
    }
    all.extend(sandbox.read.iter().map(|path| same(path, Access::Read)));
    all.extend(sandbox.devices.iter().map(|path| same(path, Access::Device)));
    all.extend(sandbox.settings.iter().filter(|path| path.exists()).map(|path| same(path, Access::Read)));
    all.extend(sandbox.write.iter().map(|path| same(path, Access::Write)));
    all.extend(sandbox.calls.iter().map(|other| same(&Path::new(RUN).join(other), Access::Sockets)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_without_network_gets_an_empty_network_namespace() {
        let text = |network: bool| format!("description='x'\nexec=['/b']\n[sandbox]\nnetwork={network}");
        for network in [false, true] {
            let manifest = crate::manifest::parse("store", &text(network)).unwrap();
            let plan = Plan::new("store", &manifest).unwrap();
            assert_eq!(plan.namespaces & libc::CLONE_NEWNET == 0, network);
            assert_eq!(plan.uid, Role::Store.uid());
        }
    }

    #[test]
    fn a_service_sees_its_own_config_slice_and_nobody_elses() {
        let manifest = crate::manifest::parse("store", "description='x'\nexec=['/b']").unwrap();
        let froms: Vec<_> = shown("store", &manifest).into_iter().map(|s| s.from).collect();
        assert!(froms.contains(&PathBuf::from("/run/vakt/config/store.toml")));
        assert!(!froms.iter().any(|path| path == Path::new(RUN) || path == Path::new("/run/vakt/config")));
    }
}

//! Memory of the services' cgroup: hears from the kernel when they stood still for want of it (pressure stall
//! information, Documentation/accounting/psi.rst), and carries out what [`crate::supervisor::pressure`] says then.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::cgroup::{self, Cgroups};
use super::life::Service;
use crate::supervisor::pressure::{Load, Pressure, Relief};

/// Told of when, within a second, some task of a service waited for memory for 150 ms: less is ordinary on a box
/// that reads files, more is seen by whoever looks at the pages.
const TRIGGER: &[u8] = b"some 150000 1000000\0";

/// What the kernel tells by, where it does, and what was done so far.
#[derive(Debug)]
pub struct MemoryWatch {
    trigger: Option<File>,
    pressure: Pressure,
}

impl MemoryWatch {
    /// Asks the kernel to tell of pressure in the cgroup at `base`. Without PSI it never does.
    pub fn arm(base: &Path) -> MemoryWatch {
        let opened = OpenOptions::new().read(true).write(true).open(base.join("memory.pressure"));
        let armed = opened.and_then(|mut file| file.write_all(TRIGGER).map(|()| file));
        MemoryWatch { trigger: armed.ok(), pressure: Pressure::default() }
    }

    /// The descriptor to wait for, with POLLPRI. It is ready once for each time.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.trigger.as_ref().map(|file| file.as_fd())
    }

    /// Memory is short: one step against it. Returns what to say, and who is to be restarted.
    pub fn step(
        &mut self,
        now_ms: u64,
        services: &BTreeMap<String, Service>,
        cgroups: &Cgroups,
    ) -> Option<(String, Option<String>)> {
        let load = |(name, service): (&String, &Service)| Load {
            name: name.clone(),
            current: cgroups.memory_bytes(name).unwrap_or_default(),
            max: cgroup::max(&service.manifest.limits),
            critical: service.manifest.critical,
            is_running: service.process.is_some(),
        };
        let loads: Vec<Load> = services.iter().map(load).collect();
        match self.pressure.felt(now_ms, &loads)? {
            Relief::Reclaim(name, bytes) => {
                cgroups.reclaim(&name, bytes);
                let line = format!("vakt: memory is short; {} KiB are taken back from {name}", bytes >> 10);
                Some((line, None))
            }
            Relief::Restart(name) => {
                Some((format!("vakt: memory is short; {name} is restarted"), Some(name)))
            }
        }
    }
}

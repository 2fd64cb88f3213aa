//! One cgroup v2 for each service: bounds where the controllers exist, and the way to end it whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::manifest::Limits;

/// The directory below which the services' groups are made.
#[derive(Debug)]
pub struct Cgroups {
    base: PathBuf,
}

/// memory.high: seven eighths of the bound. Above it a service is slowed and its files' pages are taken back, so
/// that pressure is felt before the bound kills it.
fn high(limits: &Limits) -> u64 {
    max(limits) / 8 * 7
}

/// memory.max in bytes.
pub fn max(limits: &Limits) -> u64 {
    u64::from(limits.memory_max_mib) << 20
}

impl Cgroups {
    /// Uses `base`, a cgroup v2 directory of ours, and hands its controllers down as far as there
    /// are any: on a host whose controllers sit on v1 there are none, and no bounds.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(base: &Path) -> anyhow::Result<Cgroups> {
        fs::create_dir_all(base).with_context(|| format!("cannot make the cgroup {}", base.display()))?;
        for directory in [base.parent().unwrap_or(base), base] {
            for controller in ["+memory", "+pids", "+cpu"] {
                // Absent controllers are reported by `bounded`, not here.
                let _ = fs::write(directory.join("cgroup.subtree_control"), controller);
            }
        }
        Ok(Cgroups { base: base.to_owned() })
    }

    /// Writes down where the groups are, for `vakt-init exec`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn tell(&self, path: &Path) -> anyhow::Result<()> {
        fs::write(path, self.base.as_os_str().as_encoded_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether memory, pids and cpu bounds are in force for the services.
    pub fn bounded(&self) -> bool {
        let control = fs::read_to_string(self.base.join("cgroup.subtree_control")).unwrap_or_default();
        ["memory", "pids", "cpu"].iter().all(|name| control.split_whitespace().any(|c| c == *name))
    }

    /// The group of a service, made when absent and bounded by `limits`, open for clone3.
    ///
    /// # Errors
    /// When it cannot be made or, with controllers present, not be bounded.
    pub fn open(&self, service: &str, limits: &Limits) -> anyhow::Result<File> {
        let directory = self.base.join(service);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make the cgroup {}", directory.display()))?;
        if self.bounded() {
            let bounds = [
                ("memory.max", max(limits).to_string()),
                ("memory.high", high(limits).to_string()),
                ("memory.swap.max", "0".into()),
                ("memory.oom.group", "1".into()),
                ("pids.max", limits.pids_max.to_string()),
                ("cpu.weight", limits.cpu_weight.to_string()),
            ];
            for (file, bound) in bounds {
                let path = directory.join(file);
                // Swap accounting may be compiled out.
                if path.exists() {
                    fs::write(&path, bound).with_context(|| format!("cannot write {}", path.display()))?;
                }
            }
        }
        File::open(&directory).with_context(|| format!("cannot open the cgroup {}", directory.display()))
    }

    /// Kills everything in a service's group (cgroup.kill). A group that is gone is as good as killed.
    pub fn kill(&self, service: &str) {
        let _ = fs::write(self.base.join(service).join("cgroup.kill"), "1");
    }

    /// Where the services' groups are.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Takes `bytes` back from a service (memory.reclaim): pages of files, what has no other home stays.
    /// The kernel may find less; it is a try.
    pub fn reclaim(&self, service: &str, bytes: u64) {
        let _ = fs::write(self.base.join(service).join("memory.reclaim"), bytes.to_string());
    }

    /// How many processes of a service the kernel killed for want of memory since boot, where the controller
    /// exists.
    pub fn oom_kills(&self, service: &str) -> Option<u64> {
        let events = fs::read_to_string(self.base.join(service).join("memory.events")).ok()?;
        events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
    }

    /// Memory in use by a service in bytes, where the controller exists.
    pub fn memory_bytes(&self, service: &str) -> Option<u64> {
        fs::read_to_string(self.base.join(service).join("memory.current")).ok()?.trim().parse().ok()
    }
}

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
    /// Writes down where the groups are, for `vakt-init exec`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn tell(&self, path: &Path) -> anyhow::Result<()> {
        fs::write(path, self.base.as_os_str().as_encoded_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }

        let directory = self.base.join(service);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make the cgroup {}", directory.display()))?;
        if self.bounded() {
            let bounds = [
                ("memory.max", (u64::from(limits.memory_max_mib) << 20).to_string()),
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

    /// Memory in use by a service in bytes, where the controller exists.
    pub fn memory_bytes(&self, service: &str) -> Option<u64> {
        fs::read_to_string(self.base.join(service).join("memory.current")).ok()?.trim().parse().ok()
    }
}

//! The eBPF groups as sources: attached once, read every round, "unavailable" with the reason where the kernel refuses.

mod families;
mod sockets;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vakt_ebpf::{Attached, Unavailable};

use crate::family::{Families, Family, label};
use sockets::{Check, Sockets};

/// The kernel measures what the programs cost in one round of these: measuring costs some 40 ns a run itself.
const COST_EVERY: Duration = Duration::from_secs(300);

/// Connections are counted in /proc once in this time: the kernel goes through its whole hash table for it (2 ms where
/// that has 262,144 places). In between the last count is shown.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// The groups, and what reading them needs.
pub struct Groups {
    groups: Vec<(&'static str, Result<Attached, String>)>,
    /// Counts connections in /proc beside the programs.
    sockets: Sockets,
    checked: Option<Check>,
    /// What the programs cost, as it was known last.
    cost: Vec<Family>,
    proc: PathBuf,
    /// Names of disks by their numbers.
    disks: BTreeMap<(u32, u32), String>,
    checks: Due,
    measures: Due,
    /// Kept while the kernel measures.
    measuring: Option<OwnedFd>,
}

/// Something that is done now and then.
#[derive(Debug)]
struct Due {
    every: Duration,
    done: Option<Instant>,
}

impl Due {
    const fn every(every: Duration) -> Due {
        Due { every, done: None }
    }

    /// Whether it is to be done now, which counts as done.
    fn is_now(&mut self, now: Instant) -> bool {
        let is_now = self.done.is_none_or(|done| now.duration_since(done) >= self.every);
        if is_now {
            self.done = Some(now);
        }
        is_now
    }
}

/// How a group fared in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Fared {
    /// As `ebpf/tcp`.
    pub name: String,
    /// Seconds that reading took.
    pub seconds: f64,
    /// Why it gave nothing.
    pub error: Option<String>,
}

impl Groups {
    /// Attaches every group when `wanted`. Call before the process has other threads: reading the kernel's types is
    /// then a child's work (see [`vakt_ebpf::attach`]).
    pub fn attach(wanted: bool, proc: &Path) -> Groups {
        const NAMES: [&str; 5] = ["runqlat", "blkio", "tcp", "process", "irq"];
        let groups: Vec<_> = if wanted {
            vakt_ebpf::attach()
                .into_iter()
                .map(|(name, outcome)| (name, outcome.map_err(unavailable)))
                .collect()
        } else {
            NAMES
                .into_iter()
                .map(|name| (name, Err("unavailable: switched off in the config".into())))
                .collect()
        };
        crate::sys::trim_heap();
        for (name, outcome) in &groups {
            match outcome {
                Ok(group) => {
                    for reason in group.missing() {
                        tracing::warn!(%reason, group = name, "a part is unavailable; the rest goes on");
                    }
                }
                Err(reason) if wanted => tracing::warn!(reason, group = name, "everything else goes on"),
                Err(_) => {}
            }
        }
        let tcp =
            groups.iter().find(|(name, _)| *name == "tcp").and_then(|(_, outcome)| outcome.as_ref().ok());
        let sockets = Sockets::begin(tcp, proc);
        let measuring = if wanted { vakt_ebpf::measure_cost().ok() } else { None };
        Groups {
            groups,
            sockets,
            checked: None,
            cost: Vec::new(),
            proc: proc.to_owned(),
            disks: BTreeMap::new(),
            checks: Due::every(CHECK_EVERY),
            measures: Due { done: Some(Instant::now()), ..Due::every(COST_EVERY) },
            measuring,
        }
    }

    /// Whether any group is attached.
    pub fn any(&self) -> bool {
        self.groups.iter().any(|(_, outcome)| outcome.is_ok())
    }

    /// What every group has measured so far, and how each fared.
    pub fn read(&mut self) -> (Vec<Family>, Vec<Fared>) {
        let (mut found, mut fared, now) = (Families::default(), Vec::new(), Instant::now());
        if self.checks.is_now(now) {
            self.disks.clear();
            let tcp = self
                .groups
                .iter()
                .find(|(name, _)| *name == "tcp")
                .and_then(|(_, outcome)| outcome.as_ref().ok());
            // What is wrong with the counters is said when they are read below.
            self.checked = tcp.and_then(|group| self.sockets.check(group, &self.proc).ok().flatten());
        }
        for (name, outcome) in &self.groups {
            let begun = Instant::now();
            let read = match outcome {
                Ok(group) if *name == "blkio" => {
                    read_disks(group, &mut self.disks, &self.proc, &mut found).map_err(unavailable)
                }
                Ok(group) => read_group(name, group, self.checked, &mut found).map_err(unavailable),
                Err(reason) => Err(reason.clone()),
            };
            let available = f64::from(u8::from(read.is_ok()));
            let help = "Whether a group of eBPF programs is attached and could be read.";
            found.gauge("vakt_ebpf_available", help, vec![label("group", name)], available);
            let seconds = begun.elapsed().as_secs_f64();
            fared.push(Fared { name: format!("ebpf/{name}"), seconds, error: read.err() });
        }
        // Asked for when the kernel has just measured: 28 files in /proc say it.
        if self.measuring.take().is_some() || self.cost.is_empty() {
            let mut cost = Families::default();
            for (name, outcome) in &self.groups {
                if let Ok(group) = outcome {
                    families::cost(&mut cost, name, group);
                }
            }
            self.cost = cost.done();
        }
        // The descriptor's life is what the kernel measures in.
        self.measuring = if self.measures.is_now(now) { vakt_ebpf::measure_cost().ok() } else { None };
        let mut found = found.done();
        found.extend(self.cost.iter().cloned());
        (found, fared)
    }
}

fn read_group(
    name: &str,
    group: &Attached,
    checked: Option<Check>,
    found: &mut Families,
) -> Result<(), Unavailable> {
    match name {
        "runqlat" => families::run_queue(found, &group.run_queue()?),
        "tcp" => {
            families::tcp(found, &group.tcp()?);
            families::edges(found, &group.edges()?);
            if let Some(check) = checked {
                families::connections(found, check);
            }
        }
        "process" => families::processes(found, &group.processes()?),
        _ => families::interrupts(found, &group.interrupts()?),
    }
    Ok(())
}

fn read_disks(
    group: &Attached,
    names: &mut BTreeMap<(u32, u32), String>,
    proc: &Path,
    found: &mut Families,
) -> Result<(), Unavailable> {
    let (disks, lost) = group.disks()?;
    // A disk that was put in lately.
    if disks.iter().any(|disk| !names.contains_key(&disk.device)) {
        *names = disk_names(proc);
    }
    families::disks(found, &disks, lost, names);
    Ok(())
}

fn unavailable(reason: Unavailable) -> String {
    format!("unavailable: {reason}")
}

/// Names of disks by their numbers, out of /proc/diskstats.
fn disk_names(proc: &Path) -> BTreeMap<(u32, u32), String> {
    let text = std::fs::read_to_string(proc.join("diskstats")).unwrap_or_default();
    let name = |line: &str| {
        let mut words = line.split_whitespace();
        let numbers = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((numbers, words.next()?.to_owned()))
    };
    text.lines().filter_map(name).collect()
}

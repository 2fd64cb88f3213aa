//! node_exporter's metrics: names, labels and units of its collectors that are on by default.
//!
//! Each source is a pure function from [`Inputs`] to families, so the same code serves the local machine and a peer's
//! files that came over SSH. The procfs crate parses where it keeps every number exactly; where it does not (loads
//! as f32, CPU numbers lost, fields of meminfo and vmstat that it does not know) or panics on what a peer may send
//! (pressure) the file is read here.

mod balancer;
mod cgroup;
mod clock;
mod cpu;
mod disk;
mod fabric;
pub mod filesystem;
mod hardware;
mod interfaces;
mod kernel;
mod load;
mod machine;
mod memory;
mod network;
mod nfs;
mod stack;
pub mod systemd;
#[cfg(test)]
mod tests;
pub mod textfile;
mod volumes;

use crate::family::{Family, Kind};
use crate::inputs::{Files, Inputs, SourceError, proc};
use fabric::{fibrechannel, infiniband, multipath, tape};
use hardware::{cores, firmware, power, sensors, storage};
use volumes::{bcache, bcachefs, btrfs, xfs, zfs};

/// A source: node_exporter calls it a collector.
#[derive(Clone, Copy)]
pub struct Source {
    /// Its name, as in `node_scrape_collector_success{collector="…"}`.
    pub name: &'static str,
    /// The files that it reads.
    pub files: &'static [Files],
    /// Files to the metrics.
    pub parse: fn(&Inputs) -> Result<Vec<Family>, SourceError>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const fn source(
    name: &'static str,
    files: &'static [Files],
    parse: fn(&Inputs) -> Result<Vec<Family>, SourceError>,
) -> Source {
    Source { name, files, parse }
}

/// Every source, in the order of their names.
pub const SOURCES: [Source; 51] = [
    source("arp", interfaces::ARP, interfaces::arp),
    source("bcache", bcache::CACHES, bcache::bcache),
    source("bcachefs", bcachefs::VOLUMES, bcachefs::bcachefs),
    source("bonding", interfaces::BONDS, interfaces::bonding),
    source("btrfs", btrfs::VOLUMES, btrfs::btrfs),
    source("conntrack", stack::CONNTRACK, stack::conntrack),
    source("cpu", &[proc(&["stat"]), cores::TOPOLOGY, cores::ISOLATED], cpu::cpu),
    source("cpufreq", cores::FREQUENCIES, cores::cpufreq),
    source("diskstats", disk::FILES, disk::diskstats),
    source("dmi", firmware::DMI, firmware::dmi),
    source("dmmultipath", multipath::MAPS, multipath::dmmultipath),
    source("edac", cores::EDAC, cores::edac),
    source("entropy", kernel::ENTROPY, kernel::entropy),
    source("fibrechannel", fibrechannel::HOSTS, fibrechannel::fibrechannel),
    source("filefd", kernel::FILEFD, kernel::filefd),
    source("filesystem", &[proc(&[filesystem::MOUNTS])], filesystem::filesystem),
    source("hwmon", sensors::CHIPS, sensors::hwmon),
    source("infiniband", infiniband::ADAPTERS, infiniband::infiniband),
    source("ipvs", balancer::IPVS, balancer::ipvs),
    source("kernel_hung", kernel::HUNG, kernel::kernel_hung),
    source("loadavg", &[proc(&["loadavg"])], load::loadavg),
    source("mdadm", storage::RAID, storage::mdadm),
    source("meminfo", &[proc(&["meminfo"])], memory::meminfo),
    source("netclass", interfaces::CLASS, interfaces::netclass),
    source("netdev", network::DEVICES, network::netdev),
    source("netstat", stack::NETSTAT, stack::netstat),
    source("nfs", nfs::CLIENT, nfs::nfs),
    source("nfsd", nfs::SERVER, nfs::nfsd),
    source("nvme", storage::NVME, storage::nvme),
    source("os", kernel::OS, kernel::os),
    source("powersupplyclass", power::SUPPLIES, power::powersupplyclass),
    source(
        "pressure",
        &[proc(&["pressure/cpu", "pressure/io", "pressure/irq", "pressure/memory"])],
        load::pressure,
    ),
    source("rapl", power::RAPL, power::rapl),
    source("schedstat", kernel::SCHEDSTAT, kernel::schedstat),
    source("selinux", kernel::SELINUX, kernel::selinux),
    source("sockstat", &[proc(&["net/sockstat", "net/sockstat6"])], network::sockstat),
    source("softnet", stack::SOFTNET, stack::softnet),
    source("stat", &[proc(&["stat"])], cpu::stat),
    source("systemd", systemd::UNITS, systemd::systemd),
    source("tapestats", tape::TAPES, tape::tapestats),
    source("textfile", textfile::NONE, textfile::textfile),
    source("thermal_zone", sensors::ZONES, sensors::thermal_zone),
    source("time", clock::TIME, clock::time),
    source("timex", &[], clock::timex),
    source("udp_queues", stack::UDP, stack::udp_queues),
    source("uname", &[], machine::uname),
    source("vakt_cgroup", cgroup::GROUPS, cgroup::cgroup),
    source("vmstat", &[proc(&["vmstat"])], memory::vmstat),
    source("watchdog", firmware::WATCHDOGS, firmware::watchdog),
    source("xfs", xfs::XFS, xfs::xfs),
    source("zfs", zfs::KSTATS, zfs::zfs),
];

/// How one source fared.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The source.
    pub name: &'static str,
    /// Seconds it took.
    pub seconds: f64,
    /// Why it gave nothing.
    pub error: Option<&'a SourceError>,
}

impl Outcome<'_> {
    /// Why it gave nothing, unless the machine merely does not have what it measures.
    pub fn fault(&self) -> Option<&SourceError> {
        self.error.filter(|error| !matches!(error, SourceError::Absent(_)))
    }
}

/// node_exporter's metrics about a scrape.
pub fn outcomes<'a>(outcomes: impl Iterator<Item = Outcome<'a>>) -> [Family; 2] {
    let mut duration =
        Family::new("node_scrape_collector_duration_seconds", Kind::Gauge, "Duration of a collector scrape.");
    let mut success =
        Family::new("node_scrape_collector_success", Kind::Gauge, "Whether a collector succeeded.");
    for outcome in outcomes {
        let label = || vec![("collector", outcome.name.to_owned())];
        duration.push(label(), outcome.seconds);
        success.push(label(), f64::from(u8::from(outcome.error.is_none())));
    }
    [duration, success]
}

//! Remote-write bodies like those of a fleet of hosts: the names and the behaviour of node_exporter's
//! series, from a seeded generator, so that every run and every store gets the same bytes.
//!
//! Bodies are made when they are sent, so that a run of any length takes the memory of its series alone.

use anyhow::Result;
use vakt_wire::remote_write::{TimeSeries, encode};

/// Series of a host.
pub const SERIES: usize = 200;

/// How many of them are node_cpu_seconds_total: eight processors with eight modes.
pub const CPU_SERIES: usize = 64;

/// Milliseconds between two scrapes.
pub const STEP_MS: i64 = 15_000;

/// Connections, each with hosts of its own, so that every series arrives in order.
pub const CONNECTIONS: usize = 5;

/// Hosts of one body: with the load's usual size of 2,000 samples a request.
const HOSTS_A_BODY: usize = 10;

const SEED: u64 = 0x7661_6b74;
const MODES: [&str; 8] = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
const MEMORY: [&str; 40] = [
    "Active",
    "Active_anon",
    "Active_file",
    "AnonHugePages",
    "AnonPages",
    "Bounce",
    "Buffers",
    "Cached",
    "CommitLimit",
    "Committed_AS",
    "DirectMap2M",
    "DirectMap4k",
    "Dirty",
    "HugePages_Free",
    "HugePages_Rsvd",
    "HugePages_Total",
    "Hugepagesize",
    "Inactive",
    "Inactive_anon",
    "Inactive_file",
    "KReclaimable",
    "KernelStack",
    "Mapped",
    "MemAvailable",
    "MemFree",
    "MemTotal",
    "Mlocked",
    "PageTables",
    "Percpu",
    "SReclaimable",
    "SUnreclaim",
    "Shmem",
    "Slab",
    "SwapCached",
    "SwapFree",
    "SwapTotal",
    "Unevictable",
    "VmallocTotal",
    "VmallocUsed",
    "Writeback",
];
const DISK: [&str; 11] = [
    "reads_completed",
    "reads_merged",
    "read_bytes",
    "read_time_seconds",
    "writes_completed",
    "writes_merged",
    "written_bytes",
    "write_time_seconds",
    "io_time_seconds",
    "io_time_weighted_seconds",
    "discards_completed",
];
const NETWORK: [&str; 10] = [
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_multicast",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_colls",
];

/// How a value goes on.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Seconds of CPU or waiting, counted in 1/100.
    Seconds(f64),
    /// A whole number that grows by up to this much a step; by nothing when it is 0.
    Counter(u64),
    /// A multiple of 4096 that wanders by up to this many pages.
    Pages(u64),
    /// Two decimals between 0 and 4, like a load.
    Load,
}

struct Series {
    behaviour: Behaviour,
    value: f64,
}

/// splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> f64 {
        (self.next() % bound.max(1)) as f64
    }
}

impl Series {
    fn step(&mut self, random: &mut Random) -> f64 {
        match self.behaviour {
            Behaviour::Seconds(rate) => self.value += (random.below(100) * rate).round() / 100.0,
            Behaviour::Counter(most) => self.value += random.below(most),
            Behaviour::Pages(most) => {
                self.value = (self.value + (random.below(2 * most + 1) - most as f64) * 4096.0).abs();
            }
            Behaviour::Load => self.value = (self.value + (random.below(21) - 10.0) / 100.0).clamp(0.0, 4.0),
        }
        // Sums of hundredths drift off them; what an exporter prints does not.
        self.value = (self.value * 100.0).round() / 100.0;
        self.value
    }
}

/// How large a fleet is, and how long it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Hosts, a multiple of [`CONNECTIONS`].
    pub hosts: usize,
    /// Times that each is scraped.
    pub steps: usize,
    /// When it is scraped last, in milliseconds since the epoch.
    pub end_ms: i64,
}

impl Shape {
    /// Series of all hosts.
    pub fn series(&self) -> usize {
        self.hosts * SERIES
    }

    /// Samples of all bodies together.
    pub fn samples(&self) -> usize {
        self.series() * self.steps
    }

    /// When a step is, in milliseconds since the epoch.
    pub fn at_ms(&self, step: usize) -> i64 {
        self.end_ms - (self.steps as i64 - 1 - step as i64) * STEP_MS
    }

    /// The fleet of each connection.
    pub fn fleets(&self) -> Vec<Fleet> {
        let each = self.hosts / CONNECTIONS;
        (0..CONNECTIONS).map(|connection| Fleet::new(connection, each)).collect()
    }
}

/// The hosts of one connection.
pub struct Fleet {
    series: Vec<Series>,
    scrapes: Vec<Vec<TimeSeries>>,
    random: Random,
}

impl Fleet {
    /// The `hosts` hosts of a connection, each of which begins anew.
    pub fn new(connection: usize, hosts: usize) -> Fleet {
        let mut random = Random(SEED ^ (connection as u64) << 32);
        let (mut series, mut all) = (Vec::new(), Vec::new());
        for index in connection * hosts..(connection + 1) * hosts {
            for (labels, one) in host(index, &mut random) {
                all.push(TimeSeries { labels, samples: vec![(0.0, 0)] });
                series.push(one);
            }
        }
        let scrapes = all.chunks(HOSTS_A_BODY * SERIES).map(<[TimeSeries]>::to_vec).collect();
        Fleet { series, scrapes, random }
    }

    /// Adds a label to every series.
    pub fn label(mut self, name: &str, value: &str) -> Fleet {
        let all = self.scrapes.iter_mut().flatten();
        all.for_each(|one| one.labels.push((name.to_owned(), value.to_owned())));
        self
    }

    /// Series of all its hosts.
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// The bodies of the next scrape, each made when it is its turn.
    pub fn scrape(&mut self, at_ms: i64) -> impl Iterator<Item = Result<Vec<u8>>> + '_ {
        let mut series = self.series.iter_mut();
        let random = &mut self.random;
        self.scrapes.iter_mut().map(move |scrape| {
            for (sent, one) in scrape.iter_mut().zip(&mut series) {
                sent.samples[0] = (one.step(random), at_ms);
            }
            Ok(encode(scrape)?)
        })
    }
}

/// The label `instance` of a host.
pub fn instance(index: usize) -> String {
    format!("host-{index:03}.example.org:9100")
}

/// [`SERIES`] series of one host, each with its labels.
fn host(index: usize, random: &mut Random) -> Vec<(Vec<(String, String)>, Series)> {
    let instance = instance(index);
    let mut all = Vec::with_capacity(SERIES);
    let mut add = |name: String, extra: &[(&str, &str)], behaviour: Behaviour| {
        let mut labels = vec![("__name__".into(), name)];
        labels.extend([("instance".into(), instance.clone()), ("job".into(), "bench".into())]);
        labels.extend(extra.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        let value = match behaviour {
            Behaviour::Pages(0) | Behaviour::Load => 1.0,
            Behaviour::Pages(_) => random.below(1 << 21) * 4096.0,
            Behaviour::Seconds(_) | Behaviour::Counter(_) => random.below(1 << 24),
        };
        all.push((labels, Series { behaviour, value }));
    };
    for cpu in 0..8 {
        for (at, mode) in MODES.iter().enumerate() {
            let rate = [15.0, 0.02, 0.0, 0.0, 0.05, 0.0, 0.5, 2.0][at];
            let cpu = cpu.to_string();
            add("node_cpu_seconds_total".into(), &[("cpu", &cpu), ("mode", mode)], Behaviour::Seconds(rate));
        }
    }
    for (at, name) in MEMORY.iter().enumerate() {
        // A third of meminfo never moves.
        let pages = if at % 3 == 0 { 0 } else { 1 << (at % 11) };
        add(format!("node_memory_{name}_bytes"), &[], Behaviour::Pages(pages));
    }
    for device in ["nvme0n1", "nvme1n1", "dm-0"] {
        for name in DISK {
            let how =
                if name.contains("seconds") { Behaviour::Seconds(0.3) } else { Behaviour::Counter(9000) };
            add(format!("node_disk_{name}_total"), &[("device", device)], how);
        }
    }
    for device in ["lo", "eth0", "eth1", "docker0"] {
        for name in NETWORK {
            let most = match name {
                "receive_bytes" | "transmit_bytes" => 4_000_000,
                "receive_packets" | "transmit_packets" => 4000,
                _ => 0,
            };
            add(format!("node_network_{name}_total"), &[("device", device)], Behaviour::Counter(most));
        }
    }
    for mount in ["/", "/boot/efi", "/home", "/srv", "/var", "/var/lib/postgresql"] {
        for name in ["avail_bytes", "files_free", "size_bytes"] {
            let pages = if name == "avail_bytes" { 300 } else { 0 };
            let extra = [("device", "/dev/nvme0n1p2"), ("fstype", "ext4"), ("mountpoint", mount)];
            add(format!("node_filesystem_{name}"), &extra, Behaviour::Pages(pages));
        }
    }
    for name in ["node_load1", "node_load5", "node_load15"] {
        add(name.into(), &[], Behaviour::Load);
    }
    for name in ["node_context_switches_total", "node_intr_total"] {
        add(name.into(), &[], Behaviour::Counter(200_000));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_as_many_series_as_is_said_and_all_differ() {
        let series = host(7, &mut Random(SEED));
        assert_eq!(series.len(), SERIES);
        let names: std::collections::BTreeSet<_> = series.iter().map(|(labels, _)| labels).collect();
        assert_eq!(names.len(), SERIES);
    }

    #[test]
    fn a_fleet_is_scraped_in_bodies_of_ten_hosts_and_the_same_in_every_run() {
        let shape = Shape { hosts: 60, steps: 3, end_ms: 1_000_000 };
        assert_eq!((shape.samples(), shape.at_ms(0), shape.at_ms(2)), (36_000, 970_000, 1_000_000));
        let bodies = |mut fleet: Fleet| fleet.scrape(5).map(Result::unwrap).collect::<Vec<_>>();
        let first = bodies(shape.fleets().remove(4));
        assert_eq!((shape.fleets().len(), first.len()), (CONNECTIONS, 2));
        assert_eq!(bodies(shape.fleets().remove(4)), first);
        assert_ne!(bodies(shape.fleets().remove(3)), first);
    }
}

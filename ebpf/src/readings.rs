//! What each group has measured, as plain values.

use std::net::{IpAddr, Ipv6Addr};

use crate::group::Attached;
use crate::histogram::Histogram;
use crate::unavailable::Unavailable;

/// Latency of one operation of one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskLatency {
    /// The disk's numbers.
    pub device: (u32, u32),
    /// `read`, `write`, `flush`, `discard` or `other`.
    pub operation: &'static str,
    /// From issue to completion.
    pub latency: Histogram,
}

/// What TCP did since the programs were attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// From SYN to the connection, on the side that connects.
    pub connect: Histogram,
    /// From the connection to its end.
    pub lifetime: Histogram,
    /// Segments that were sent again.
    pub retransmits: u64,
    /// Connections opened, in all network namespaces.
    pub opened: u64,
    /// Connections opened in our own namespace.
    pub opened_here: u64,
    /// Connections that left the established state in our own namespace.
    pub closed_here: u64,
    /// Attempts to connect that came to nothing.
    pub failed: u64,
}

/// Who talks to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// This machine's address.
    pub local: IpAddr,
    /// The other's.
    pub remote: IpAddr,
    /// The server's port.
    pub port: u16,
    /// Whether this side connected.
    pub outward: bool,
    /// The task that connected; empty on the side that was connected to.
    pub process: String,
    /// Connections.
    pub opened: u64,
    /// When the last one began, in nanoseconds since boot.
    pub last_ns: u64,
}

/// Processes since the programs were attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Processes that began; threads do not count.
    pub forks: u64,
    /// Programs that were run.
    pub execs: u64,
    /// Processes whose first thread ended.
    pub exits: u64,
    /// Processes chosen to be killed because memory ran out.
    pub oom_kills: u64,
    /// The same by the victim's name; the 64 used last.
    pub victims: Vec<(String, u64)>,
}

/// Time in interrupts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupts {
    /// `hard`, or the kind of soft interrupt as in /proc/softirqs.
    pub kind: &'static str,
    /// The CPU.
    pub cpu: usize,
    /// How many ended.
    pub count: u64,
    /// Nanoseconds they took.
    pub ns: u64,
}

/// Places of programs/irq.bpf.c.
const INTERRUPTS: [&str; 11] =
    ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU", "hard"];

impl Attached {
    /// Waits of tasks that could run (group `runqlat`).
    ///
    /// # Errors
    /// When the kernel does not give the map's values, here and below.
    pub fn run_queue(&self) -> Result<Histogram, Unavailable> {
        self.histogram("latency")
    }

    /// Latency by disk and operation, and events that no place was left for (group `blkio`).
    ///
    /// # Errors
    /// As [`Attached::run_queue`].
    pub fn disks(&self) -> Result<(Vec<DiskLatency>, u64), Unavailable> {
        let of = |([major, minor, operation], latency): ([u32; 3], Histogram)| DiskLatency {
            device: (major, minor),
            // enum req_op, include/linux/blk_types.h
            operation: match operation {
                0 => "read",
                1 => "write",
                2 => "flush",
                3 => "discard",
                _ => "other",
            },
            latency,
        };
        let mut found: Vec<DiskLatency> = Vec::new();
        for disk in self.histograms::<[u32; 3]>("latency")?.into_iter().map(of) {
            match found
                .iter_mut()
                .find(|known| (known.device, known.operation) == (disk.device, disk.operation))
            {
                Some(known) => {
                    known
                        .latency
                        .buckets
                        .iter_mut()
                        .zip(disk.latency.buckets)
                        .for_each(|(sum, more)| *sum += more);
                    known.latency.sum_ns += disk.latency.sum_ns;
                }
                None => found.push(disk),
            }
        }
        found.sort_by_key(|disk| (disk.device, disk.operation));
        Ok((found, self.counters("lost", 1)?[0]))
    }

    /// What TCP did (group `tcp`).
    ///
    /// # Errors
    /// As [`Attached::run_queue`].
    pub fn tcp(&self) -> Result<Tcp, Unavailable> {
        let counts = self.counters("counts", 5)?;
        let &[retransmits, opened_here, closed_here, opened, failed] = counts.as_slice() else {
            return Err(Unavailable::said("read map counts", "it has another number of entries"));
        };
        let (connect, lifetime) = (self.histogram("connect_latency")?, self.histogram("lifetime")?);
        Ok(Tcp { connect, lifetime, retransmits, opened, opened_here, closed_here, failed })
    }

    /// Who talks to whom, those with the most connections first (group `tcp`); at most 4096.
    ///
    /// # Errors
    /// As [`Attached::run_queue`].
    pub fn edges(&self) -> Result<Vec<Edge>, Unavailable> {
        let mut edges: Vec<Edge> = self
            .entries::<[u32; 13], [u64; 2]>("edges")?
            .iter()
            .map(|(key, value)| edge(key, *value))
            .collect();
        edges.sort_by(|a, b| {
            b.opened.cmp(&a.opened).then_with(|| (a.remote, a.port).cmp(&(b.remote, b.port)))
        });
        Ok(edges)
    }

    /// Processes (group `process`).
    ///
    /// # Errors
    /// As [`Attached::run_queue`].
    pub fn processes(&self) -> Result<Processes, Unavailable> {
        let counts = self.counters("counts", 4)?;
        let mut victims: Vec<(String, u64)> = self
            .entries::<[u8; 16], u64>("victims")?
            .into_iter()
            .map(|(name, kills)| (text(&name), kills))
            .collect();
        victims.sort();
        Ok(Processes { forks: counts[0], execs: counts[1], exits: counts[2], oom_kills: counts[3], victims })
    }

    /// Time in interrupts by kind and CPU, without those that never came (group `irq`).
    ///
    /// # Errors
    /// As [`Attached::run_queue`].
    pub fn interrupts(&self) -> Result<Vec<Interrupts>, Unavailable> {
        let values = self.array::<[u64; 3]>("spent", INTERRUPTS.len() as u32)?;
        let mut found = Vec::new();
        for (kind, cpus) in INTERRUPTS.iter().zip(values) {
            for (cpu, [_, ns, count]) in cpus.into_iter().enumerate().filter(|(_, [_, _, count])| *count > 0)
            {
                found.push(Interrupts { kind, cpu, count, ns });
            }
        }
        Ok(found)
    }
}

fn edge(key: &[u32; 13], [opened, last_ns]: [u64; 2]) -> Edge {
    let address = |words: &[u32]| {
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(bytes).to_canonical()
    };
    let [a, b, c, d] = key[8].to_ne_bytes();
    let name: Vec<u8> = key[9..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Edge {
        local: address(&key[..4]),
        remote: address(&key[4..8]),
        port: u16::from_ne_bytes([a, b]),
        outward: u16::from_ne_bytes([c, d]) == 1,
        process: text(&name),
        opened,
        last_ns,
    }
}

/// A task's name, up to the first zero byte.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_read_as_the_program_wrote_it() {
        let word = |bytes: [u8; 4]| u32::from_ne_bytes(bytes);
        let mut key = [0; 13];
        (key[2], key[3]) = (word([0, 0, 0xff, 0xff]), word([127, 0, 0, 1]));
        (key[4], key[7]) = (word([0xfd, 0, 0, 0]), word([0, 0, 0, 9]));
        let ([a, b], [c, d]) = (443_u16.to_ne_bytes(), 1_u16.to_ne_bytes());
        (key[8], key[9]) = (word([a, b, c, d]), word(*b"curl"));
        let edge = edge(&key, [3, 7]);
        assert_eq!((edge.local.to_string(), edge.remote.to_string()), ("127.0.0.1".into(), "fd00::9".into()));
        assert_eq!((edge.port, edge.outward, edge.process.as_str(), edge.opened), (443, true, "curl", 3));
    }
}

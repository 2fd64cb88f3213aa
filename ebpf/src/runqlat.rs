//! Run-queue latency as a histogram.

use aya::maps::{MapData, PerCpuArray};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, include_bytes_aligned};

/// Buckets with a bound: 1 µs, 2 µs, 4 µs and so on to 2^24 µs, some 17 s.
pub const BOUNDS: usize = 25;

/// The map's value: the buckets, the one above all bounds, and the sum in nanoseconds.
type Raw = [u64; BOUNDS + 2];

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/runqlat.bpf.o"));

/// The programs of the object and the tracepoints that they go to.
const PROGRAMS: [(&str, &str); 3] =
    [("on_wakeup", "sched_wakeup"), ("on_wakeup_new", "sched_wakeup_new"), ("on_switch", "sched_switch")];

/// Why something cannot be measured here. The text is what a person is shown.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {reason}")]
pub struct Unavailable {
    /// What was tried.
    action: String,
    /// What the kernel or the loader said, down to the first cause.
    reason: String,
}

impl Unavailable {
    fn new(action: impl Into<String>, error: &dyn std::error::Error) -> Unavailable {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            let text = deeper.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = deeper.source();
        }
        // A verifier log has thousands of lines; its end says why.
        let kept = reason.trim().lines().last().unwrap_or_default().chars().take(300).collect();
        Unavailable { action: action.into(), reason: kept }
    }
}

/// Waits counted since the programs were attached, over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// How many waits were in each bucket (not cumulative); the last one is for those above all bounds.
    pub buckets: [u64; BOUNDS + 1],
    /// All waits together, in nanoseconds.
    pub sum_ns: u64,
}

impl Histogram {
    /// The upper bound of bucket `index` in seconds; infinite for the last.
    pub fn bound_seconds(index: usize) -> f64 {
        if index < BOUNDS { (1u64 << index) as f64 / 1e6 } else { f64::INFINITY }
    }

    /// Waits in all buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(mut self, raw: &Raw) -> Histogram {
        for (bucket, more) in self.buckets.iter_mut().zip(raw) {
            *bucket = bucket.wrapping_add(*more);
        }
        self.sum_ns = self.sum_ns.wrapping_add(raw[BOUNDS + 1]);
        self
    }
}

/// The attached programs. Dropping it detaches them and frees their maps.
pub struct RunQueue {
    latency: PerCpuArray<MapData, Raw>,
    /// Holds programs and links.
    _programs: Ebpf,
}

impl RunQueue {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// [`Unavailable`] when the kernel has no BTF, lacks a tracepoint, or refuses; nothing stays attached.
    pub fn attach() -> Result<RunQueue, Unavailable> {
        let btf = Btf::from_sys_fs().map_err(|e| Unavailable::new("read /sys/kernel/btf/vmlinux", &e))?;
        let mut programs = Ebpf::load(OBJECT).map_err(|e| Unavailable::new("load runqlat", &e))?;
        for (name, tracepoint) in PROGRAMS {
            let failed = |error: &dyn std::error::Error| {
                Unavailable::new(format!("attach runqlat to {tracepoint}"), error)
            };
            let missing = std::io::Error::other("the object lacks the program");
            let program = programs.program_mut(name).ok_or_else(|| failed(&missing))?;
            let program: &mut BtfTracePoint = program.try_into().map_err(|e| failed(&e))?;
            program.load(tracepoint, &btf).map_err(|e| failed(&e))?;
            program.attach().map_err(|e| failed(&e))?;
        }
        let missing = std::io::Error::other("the object lacks the map");
        let map = programs.take_map("latency").ok_or_else(|| Unavailable::new("open the map", &missing))?;
        let latency = PerCpuArray::try_from(map).map_err(|e| Unavailable::new("open the map", &e))?;
        Ok(RunQueue { latency, _programs: programs })
    }

    /// The counts so far.
    ///
    /// # Errors
    /// [`Unavailable`] when the kernel does not give the map's value.
    pub fn read(&self) -> Result<Histogram, Unavailable> {
        let per_cpu = self.latency.get(&0, 0).map_err(|e| Unavailable::new("read the map", &e))?;
        let none = Histogram { buckets: [0; BOUNDS + 1], sum_ns: 0 };
        Ok(per_cpu.iter().fold(none, Histogram::add))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_powers_of_two_in_microseconds() {
        assert_eq!(Histogram::bound_seconds(0), 1e-6);
        assert_eq!(Histogram::bound_seconds(10), 0.001024);
        assert_eq!(Histogram::bound_seconds(BOUNDS - 1), 16.777216);
        assert_eq!(Histogram::bound_seconds(BOUNDS), f64::INFINITY);
    }

    #[test]
    fn cpus_are_added_up() {
        let mut raw: Raw = [0; BOUNDS + 2];
        (raw[3], raw[BOUNDS], raw[BOUNDS + 1]) = (2, 1, 500);
        let none = Histogram { buckets: [0; BOUNDS + 1], sum_ns: 0 };
        let both = none.add(&raw).add(&raw);
        assert_eq!((both.buckets[3], both.buckets[BOUNDS], both.sum_ns, both.count()), (4, 2, 1000, 6));
    }
}

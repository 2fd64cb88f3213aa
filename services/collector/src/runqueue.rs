//! The run-queue latency histogram as a source: attached once, read every round, "unavailable" where the kernel
//! refuses.

use vakt_ebpf::{Histogram, RunQueue};

use crate::family::{Family, Kind};

/// The source's name on the board.
pub const NAME: &str = "ebpf/runqlat";

/// What it is called as a metric.
const METRIC: &str = "vakt_runqueue_latency_seconds";

/// The programs, or why there are none.
pub enum RunQueueSource {
    /// Attached.
    Attached(RunQueue),
    /// Refused; the text says by what.
    Unavailable(String),
}

impl RunQueueSource {
    /// Attaches the programs when `wanted`.
    pub fn attach(wanted: bool) -> RunQueueSource {
        if !wanted {
            return RunQueueSource::Unavailable("unavailable: switched off in the config".into());
        }
        let attached = RunQueue::attach();
        crate::sys::trim_heap();
        match attached {
            Ok(queue) => RunQueueSource::Attached(queue),
            Err(reason) => {
                tracing::warn!(%reason, "run-queue latency is unavailable; everything else goes on");
                RunQueueSource::Unavailable(format!("unavailable: {reason}"))
            }
        }
    }

    /// The histogram now.
    ///
    /// # Errors
    /// Why there is none.
    pub fn read(&self) -> Result<Family, String> {
        match self {
            RunQueueSource::Attached(queue) => match queue.read() {
                Ok(histogram) => Ok(family(&histogram)),
                Err(reason) => Err(format!("unavailable: {reason}")),
            },
            RunQueueSource::Unavailable(reason) => Err(reason.clone()),
        }
    }
}

/// A classic histogram: cumulative buckets with the bounds of `vakt_ebpf`, sum and count.
fn family(histogram: &Histogram) -> Family {
    let help = "Time that runnable tasks waited for a CPU.";
    let mut family = Family::new(METRIC, Kind::Histogram, help);
    let mut sum = 0;
    for (index, count) in histogram.buckets.iter().enumerate() {
        sum += count;
        let bound = crate::exposition::number(Histogram::bound_seconds(index));
        family.push_part("_bucket", vec![("le", bound)], sum as f64);
    }
    family.push_part("_count", Vec::new(), sum as f64);
    family.push_part("_sum", Vec::new(), histogram.sum_ns as f64 / 1e9);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_end_with_infinity() {
        let mut histogram = Histogram { buckets: [0; vakt_ebpf::BOUNDS + 1], sum_ns: 2_500_000_000 };
        (histogram.buckets[0], histogram.buckets[2], histogram.buckets[25]) = (1, 2, 4);
        let family = family(&histogram);
        let part = |index: usize| (family.rows[index].labels[0].1.as_str(), family.rows[index].value);
        assert_eq!((part(0), part(2), part(25)), (("0.000001", 1.0), ("0.000004", 3.0), ("+Inf", 7.0)));
        assert_eq!((family.rows[26].value, family.rows[27].value), (7.0, 2.5));
    }
}

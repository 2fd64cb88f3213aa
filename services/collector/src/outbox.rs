//! What waits for the store: bodies of remote-write, oldest first, bounded. What does not fit sheds the oldest, and
//! that is counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hyper::body::Bytes;
use tokio::sync::Notify;
use vakt_wire::remote_write::{TimeSeries, encode};

use crate::encode::{Block, Shown};
use crate::family::{Family, Kind};

/// Bytes that wait at most: an hour of one machine at 5 s (measured: some 5 kB a round of 290 samples, packed).
pub const PENDING_BYTES_MAX: usize = 4 << 20;

/// One body.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Packed, ready to send.
    pub body: Bytes,
    /// Samples in it.
    pub samples: u64,
}

/// What packing needs, kept from round to round.
#[derive(Debug)]
struct Packing {
    request: Vec<u8>,
    packer: snap::raw::Encoder,
}

impl Default for Packing {
    fn default() -> Packing {
        Packing { request: Vec::new(), packer: snap::raw::Encoder::new() }
    }
}

/// The outbox; shared behind an `Arc`.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<(VecDeque<Batch>, usize)>,
    arrived: Notify,
    packing: Mutex<Packing>,
    /// Samples that the store acknowledged.
    pub sent: AtomicU64,
    /// Samples given up because too much waited.
    pub shed: AtomicU64,
    /// Samples that the store refused for good.
    pub refused: AtomicU64,
}

impl Outbox {
    /// Packs a round over one machine, all with the same time, and queues it.
    pub fn put(&self, shown: &mut Shown, blocks: &[Block], time_ms: i64) {
        let mut packing = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
        let Packing { request, packer } = &mut *packing;
        request.clear();
        let samples = shown.write(blocks, time_ms, request);
        match packer.compress_vec(request) {
            Ok(body) => self.queue(Batch { body: body.into(), samples }),
            Err(error) => {
                tracing::error!(%error, instance = shown.instance(), "a round is too large to be packed and is dropped")
            }
        }
    }

    /// Packs series that have all their labels, and queues them.
    pub fn put_series(&self, series: &[TimeSeries], instance: &str) {
        match encode(series) {
            Ok(body) => self.queue(Batch { body: body.into(), samples: series.len() as u64 }),
            Err(error) => {
                tracing::error!(%error, instance, "a round is too large to be packed and is dropped")
            }
        }
    }

    fn queue(&self, batch: Batch) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (batches, bytes) = &mut *waiting;
        *bytes += batch.body.len();
        batches.push_back(batch);
        while *bytes > PENDING_BYTES_MAX
            && let Some(oldest) = batches.pop_front()
        {
            *bytes -= oldest.body.len();
            self.shed.fetch_add(oldest.samples, Ordering::Relaxed);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The oldest batch; waits for one. Give it back with [`Outbox::put_back`] when it could not be sent.
    pub async fn take(&self) -> Batch {
        loop {
            if let Some(batch) = self.take_now() {
                return batch;
            }
            self.arrived.notified().await;
        }
    }

    /// The oldest batch, if there is one.
    pub fn take_now(&self) -> Option<Batch> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = waiting.0.pop_front()?;
        waiting.1 -= batch.body.len();
        Some(batch)
    }

    /// Puts a batch back as the oldest, when there is still room; else it is shed.
    pub fn put_back(&self, batch: Batch) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.1 + batch.body.len() > PENDING_BYTES_MAX {
            self.shed.fetch_add(batch.samples, Ordering::Relaxed);
            return;
        }
        waiting.1 += batch.body.len();
        waiting.0.push_front(batch);
    }

    /// The outbox as metrics.
    pub fn families(&self) -> [Family; 4] {
        let bytes = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1;
        let count = |name, help, counter: &AtomicU64| {
            Family::counter(name, help, counter.load(Ordering::Relaxed) as f64)
        };
        [
            Family::gauge("vakt_collector_pending_bytes", "Bytes that wait for the store.", bytes as f64),
            count("vakt_collector_samples_refused_total", "Samples that the store refused.", &self.refused),
            count("vakt_collector_samples_sent_total", "Samples that the store acknowledged.", &self.sent),
            count(
                "vakt_collector_samples_shed_total",
                "Samples given up because too many waited.",
                &self.shed,
            ),
        ]
    }
}

/// `up`: whether a machine answered.
pub fn up(answered: bool) -> Family {
    Family::new("up", Kind::Gauge, "Whether the machine answered.")
        .with(Vec::new(), f64::from(u8::from(answered)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_outbox_sheds_the_oldest_and_counts_it() {
        let outbox = Outbox::default();
        let batch = |samples| Batch { body: vec![0; PENDING_BYTES_MAX / 4].into(), samples };
        for samples in 1..=6 {
            outbox.queue(batch(samples));
        }
        assert_eq!(outbox.shed.load(Ordering::Relaxed), 1 + 2);
        let oldest = outbox.take_now().unwrap();
        assert_eq!(oldest.samples, 3);
        outbox.queue(batch(7));
        outbox.put_back(oldest);
        assert_eq!(outbox.shed.load(Ordering::Relaxed), 1 + 2 + 3);
        let order: Vec<_> = std::iter::from_fn(|| outbox.take_now()).map(|batch| batch.samples).collect();
        assert_eq!(order, [4, 5, 6, 7]);
    }
}

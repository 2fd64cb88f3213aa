//! What was stored goes on to egress, which sends it to engines elsewhere.
//!
//! A request is handed over after it is durable here and before it is acknowledged, so that a sender who was answered
//! has both. While egress does not take it (it restarts, say), the sender is told to come again; after
//! [`PATIENCE`] requests pass without it, and their samples are counted as missed: metrics must not stop for those who
//! read copies.
//!
//! What the store writes itself, by its rules, goes the same way once it is durable, from a queue in memory ([`Own`]): nobody
//! waits for that, so evaluations are not held up by an egress that is away.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::Method;
use tokio::sync::{mpsc, oneshot};
use vakt_wire::http::{CallError, Client};

/// egress may be away this long without a sample missing: it restarts within seconds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One hand-over: a write and an fdatasync there.
const WITHIN: Duration = Duration::from_secs(5);

/// Requests of the store's own that wait for egress: some minutes of rules. Past it they are counted as missed.
const OWN_WAITING_MAX: usize = 1024;

/// A request of the store's own is tried again after this, within [`PATIENCE`].
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The way to egress.
#[derive(Debug)]
pub struct Forwarder {
    egress: Client,
    away_since: Mutex<Option<Instant>>,
    missed: AtomicU64,
}

impl Forwarder {
    /// The egress that listens at `socket`.
    pub fn new(socket: &Path) -> Forwarder {
        Forwarder {
            egress: Client::unix(socket).within(WITHIN),
            away_since: Mutex::new(None),
            missed: AtomicU64::new(0),
        }
    }

    /// Samples that egress was not given since it was away for too long.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Hands a body of remote-write 1.0 over, packed by snappy.
    ///
    /// # Errors
    /// When egress did not take it and the sender should come again; never for longer than [`PATIENCE`].
    pub async fn hand_over(&self, body: Vec<u8>, samples: u64) -> Result<(), CallError> {
        let path = format!("/api/v1/write?samples={samples}");
        let Err(error) = self.egress.call(Method::POST, &path, "application/x-protobuf", body).await else {
            *self.away_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Ok(());
        };
        let mut away_since = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        if away_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            return Err(error);
        }
        if self.missed.fetch_add(samples, Ordering::Relaxed) == 0 {
            tracing::error!(%error, "egress is away; what it misses is counted");
        }
        Ok(())
    }
}

/// A request of the store's own that waits for egress.
#[derive(Debug)]
struct Waiting {
    body: Vec<u8>,
    samples: u64,
    /// Whether it is durable here, once that is known.
    durable: oneshot::Receiver<bool>,
}

/// What the store writes itself, on its way to egress. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct Own {
    queue: mpsc::Sender<Waiting>,
    forwarder: Arc<Forwarder>,
}

impl Own {
    /// The queue, and the task that empties it and ends when the queue is dropped and empty.
    pub fn new(forwarder: Arc<Forwarder>) -> (Own, impl Future<Output = ()>) {
        let (queue, mut waiting) = mpsc::channel::<Waiting>(OWN_WAITING_MAX);
        let to = forwarder.clone();
        let pass_on = async move {
            while let Some(Waiting { body, samples, durable }) = waiting.recv().await {
                // What is not durable here is evaluated anew.
                if !durable.await.unwrap_or(false) {
                    continue;
                }
                while let Err(error) = to.hand_over(body.clone(), samples).await {
                    tracing::debug!(%error, "what rules record waits for egress");
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
            }
        };
        (Own { queue, forwarder }, pass_on)
    }

    /// Hands a body of remote-write 1.0 over, packed by snappy, which goes as soon as it is durable here.
    pub fn hand_over(&self, body: Vec<u8>, samples: u64, durable: oneshot::Receiver<bool>) {
        if self.queue.try_send(Waiting { body, samples, durable }).is_err() {
            self.forwarder.missed.fetch_add(samples, Ordering::Relaxed);
        }
    }
}

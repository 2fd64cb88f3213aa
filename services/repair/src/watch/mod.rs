//! One machine: keeps a connection to it, looks at its units when systemd says that they changed (and
//! every 30 s, should a signal have been missed), and does what the engines decide.

mod attend;
mod call;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vakt_peer::systemd::{BusError, Systemd, UnitName, Watch};
use vakt_peer::{ConnectError, Session, Target, backoff};

use crate::board::{Board, Link};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::evidence::Journal;

/// The backstop: every unit is looked at this often, whether or not a signal came.
pub const POLL_EVERY: Duration = Duration::from_secs(30);

/// What all watchers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The clocks.
    pub clock: Clock,
    /// Where evidence goes.
    pub journal: Arc<Journal>,
    /// What the pages see.
    pub board: Arc<Board>,
    /// Fires when the service is to stop.
    pub stop: CancellationToken,
}

/// The watcher of one machine.
#[derive(Debug)]
pub struct Watcher {
    target: Target,
    shared: Shared,
    slots: Vec<Slot>,
}

/// One policy here, and the repair it is in.
#[derive(Debug)]
struct Slot {
    engine: Engine,
    repair: Option<String>,
}

/// A connection with everything that is needed on it.
struct Connected {
    session: Session,
    systemd: Systemd,
    watch: Watch,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl Watcher {
    /// A watcher for the engines of one machine; `engines` must not be empty.
    pub fn new(target: Target, engines: Vec<Engine>, shared: Shared) -> Watcher {
        let slots = engines.into_iter().map(|engine| Slot { engine, repair: None }).collect();
        Watcher { target, shared, slots }
    }

    /// Watches until the service stops; then brings what is under way to an end, or records that it was
    /// interrupted.
    pub async fn run(mut self) {
        let mut failures = 0;
        while !self.shared.stop.is_cancelled() {
            self.shared.board.link(self.target.name(), Link::Connecting, None, None);
            let stop = self.shared.stop.clone();
            let connected = tokio::select! {
                () = stop.cancelled() => break,
                connected = self.connect() => connected,
            };
            let why = match connected {
                Ok(connected) => {
                    failures = 0;
                    self.attend(connected).await
                }
                Err(error) => error.to_string(),
            };
            if self.shared.stop.is_cancelled() {
                break;
            }
            failures += 1;
            self.wait(failures, why).await;
        }
        self.interrupt("the service stops").await;
    }

    async fn connect(&self) -> Result<Connected, LinkError> {
        let session = Session::connect(&self.target).await?;
        let systemd = session.systemd().await?;
        let units: Vec<_> = self.units().into_iter().collect();
        let watch = systemd.watch(&units).await?;
        let (board, peer) = (&self.shared.board, self.target.name());
        board.link(peer, Link::Connected, None, None);
        tracing::info!(peer, address = self.target.address(), units = units.len(), "watching");
        Ok(Connected { session, systemd, watch })
    }

    async fn wait(&self, failures: u32, why: String) {
        let delay = backoff::delay(failures, noise());
        let next_try_ms = self.shared.clock.wall_ms() + delay.as_millis() as u64;
        tracing::warn!(
            peer = self.target.name(),
            error = why,
            again_in_ms = delay.as_millis() as u64,
            "not connected"
        );
        self.shared.board.link(self.target.name(), Link::Disconnected, Some(why), Some(next_try_ms));
        tokio::select! {
            () = self.shared.stop.cancelled() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }

    fn units(&self) -> BTreeSet<UnitName> {
        self.slots.iter().map(|slot| slot.engine.policy().unit.clone()).collect()
    }
}

/// A random number for the jitter; without randomness the waits are merely all alike.
fn noise() -> u32 {
    let mut bytes = [0; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) | Err(_) => u32::from_le_bytes(bytes),
    }
}

//! The background thread: flushes windows that are due, makes room, merges, expires.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::Engine;

/// The thread looks around at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Expiry is looked at this often.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// After a failed flush or merge the next try comes this much later, or as soon as room was made.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The running thread. Stop it with [`Maintenance::stop`].
pub struct Maintenance {
    engine: Arc<Engine>,
    thread: JoinHandle<()>,
}

impl Maintenance {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start(engine: Arc<Engine>) -> io::Result<Maintenance> {
        let worker = engine.clone();
        let thread = Builder::new().name("maintenance".into()).spawn(move || run(&worker))?;
        Ok(Maintenance { engine, thread })
    }

    /// Ends the thread after the flush it is in; a merge is given up.
    pub fn stop(self) {
        self.engine.stopping.store(true, Ordering::Relaxed);
        self.engine.room.bell.ring();
        if self.thread.join().is_err() {
            tracing::error!("the maintenance thread had panicked");
        }
    }
}

/// One piece of work that nobody waits for.
fn tidy(engine: &Engine) -> Result<bool, String> {
    Ok(engine.merge()? || engine.trim()? || engine.clean_when_due()? || engine.downsample()?)
}

fn run(engine: &Engine) {
    let mut not_before = Instant::now();
    let mut expire_at = Instant::now();
    while !engine.stopping.load(Ordering::Relaxed) {
        if Instant::now() < not_before || !engine.is_due() {
            engine.room.bell.wait(LOOK_EVERY);
        }
        let (now, due) = (Instant::now(), engine.is_due());
        if due && now >= not_before {
            if let Err(error) = engine.flush() {
                tracing::error!(%error, "cannot write a block; its samples stay in memory and in the log");
                not_before = now + RETRY_AFTER;
            }
            vakt_wire::heap::trim();
        }
        match engine.make_room() {
            // What failed for it may be tried at once.
            Ok(true) => not_before = now,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot make room on a full disk"),
        }
        if now < not_before {
            continue;
        }
        if now >= expire_at {
            expire_at = now + EXPIRE_EVERY;
            if let Err(error) = engine.expire() {
                tracing::error!(%error, "cannot delete an expired block");
            }
        }
        if !due && let Err(error) = tidy(engine) {
            tracing::warn!(%error, "merge did not happen");
            not_before = now + RETRY_AFTER;
        }
    }
}

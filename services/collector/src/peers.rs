//! Peers: one SSH connection and one command a round for each, in a task of its own, so that a slow or dead one
//! delays no other.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use vakt_peer::{Session, Target, backoff};

use crate::board::Board;
use crate::encode::{Block, Shown};
use crate::family::Family;
use crate::inputs::Inputs;
use crate::local::now;
use crate::node::{Outcome, SOURCES, outcomes};
use crate::outbox::{Outbox, up};
use crate::remote;

/// Output of one round at most: some 100 times what a usual machine prints (12 kB here).
const OUTPUT_BYTES_MAX: usize = 2 << 20;

/// One round must be done within this.
const ROUND_WITHIN: Duration = Duration::from_secs(10);

/// A peer that is watched.
pub struct Watch {
    /// Whom to connect to.
    pub target: Target,
    /// Time between two rounds.
    pub interval: Duration,
    /// Where its metrics go.
    pub outbox: Arc<Outbox>,
    /// Where its state is noted.
    pub board: Arc<Board>,
}

/// The connection, or when the next try is due.
enum Link {
    Open(Box<Session>),
    Closed { failures: u32, not_before: Instant },
}

impl Watch {
    /// Scrapes the peer until `stop` fires.
    pub async fn run(self, stop: CancellationToken) {
        let mut shown = Shown::new(self.target.name());
        let mut link = Link::Closed { failures: 0, not_before: Instant::now() };
        // Peers that start together do not stay in step.
        let first = self.interval.mul_f64(f64::from(noise()) / f64::from(u32::MAX));
        let mut ticks = interval_at((Instant::now() + first).into(), self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let command = remote::command();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                next = self.round(link, &command, &mut shown) => link = next,
            }
        }
    }

    async fn round(&self, link: Link, command: &str, shown: &mut Shown) -> Link {
        let begun = (Instant::now(), now());
        let (link, outcome) = match self.open(link).await {
            Ok(session) => self.scrape(session, command).await,
            Err((link, reason)) => (link, Err(reason)),
        };
        let (seconds, finished) = (begun.0.elapsed().as_secs_f64(), now());
        let families = match &outcome {
            Ok(inputs) => families(inputs, seconds, (begun.1 + finished) / 2.0),
            // What was shown before is marked as gone.
            Err(_) => vec![up(false)],
        };
        self.outbox.put(shown, &[Block::new(&families)], (finished * 1000.0) as i64);
        let name = format!("peer/{}", self.target.name());
        self.board.note(&name, finished, seconds, outcome.err());
        link
    }

    async fn open(&self, link: Link) -> Result<Box<Session>, (Link, String)> {
        let (failures, not_before) = match link {
            Link::Open(session) if !session.is_closed() => return Ok(session),
            Link::Open(_) => (0, Instant::now()),
            Link::Closed { failures, not_before } => (failures, not_before),
        };
        if Instant::now() < not_before {
            let wait = (not_before - Instant::now()).as_secs();
            return Err((
                Link::Closed { failures, not_before },
                format!("not connected; next try in {wait} s"),
            ));
        }
        Session::connect(&self.target).await.map(Box::new).map_err(|error| {
            let delay = backoff::delay(failures + 1, noise());
            tracing::warn!(%error, peer = self.target.name(), ?delay, "cannot connect to the peer");
            let link =
                Link::Closed { failures: failures.saturating_add(1), not_before: Instant::now() + delay };
            (link, error.to_string())
        })
    }

    async fn scrape(&self, session: Box<Session>, command: &str) -> (Link, Result<Inputs, String>) {
        match session.exec(command, b"", OUTPUT_BYTES_MAX, ROUND_WITHIN).await {
            Ok(output) => {
                let inputs = remote::inputs(&String::from_utf8_lossy(&output.stdout));
                if inputs.files.is_empty() {
                    let said = output.stderr.lines().next().unwrap_or("nothing").to_owned();
                    return (
                        Link::Open(session),
                        Err(format!("peer printed no /proc files; it said: {said}")),
                    );
                }
                (Link::Open(session), Ok(inputs))
            }
            Err(error) => {
                tracing::warn!(%error, peer = self.target.name(), "round failed; the connection is made anew");
                session.close().await;
                let not_before = Instant::now() + backoff::delay(1, noise());
                (Link::Closed { failures: 1, not_before }, Err(error.to_string()))
            }
        }
    }
}

/// A peer's metrics. `here` is our own clock in the middle of the round.
fn families(inputs: &Inputs, seconds: f64, here: f64) -> Vec<Family> {
    let mut families = vec![up(true)];
    let mut fared = Vec::with_capacity(SOURCES.len());
    for source in SOURCES {
        let begun = Instant::now();
        let parsed = (source.parse)(inputs);
        fared.push((source.name, begun.elapsed().as_secs_f64(), parsed));
    }
    let about = outcomes(fared.iter().map(|(name, seconds, parsed)| {
        let error = parsed.as_ref().err();
        Outcome { name, seconds: *seconds, error }
    }));
    families.extend(fared.into_iter().filter_map(|(.., parsed)| parsed.ok()).flatten());
    families.extend(about);
    let help = "Duration of a round over SSH.";
    families.push(Family::gauge("vakt_peer_round_duration_seconds", help, seconds));
    if let Some(there) = inputs.now {
        let help = "The peer's clock minus ours, exact to half a round.";
        families.push(Family::gauge("vakt_peer_clock_skew_seconds", help, there - here));
    }
    families
}

/// A number that no other process has: the standard library's hash keys are random.
fn noise() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}

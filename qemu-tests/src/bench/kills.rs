//! What a kill costs: each store is killed (SIGKILL) twenty times while it takes samples, and then asked for everything that it
//! acknowledged.
//!
//! Five connections send one body after the other, each body at a time of its own; the moment of a kill comes from a
//! seeded generator. After a kill the same data are opened again and the senders go on after the body that was cut off,
//! whose fate is nobody's promise. At the end a query counts the samples of each time and connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::Row;
use super::bodies::{CONNECTIONS, Fleet, STEP_MS};
use super::load::range_path;
use super::stores::{Kind, Program, Running, WINDOW, newest_ms};

/// Kills.
const KILLS: usize = 20;

/// Hosts of each connection: bodies of 400 samples, so that many are under way.
const HOSTS_EACH: usize = 2;

/// Bodies that a connection may send in all: eleven days of them.
const STEPS_MAX: usize = 64_000;

/// Points that one question asks for; all stores answer so many.
const POINTS: i64 = 10_000;

/// When a store is killed after its start: VictoriaMetrics writes what it has every 5 s, and has done so before some of the kills.
const KILL_AFTER_MS: std::ops::Range<u64> = 500..8000;

/// Takes the measure.
///
/// # Errors
/// When a store does not come up again.
pub fn measure() -> Result<Vec<Row>> {
    let store = match Program::find(Kind::Vakt) {
        Ok(store) => store,
        Err(error) => return Ok(vec![Row::skipped("kills", &format!("{error:#}"))]),
    };
    let first_ms = newest_ms()? - STEPS_MAX as i64 * STEP_MS;
    let (sent, lost) = one(&store, first_ms)?;
    let (what, of) = ("acknowledged samples lost in 20 kills", "of so many that were acknowledged");
    Ok(match Program::find(Kind::VictoriaMetrics) {
        Ok(peer) => {
            let (theirs_sent, theirs) = one(&peer, first_ms)?;
            vec![
                Row::beside(what, &peer.name, lost as f64, theirs as f64, ""),
                Row::beside(of, &peer.name, sent as f64, theirs_sent as f64, ""),
            ]
        }
        Err(error) => vec![
            Row::alone(what, lost as f64, ""),
            Row::alone(of, sent as f64, ""),
            Row::skipped("VictoriaMetrics", &format!("{error:#}")),
        ],
    })
}

/// What one connection sends, and what was acknowledged of it.
struct Sender {
    fleet: Fleet,
    /// The step of its next body.
    next: usize,
    /// The steps whose bodies were acknowledged.
    acknowledged: Vec<usize>,
}

/// (samples acknowledged, lost of them)
fn one(program: &Program, first_ms: i64) -> Result<(u64, u64)> {
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let fleet = |at: usize| Fleet::new(at, HOSTS_EACH).label("sender", &at.to_string());
    let mut senders: Vec<Sender> =
        (0..CONNECTIONS).map(|at| Sender { fleet: fleet(at), next: 0, acknowledged: Vec::new() }).collect();
    let mut moment = 0x6b69_6c6c_u64;
    for kill in 1..=KILLS {
        let running = program.start(room.path(), &["--window", WINDOW])?;
        // Marsaglia's xorshift.
        moment ^= moment << 13;
        moment ^= moment >> 7;
        moment ^= moment << 17;
        let after = KILL_AFTER_MS.start + moment % (KILL_AFTER_MS.end - KILL_AFTER_MS.start);
        until_killed(running, &mut senders, first_ms, Duration::from_millis(after))?;
        let sent: usize = senders.iter().map(|sender| sender.acknowledged.len()).sum();
        eprintln!("  {}: kill {kill} after {after} ms, {sent} bodies acknowledged so far", program.name);
    }
    let running = program.start(room.path(), &["--window", WINDOW])?;
    // VictoriaMetrics finds nothing of some days in its first seconds.
    running.server.settle()?;
    let (mut sent, mut lost) = (0, 0);
    for (at, sender) in senders.iter().enumerate() {
        let each = sender.fleet.series() as u64;
        let stored = stored(&running, at, sender.next, first_ms)?;
        sent += sender.acknowledged.len() as u64 * each;
        lost += sender.acknowledged.iter().map(|&step| each - stored[step].min(each)).sum::<u64>();
    }
    running.server.stop()?;
    Ok((sent, lost))
}

/// Sends on all connections until the server is killed.
fn until_killed(running: Running, senders: &mut [Sender], first_ms: i64, after: Duration) -> Result<()> {
    let killed = Arc::new(AtomicBool::new(false));
    let Running { server, address } = running;
    std::thread::scope(|scope| {
        let threads: Vec<_> = senders
            .iter_mut()
            .map(|sender| {
                let killed = killed.clone();
                scope.spawn(move || {
                    let sent = sender.send(address, first_ms);
                    // Before the kill nothing may go wrong, after it everything does.
                    if killed.load(Ordering::SeqCst) { Ok(()) } else { sent }
                })
            })
            .collect();
        std::thread::sleep(after);
        killed.store(true, Ordering::SeqCst);
        // Dropping a server is SIGKILL.
        drop(server);
        threads.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a sender panicked"))?)
    })
}

impl Sender {
    /// Sends until something fails, which it returns.
    fn send(&mut self, address: std::net::SocketAddr, first_ms: i64) -> Result<()> {
        let mut connection = super::connection::Connection::open(address)?;
        while self.next < STEPS_MAX {
            let step = self.next;
            self.next += 1;
            for body in self.fleet.scrape(first_ms + step as i64 * STEP_MS) {
                super::load::insist(&mut connection, &body?)?;
            }
            self.acknowledged.push(step);
        }
        Err(anyhow!("{STEPS_MAX} bodies were sent before the kill"))
    }
}

/// The samples of a sender that are stored for each of its first `steps` steps.
fn stored(running: &Running, sender: usize, steps: usize, first_ms: i64) -> Result<Vec<u64>> {
    let step_s = STEP_MS / 1000;
    let query = format!("sum(count_over_time({{job=\"bench\",sender=\"{sender}\"}}[{step_s}s]))");
    let mut counts = vec![0; steps];
    let mut connection = running.connect()?;
    for first in (0..steps as i64).step_by(POINTS as usize) {
        let last = (first + POINTS).min(steps as i64) - 1;
        let path = range_path(&query, first_ms + first * STEP_MS, first_ms + last * STEP_MS, step_s);
        let (status, body) = connection.get(&path)?;
        ensure!(status == 200, "{query}: {status} {}", String::from_utf8_lossy(&body));
        let parsed: Value = serde_json::from_slice(&body)?;
        // Nothing at all is no series.
        for point in parsed["data"]["result"][0]["values"].as_array().into_iter().flatten() {
            let at = (point[0].as_f64().context("no time")? * 1000.0).round() as i64;
            let count = point[1].as_str().and_then(|text| text.parse::<f64>().ok());
            let step = (at - first_ms) / STEP_MS;
            *counts.get_mut(step as usize).context("a time that was not asked for")? =
                count.context("no count")? as u64;
        }
    }
    Ok(counts)
}

//! What 100,000 active series take: resident memory after half an hour's scrapes of them, sent as fast as they are taken.
//!
//! The store keeps its defaults, as on the box: a window of 30 minutes, written early when it holds 24 MiB. "At rest" is when
//! neither has work left, "peak" includes the taking itself.

use anyhow::{Context, Result};

use super::Row;
use super::bodies::{SERIES, Shape};
use super::load::send;
use super::process::{peak_rss_mib, rss_mib};
use super::stores::{Kind, Program, newest_ms};

/// Active series.
const ACTIVE: usize = 100_000;

/// Scrapes of each: 30 minutes.
const STEPS: usize = 120;

/// Takes the measure.
///
/// # Errors
/// When a store cannot be started or ends.
pub fn measure() -> Result<Vec<Row>> {
    let store = match Program::find(Kind::Vakt) {
        Ok(store) => store,
        Err(error) => return Ok(vec![Row::skipped("resident", &format!("{error:#}"))]),
    };
    let shape = Shape { hosts: ACTIVE / SERIES, steps: STEPS, end_ms: newest_ms()? };
    let [rest, peak] = one(&store, shape)?;
    let (now, most) = ("resident with 100,000 series, at rest", "resident with 100,000 series, peak");
    Ok(match Program::find(Kind::VictoriaMetrics) {
        Ok(peer) => {
            let theirs = one(&peer, shape)?;
            let row = |what, ours, theirs| Row::beside(what, &peer.name, ours, theirs, "MiB");
            vec![row(now, rest, theirs[0]), row(most, peak, theirs[1])]
        }
        Err(error) => vec![
            Row::alone(now, rest, "MiB"),
            Row::alone(most, peak, "MiB"),
            Row::skipped("VictoriaMetrics", &format!("{error:#}")),
        ],
    })
}

/// Resident at rest, and at most.
fn one(program: &Program, shape: Shape) -> Result<[f64; 2]> {
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let running = program.start(room.path(), &[])?;
    send(running.address, shape).with_context(|| program.name.clone())?;
    running.server.settle()?;
    let pid = running.server.pid();
    let measured = [rss_mib(pid)?, peak_rss_mib(pid)?];
    running.server.stop()?;
    Ok(measured)
}

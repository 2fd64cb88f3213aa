//! How costs grow: with the number of series, and with the number of samples of as many series.
//!
//! "No worse than linear in what is touched" is read off the columns: what a sample costs to take must not grow with the series
//! or samples that are there already, and what a question costs must follow the series and samples that it
//! reads, not those that the store has. So the same two questions are asked everywhere: one host's rates over the last
//! hour, and a sum over every series' last value.
//!
//! Series: 10,000 to 1,000,000 at two million samples each, or twenty scrapes (the first scrape, which makes the series, apart from the
//! rest). Samples: 1, 10 and 100 million of 10,000 series, or up to `VAKT_BENCH_GROWTH` million.

use std::time::Instant;

use anyhow::{Context, Result};

use super::bodies::{SERIES, STEP_MS, Shape};
use super::load::{range_path, send_steps};
use super::process::{cpu_s, peak_rss_mib};
use super::stores::{Kind, Program, Running, WINDOW, newest_ms};
use super::{Row, median};

/// Numbers of series.
const SERIES_STEPS: [usize; 3] = [10_000, 100_000, 1_000_000];

/// Samples at each, the first scrape aside.
const SAMPLES_EACH: usize = 2_000_000;

/// Scrapes at each, the first one aside: what is flushed and merged is then not all of it single samples.
const STEPS_MIN: usize = 20;

/// Series while samples grow, and up to how many millions of these without another wish.
const SERIES_FIXED: usize = 10_000;
const MILLIONS_MAX: usize = 100;

/// Times that each question is asked; the middle one counts.
const ASKED: usize = 9;

/// Takes the measure.
///
/// # Errors
/// When the store cannot be started or loses its way.
pub fn measure() -> Result<Vec<Row>> {
    let store = match Program::find(Kind::Vakt) {
        Ok(store) => store,
        Err(error) => return Ok(vec![Row::skipped("growth", &format!("{error:#}"))]),
    };
    let mut rows = Vec::new();
    for series in SERIES_STEPS {
        let steps = 1 + (SAMPLES_EACH / series).max(STEPS_MIN);
        rows.extend(grown(&store, series, steps, &format!("{} k series", series / 1000))?);
    }
    let wished = std::env::var("VAKT_BENCH_GROWTH").ok().map(|text| text.parse()).transpose();
    let most: usize = wished.context("VAKT_BENCH_GROWTH is no number of millions")?.unwrap_or(MILLIONS_MAX);
    let mut millions = 1;
    while millions <= most {
        let steps = millions * 1_000_000 / SERIES_FIXED;
        rows.extend(grown(&store, SERIES_FIXED, steps, &format!("{millions} M samples"))?);
        millions *= 10;
    }
    Ok(rows)
}

fn grown(program: &Program, series: usize, steps: usize, name: &str) -> Result<Vec<Row>> {
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let running = program.start(room.path(), &["--window", WINDOW])?;
    let shape = Shape { hosts: series / SERIES, steps, end_ms: newest_ms()? };
    let mut fleets = shape.fleets();
    let pid = running.server.pid();
    let begun = cpu_s(pid)?;
    send_steps(running.address, &mut fleets, shape, 0..1)?;
    let made = cpu_s(pid)?;
    send_steps(running.address, &mut fleets, shape, 1..steps)?;
    running.server.settle()?;
    let taken = cpu_s(pid)?;
    let samples = (series * (steps - 1)) as f64;
    let host = "rate(node_cpu_seconds_total{instance=\"host-003.example.org:9100\"}[5m])";
    let rows = vec![
        Row::alone(&format!("{name}: CPU a million new series"), (made - begun) * 1e6 / series as f64, "s"),
        Row::alone(&format!("{name}: CPU a million samples"), (taken - made) * 1e6 / samples, "s"),
        Row::alone(&format!("{name}: one host's rates, 1 h"), asked_ms(&running, host, shape)?, "ms"),
        Row::alone(
            &format!("{name}: a million series summed once"),
            asked_ms(&running, "sum({job=\"bench\"})", Shape { steps: 1, ..shape })? * 1e6 / series as f64,
            "ms",
        ),
        Row::alone(&format!("{name}: peak resident"), peak_rss_mib(pid)?, "MiB"),
        Row::alone(
            &format!("{name}: disk a sample"),
            program.bytes_at_rest(room.path())? as f64 / shape.samples() as f64,
            "bytes",
        ),
    ];
    running.server.stop()?;
    Ok(rows)
}

/// The middle time of a question about the last hour, or the last moment of a shape of a single step.
fn asked_ms(running: &Running, query: &str, shape: Shape) -> Result<f64> {
    let mut connection = running.connect()?;
    let span = (shape.steps as i64 - 1).min(240) * STEP_MS;
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let path = range_path(query, shape.end_ms - span, shape.end_ms, 60);
        let asked = Instant::now();
        let (status, body) = connection.get(&path)?;
        times.push(asked.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(status == 200, "{query}: {status} {}", String::from_utf8_lossy(&body));
    }
    Ok(median(&times))
}

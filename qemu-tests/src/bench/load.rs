//! Sends a fleet's scrapes to a store, five connections at a time, and asks it for numbers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::bodies::{Fleet, STEP_MS, Shape};
use super::connection::Connection;

/// A store that says "later" (503) gets the body again this often, a pause apart: for two minutes, in which a busy host writes the
/// blocks of a million series.
const TRIES_MAX: usize = 2400;
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Connections are together again after so many scrapes, so that none is ahead by more than 10 minutes.
const TOGETHER_EVERY: usize = 40;

/// Sends all of a shape. Returns how long the connection that waited longest waited for acknowledgements.
///
/// # Errors
/// When a body is refused, or the store goes.
pub fn send(address: SocketAddr, shape: Shape) -> Result<Duration> {
    let mut fleets = shape.fleets();
    send_steps(address, &mut fleets, shape, 0..shape.steps)
}

/// As [`send`], some of the steps, from fleets that go on.
///
/// # Errors
/// As [`send`].
pub fn send_steps(
    address: SocketAddr,
    fleets: &mut [Fleet],
    shape: Shape,
    steps: std::ops::Range<usize>,
) -> Result<Duration> {
    let mut waited = Duration::ZERO;
    for first in steps.clone().step_by(TOGETHER_EVERY) {
        let part = first..(first + TOGETHER_EVERY).min(steps.end);
        let connections = fleets.iter().map(|_| Connection::open(address));
        let mut connections = connections.collect::<Result<Vec<_>>>()?;
        let longest = std::thread::scope(|scope| {
            let senders: Vec<_> = fleets
                .iter_mut()
                .zip(&mut connections)
                .map(|(fleet, connection)| {
                    let part = part.clone();
                    scope.spawn(move || send_some(connection, fleet, shape, part))
                })
                .collect();
            let waits =
                senders.into_iter().map(|one| one.join().map_err(|_| anyhow!("a sender panicked"))?);
            waits.collect::<Result<Vec<_>>>()
        })?;
        waited += longest.into_iter().max().unwrap_or_default();
    }
    Ok(waited)
}

fn send_some(
    connection: &mut Connection,
    fleet: &mut Fleet,
    shape: Shape,
    steps: std::ops::Range<usize>,
) -> Result<Duration> {
    let mut waited = Duration::ZERO;
    for step in steps {
        for body in fleet.scrape(shape.at_ms(step)) {
            let body = body?;
            let started = Instant::now();
            insist(connection, &body)?;
            waited += started.elapsed();
        }
    }
    Ok(waited)
}

/// Sends a body until it is acknowledged.
///
/// # Errors
/// When it is refused for good.
pub fn insist(connection: &mut Connection, body: &[u8]) -> Result<()> {
    for _ in 0..TRIES_MAX {
        let (status, answer) = connection.remote_write(body)?;
        match status {
            200 | 204 => return Ok(()),
            503 => std::thread::sleep(TRY_EVERY),
            _ => {
                return Err(anyhow!(
                    "a body was refused with {status}: {}",
                    String::from_utf8_lossy(&answer)
                ));
            }
        }
    }
    Err(anyhow!("a body was put off {TRIES_MAX} times"))
}

/// Asks whether every series of a shape, and every sample of its largest metric, is there.
///
/// # Errors
/// When something is missing.
pub fn ensure_whole(address: SocketAddr, shape: Shape) -> Result<()> {
    let mut connection = Connection::open(address)?;
    let series = number(&mut connection, "count({job=\"bench\"})", shape.end_ms)?;
    ensure!(series == shape.series() as f64, "{series} series are found of {}", shape.series());
    // In parts that no store's limits on samples a query refuse.
    let sent = shape.hosts * super::bodies::CPU_SERIES * shape.steps;
    let hours = (shape.steps as i64 * STEP_MS).div_euclid(3_600_000) + 1;
    let mut stored = 0.0;
    for hour in 0..hours {
        let query = "sum(count_over_time(node_cpu_seconds_total{job=\"bench\"}[1h]))";
        stored += number(&mut connection, query, shape.end_ms - hour * 3_600_000)?;
    }
    ensure!(stored == sent as f64, "{stored} samples of node_cpu_seconds_total are found of {sent}");
    Ok(())
}

/// Asks for one number; nothing is 0.
///
/// # Errors
/// When the query fails.
pub fn number(connection: &mut Connection, query: &str, at_ms: i64) -> Result<f64> {
    let path = format!("/api/v1/query?query={}&time={}&nocache=1", escape(query), at_ms / 1000);
    let (status, answer) = connection.get(&path)?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(status == 200, "{query} failed: {status} {text}");
    let parsed: Value = serde_json::from_str(&text).with_context(|| format!("{query}: {text}"))?;
    match parsed["data"]["result"][0]["value"][1].as_str() {
        Some(number) => Ok(number.parse()?),
        None => Ok(0.0),
    }
}

/// The path of a range query that no cache answers.
pub fn range_path(query: &str, from_ms: i64, to_ms: i64, step_s: i64) -> String {
    let query = escape(query);
    let at = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    format!(
        "/api/v1/query_range?query={query}&start={}&end={}&step={step_s}&nocache=1",
        at(from_ms),
        at(to_ms)
    )
}

fn escape(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

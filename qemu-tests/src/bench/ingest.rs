//! What taking samples costs: the store and VictoriaMetrics get the same bodies in alternation.
//!
//! Five connections over the loopback, each body a scrape of ten hosts (2,000 samples), sent when the one
//! before was acknowledged. Vakt's acknowledgement means that the samples are durable; VictoriaMetrics' does
//! not. The store's window is set to 5 s, VictoriaMetrics' own interval, so that writing blocks is counted on
//! both sides; with the default of 30 minutes the samples of a short run would stay in its log. CPU is the
//! server's own, first until it has nothing left to do (merges are over), and then for its whole life with its start and the
//! flush at its end. Queries that are not counted then ask whether every series, and every sample of the
//! largest metric, has arrived.
//!
//! Three million samples in three rounds, or `VAKT_BENCH_SAMPLES` (in millions) in one.

use anyhow::{Context, Result};

use super::bodies::{SERIES, Shape};
use super::load::{ensure_whole, send};
use super::process::{cpu_s, disk_bytes, peak_rss_mib};
use super::stores::{Kind, Program, WINDOW, newest_ms};
use super::{Row, median};

/// Hosts in the fleet.
const HOSTS: usize = 50;

/// Samples without another wish; rounds then, whose medians the table shows.
const MILLIONS: usize = 3;
const ROUNDS: usize = 3;

/// What one round cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    idle_cpu_s: f64,
    life_cpu_s: f64,
    sending_s: f64,
    peak_mib: f64,
    disk_bytes: f64,
}

/// Takes the measure.
///
/// # Errors
/// When the store cannot be started, or loses something.
pub fn measure() -> Result<Vec<Row>> {
    let store = match Program::find(Kind::Vakt) {
        Ok(store) => store,
        Err(error) => return Ok(vec![Row::skipped("ingest", &format!("{error:#}"))]),
    };
    let peer = Program::find(Kind::VictoriaMetrics);
    let wished = std::env::var("VAKT_BENCH_SAMPLES").ok().map(|text| text.parse()).transpose();
    let wished = wished.context("VAKT_BENCH_SAMPLES is no number of millions")?;
    let (millions, rounds) = wished.map_or((MILLIONS, ROUNDS), |millions| (millions, 1));
    let steps = millions * 1_000_000 / (HOSTS * SERIES);
    let shape = Shape { hosts: HOSTS, steps, end_ms: newest_ms()? };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        ours.push(one(&store, shape)?);
        eprintln!("  round {round}: vakt-store {:?}", ours.last());
        let Ok(peer) = &peer else { continue };
        theirs.push(one(peer, shape)?);
        eprintln!("  round {round}: victoria-metrics {:?}", theirs.last());
    }
    let name = peer.as_ref().ok().map(|peer| peer.name.as_str());
    let mut rows = table(&ours, &theirs, name, shape);
    if let Err(error) = peer {
        rows.push(Row::skipped("VictoriaMetrics", &format!("{error:#}")));
    }
    Ok(rows)
}

/// A figure: its name, its unit, where it is, what it is for each of.
type Field = (&'static str, &'static str, fn(&Cost) -> f64, f64);

fn table(ours: &[Cost], theirs: &[Cost], peer: Option<&str>, shape: Shape) -> Vec<Row> {
    let millions = shape.samples() as f64 / 1e6;
    let fields: [Field; 5] = [
        ("CPU a million samples, until idle", "s", |cost| cost.idle_cpu_s, millions),
        ("CPU a million samples, start to end", "s", |cost| cost.life_cpu_s, millions),
        ("wait for a million samples' acknowledgements", "s", |cost| cost.sending_s, millions),
        ("peak resident", "MiB", |cost| cost.peak_mib, 1.0),
        ("disk a sample after SIGTERM", "bytes", |cost| cost.disk_bytes, shape.samples() as f64),
    ];
    let middle = |costs: &[Cost], field: fn(&Cost) -> f64, per: f64| {
        median(&costs.iter().map(field).collect::<Vec<_>>()) / per
    };
    let row = |(what, unit, field, per): &Field| {
        let what = format!("{what} ({millions} million)");
        match peer {
            Some(peer) => {
                Row::beside(&what, peer, middle(ours, *field, *per), middle(theirs, *field, *per), unit)
            }
            None => Row::alone(&what, middle(ours, *field, *per), unit),
        }
    };
    fields.iter().map(row).collect()
}

/// One server's life: start, take everything, settle, be asked, end.
fn one(program: &Program, shape: Shape) -> Result<Cost> {
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let running = program.start(room.path(), &["--window", WINDOW])?;
    let pid = running.server.pid();
    let before = cpu_s(pid)?;
    let sending_s = send(running.address, shape).with_context(|| program.name.clone())?.as_secs_f64();
    running.server.settle()?;
    let idle_cpu_s = cpu_s(pid)? - before;
    let peak_mib = peak_rss_mib(pid)?;
    let asked = cpu_s(pid)?;
    ensure_whole(running.address, shape).with_context(|| program.name.clone())?;
    let asking_cpu_s = cpu_s(pid)? - asked;
    let life_cpu_s = running.server.stop()? - asking_cpu_s;
    let disk_bytes = disk_bytes(&program.data(room.path()))? as f64;
    Ok(Cost { idle_cpu_s, life_cpu_s, sending_s, peak_mib, disk_bytes })
}

//! What asking costs: the same range queries, over the same samples, to each store in alternation.
//!
//! 50 hosts with 200 series each, a scrape every 15 s for six hours: 14.4 million samples, all of them in blocks when the first
//! question comes. One connection a store is kept open. Time runs from the first byte of the question to the last byte
//! of the answer; CPU is the store's own, which a busy host changes little. Every question's span is shifted by a prime number of milliseconds, and VictoriaMetrics is told
//! `nocache=1`, so that no store answers from what it answered before. Then one answer of each is compared: to the last
//! digits with Prometheus', and with VictoriaMetrics' where its functions mean the same (its rate does not).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Row;
use super::bodies::{STEP_MS, Shape};
use super::connection::Connection;
use super::load::{ensure_whole, range_path, send};
use super::process::cpu_s;
use super::stores::{Kind, Program, Running, WINDOW, newest_ms};

/// Hosts that are scraped, and how often: six hours.
const HOSTS: usize = 50;
const STEPS: usize = 1440;

/// Questions of each kind to each store, so that the 99th percentile is the fourth from the worst; fewer where they take long.
const ASKED_MAX: usize = 300;
const ASKED_MIN: usize = 20;
const ASKING_MAX: Duration = Duration::from_secs(25);

/// Questions before, that are not counted.
const WARM: usize = 5;

/// By how much each question's span is later than the one before.
const SHIFT_MS: i64 = 1_009;

/// How far answers may differ: sums in another order, and VictoriaMetrics' without Kahan's correction.
const DIFFERENCE_MAX: f64 = 1e-9;

/// A question.
struct Question {
    what: &'static str,
    query: &'static str,
    /// How far it reaches back, its step in seconds, and how many series it reads.
    hours: i64,
    step_s: i64,
    series: usize,
    /// Whether VictoriaMetrics means the same by it.
    same: bool,
}

const QUESTIONS: [Question; 5] = [
    Question {
        what: "raw series: 8 of them, 1 h",
        query: "node_cpu_seconds_total{instance=\"host-007.example.org:9100\",mode=\"idle\"}",
        hours: 1,
        step_s: 15,
        series: 8,
        same: true,
    },
    Question {
        what: "sum by rate: 3,200 series, 1 h",
        query: "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
        hours: 1,
        step_s: 60,
        series: 3200,
        same: false,
    },
    Question {
        what: "avg_over_time 1 h: 250 series, 3 h",
        query: "avg_over_time(node_filesystem_avail_bytes{mountpoint!=\"/home\"}[1h])",
        hours: 3,
        step_s: 60,
        series: 250,
        same: true,
    },
    Question {
        what: "topk: 300 series, 3 h",
        query: "topk(5, node_filesystem_avail_bytes)",
        hours: 3,
        step_s: 60,
        series: 300,
        same: true,
    },
    Question {
        what: "quantile: 1,000 series, 1 h",
        query: "quantile(0.9, node_cpu_seconds_total{cpu=~\"[0-4]\",mode=~\"idle|iowait|system|user\"})",
        hours: 1,
        step_s: 60,
        series: 1000,
        same: true,
    },
];

/// Takes the measure.
///
/// # Errors
/// When a store cannot be started, loses something, or answers something else than the others.
pub fn measure() -> Result<Vec<Row>> {
    if let Err(error) = Program::find(Kind::Vakt) {
        return Ok(vec![Row::skipped("queries", &format!("{error:#}"))]);
    }
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let shape = Shape { hosts: HOSTS, steps: STEPS, end_ms: newest_ms()? };
    let (mut stores, mut rows) = (Vec::new(), Vec::new());
    // Another one than 5s keeps a part of the samples in memory.
    let window = std::env::var("VAKT_BENCH_WINDOW").unwrap_or_else(|_| WINDOW.to_owned());
    for kind in [Kind::Vakt, Kind::VictoriaMetrics, Kind::Prometheus] {
        match Program::find(kind) {
            Ok(program) => stores.push(Store::loaded(program, room.path(), shape, &window)?),
            Err(error) => rows.push(Row::skipped("a peer", &format!("{error:#}"))),
        }
    }
    for question in &QUESTIONS {
        // Anew: one that was idle while another store was loaded may have been closed.
        for store in &mut stores {
            store.connection = store.running.connect()?;
        }
        compare(&mut stores, question, shape)?;
        ask(&mut stores, question, shape)?;
        let figures: [(&str, fn(&Store) -> f64); 3] = [
            ("p50", |store| percentile(&store.taken_ms, 0.5)),
            ("p99", |store| percentile(&store.taken_ms, 0.99)),
            ("CPU", |store| store.cpu_ms),
        ];
        for (name, figure) in figures {
            let (what, ours) = (format!("{name}, {}", question.what), figure(&stores[0]));
            for peer in &stores[1..] {
                rows.push(Row::beside(&what, &peer.program.name, ours, figure(peer), "ms"));
            }
            if stores.len() == 1 {
                rows.push(Row::alone(&what, ours, "ms"));
            }
        }
    }
    stores.into_iter().try_for_each(|store| store.running.server.stop().map(drop))?;
    Ok(rows)
}

/// A store with all samples.
struct Store {
    program: Program,
    running: Running,
    connection: Connection,
    /// How long each answer took, and its process' CPU for one.
    taken_ms: Vec<f64>,
    cpu_ms: f64,
}

impl Store {
    fn loaded(program: Program, room: &std::path::Path, shape: Shape, window: &str) -> Result<Store> {
        let running = program.start(room, &["--window", window])?;
        send(running.address, shape).with_context(|| program.name.clone())?;
        running.server.settle()?;
        ensure_whole(running.address, shape).with_context(|| program.name.clone())?;
        let connection = running.connect()?;
        eprintln!("  {} has {} samples", program.name, shape.samples());
        Ok(Store { program, running, connection, taken_ms: Vec::new(), cpu_ms: 0.0 })
    }
}

fn path(question: &Question, shape: Shape, shift: usize) -> String {
    let step_ms = question.step_s * 1000;
    let to = shape.end_ms - ASKED_MAX as i64 * SHIFT_MS + shift as i64 * SHIFT_MS;
    range_path(question.query, to - question.hours * 3_600_000 + step_ms, to, question.step_s)
}

fn ask(stores: &mut [Store], question: &Question, shape: Shape) -> Result<()> {
    stores.iter_mut().for_each(|store| store.taken_ms.clear());
    for shift in 0..WARM {
        for store in &mut *stores {
            store.connection.get(&path(question, shape, shift))?;
        }
    }
    for store in &mut *stores {
        store.cpu_ms = cpu_s(store.running.server.pid())? * -1000.0;
    }
    let started = Instant::now();
    for shift in 0..ASKED_MAX {
        if started.elapsed() > ASKING_MAX * stores.len() as u32 && shift >= ASKED_MIN {
            break;
        }
        let path = path(question, shape, shift);
        for store in &mut *stores {
            let asked = Instant::now();
            let (status, body) = store.connection.get(&path)?;
            store.taken_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
            let text = String::from_utf8_lossy(&body[..body.len().min(500)]);
            ensure!(status == 200, "{}: {}: {status} {text}", store.program.name, question.query);
        }
    }
    for store in &mut *stores {
        store.cpu_ms += cpu_s(store.running.server.pid())? * 1000.0;
        store.cpu_ms /= store.taken_ms.len() as f64;
    }
    Ok(())
}

/// The value below which this part of the values lies (nearest rank).
fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// Series by their labels, each a value by its time in milliseconds.
type Answer = BTreeMap<String, BTreeMap<i64, f64>>;

fn compare(stores: &mut [Store], question: &Question, shape: Shape) -> Result<()> {
    // On a whole step, where answers that are aligned to it are the same.
    let to = shape.end_ms - STEP_MS * 40;
    let path = range_path(question.query, to - question.hours * 3_600_000, to, question.step_s);
    let answers = stores.iter_mut().map(|store| answer(&mut store.connection, &path));
    let answers = answers.collect::<Result<Vec<_>>>()?;
    for (store, theirs) in stores.iter().zip(&answers).skip(1) {
        if store.program.kind != Kind::VictoriaMetrics || question.same {
            let ours = &answers[0];
            same(ours, theirs).with_context(|| format!("{}: {}", store.program.name, question.query))?;
        }
    }
    ensure!(question.series >= answers[0].len(), "{} answers with too many series", question.query);
    ensure!(answers[0].values().any(|series| series.len() > 50), "{} has no answer", question.query);
    Ok(())
}

fn answer(connection: &mut Connection, path: &str) -> Result<Answer> {
    let (status, body) = connection.get(path)?;
    ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
    let parsed: Value = serde_json::from_slice(&body)?;
    let mut all = Answer::new();
    for series in parsed["data"]["result"].as_array().context("no result")? {
        let mut values = BTreeMap::new();
        for point in series["values"].as_array().context("no values")? {
            let time = (point[0].as_f64().context("no time")? * 1000.0).round() as i64;
            values.insert(time, point[1].as_str().context("no value")?.parse()?);
        }
        // VictoriaMetrics keeps the name where a value means what it did.
        let mut labels = series["metric"].as_object().context("no labels")?.clone();
        labels.remove("__name__");
        all.insert(Value::Object(labels).to_string(), values);
    }
    Ok(all)
}

fn same(ours: &Answer, theirs: &Answer) -> Result<()> {
    ensure!(ours.keys().eq(theirs.keys()), "{} series differ from {}", ours.len(), theirs.len());
    for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
        ensure!(ours.keys().eq(theirs.keys()), "{labels}: {} points and {}", ours.len(), theirs.len());
        for ((time, a), b) in ours.iter().zip(theirs.values()) {
            let far = (a - b).abs() / a.abs().max(b.abs()).max(f64::MIN_POSITIVE);
            ensure!(far <= DIFFERENCE_MAX, "{labels} at {time}: {a} and {b}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|part| percentile(&values, part)), [100.0, 198.0, 200.0]);
    }

    #[test]
    fn answers_that_differ_in_a_label_a_point_or_a_value_are_not_the_same() {
        let one =
            |labels: &str, time, value| Answer::from([(labels.to_owned(), BTreeMap::from([(time, value)]))]);
        assert!(same(&one("a", 1, 3.0), &one("a", 1, 3.0 + 1e-12)).is_ok());
        for other in [one("b", 1, 3.0), one("a", 2, 3.0), one("a", 1, 3.1)] {
            assert!(same(&one("a", 1, 3.0), &other).is_err());
        }
    }
}

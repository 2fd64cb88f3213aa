//! Queries over a store with tiers answer what they answer over one without.

use std::sync::Arc;

use proptest::prelude::*;

use super::Engine;
use super::tests::{NOW, settings, write};
use crate::disk::simulated::SimulatedDisk;
use crate::promql::{Grid, Value, evaluate, parse};
use crate::samples::STALE_NAN;

/// 60 days ago, on a whole hour: a partition that is over.
const START: i64 = (NOW - 60 * 86_400_000) / 3_600_000 * 3_600_000;

/// What buckets can answer, and two that they cannot.
const QUERIES: [&str; 10] = [
    "{n=~\".+\"}",
    "sum_over_time({n=~\".+\"}[1h])",
    "avg_over_time({n=~\".+\"}[10m])",
    "count_over_time({n=~\".+\"}[2h])",
    "min_over_time({n=~\".+\"}[1h])",
    "max_over_time({n=~\".+\"}[2h] offset 1h)",
    "last_over_time({n=~\".+\"}[30m])",
    "sum(sum_over_time({n=~\".+\"}[1h] @ end()))",
    "rate({n=~\".+\"}[10m])",
    "timestamp({n=~\".+\"})",
];

fn open(samples: &[(u8, i64, u64)], tiers: bool) -> Arc<Engine> {
    let disk = SimulatedDisk::default();
    let engine = Engine::open(Arc::new(disk), settings(), Box::new(|| NOW)).unwrap().0;
    write(&engine, samples);
    engine.flush().unwrap();
    if tiers {
        assert_eq!(engine.downsample(), Ok(true));
    }
    engine
}

/// The answer with all its bits, and how many samples were read for it.
fn ask(engine: &Engine, query: &str, grid: Grid) -> (Vec<(String, Vec<u64>)>, u64) {
    let before = engine.counters().query_samples.get();
    let outcome = evaluate(engine, &parse(query).unwrap(), grid).unwrap();
    let Value::Vector(columns) = outcome.value else { panic!("no vector") };
    let answer = columns.iter().map(|column| {
        let numbers = column.values.iter().map(|value| value.to_bits());
        let sums = column.histograms.iter().map(|one| one.as_ref().map_or(0, |one| one.sum.to_bits()));
        (column.labels.to_string(), numbers.chain(sums).collect())
    });
    (answer.collect(), engine.counters().query_samples.get() - before)
}

fn whole(n: i64) -> u64 {
    (n as f64).to_bits()
}

#[test]
fn aligned_windows_are_read_by_buckets_and_others_are_not() {
    let samples: Vec<_> = (1..=6 * 360).map(|n| (1, START + n * 10_000, whole(n * n % 97))).collect();
    let engine = open(&samples, true);
    let read = |query, start: i64, step| {
        ask(&engine, query, Grid { start: START + start, end: START + 6 * 3_600_000, step }).1
    };
    let hour = 3_600_000;
    assert_eq!(read("sum_over_time(m1[1h])", hour, hour), 6, "hours");
    assert_eq!(read("sum_over_time(m1[10m])", hour, 600_000), 5 * 60 + 10, "minutes");
    assert_eq!(read("avg_over_time(m1[1h])", hour, hour), 2 * 6, "sums and counts");
    assert_eq!(read("m1", hour, 600_000), 5 * 60 + 5, "minutes");
    assert_eq!(read("sum_over_time(m1[1h])", hour + 1, hour), 5 * 360, "not aligned");
    assert_eq!(read("rate(m1[1h])", hour, hour), 6 * 360, "not by buckets");
    // A single window: minutes between its edges, samples at them.
    let once = ask(&engine, "sum_over_time(m1[90m])", Grid::instant(START + 4 * hour + 25_000));
    assert_eq!(once.1, 4 + 89 + 2, "{once:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_query_gives_the_same_with_and_without_tiers(
        steps in prop::collection::vec((1i64..120_000, -1000i64..1000, 0u8..40), 200..600),
        kinds in prop::array::uniform3(0u8..6),
        start in prop_oneof![Just(0i64), Just(60_000), 0i64..3_600_000], step in prop_oneof![
            Just(60_000i64), Just(3_600_000), Just(600_000), 1_000i64..4_000_000,
        ],
        single: bool,
    ) {
        let mut samples = Vec::new();
        for (at, n) in kinds.into_iter().enumerate() {
            let mut time = START + at as i64;
            for &(gap, value, kind) in &steps {
                time += gap;
                // Now and then a series ends, for a while.
                let bits = if kind == 0 { STALE_NAN } else { whole(value) };
                time += if kind == 1 { 2_000_000 } else { 0 };
                samples.push((n, time, bits));
            }
        }
        samples.push((0, START + 30 * 3_600_000, whole(1)));
        let (with, without) = (open(&samples, true), open(&samples, false));
        let first = START + start;
        let grid = match single {
            true => Grid::instant(first + 5 * 3_600_000),
            false => Grid { start: first, end: first + 20 * 3_600_000, step },
        };
        for query in QUERIES {
            prop_assert_eq!(ask(&with, query, grid).0, ask(&without, query, grid).0, "{} {:?}", query, grid);
        }
    }
}

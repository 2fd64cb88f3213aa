//! The query language: parsed, printed, parsed again the same, and evaluated over a store with some series of every kind.
#![no_main]

use std::sync::{Arc, LazyLock};

use vakt_fuzz::MemoryDisk;
use vakt_store::engine::{Engine, Settings};
use vakt_store::ingest::{TextForm, WriteRequest};
use vakt_store::promql::{Grid, evaluate, parse};

const NOW: i64 = 1_700_000_000_000;

static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| {
    let disk = Arc::new(MemoryDisk::default());
    let (engine, _) = Engine::open(disk, Settings::default(), Box::new(|| NOW)).expect("an empty disk");
    let mut request = WriteRequest::default();
    let mut text = String::new();
    for labels in ["a{le=\"1\",x=\"y\"}", "a{le=\"2\",x=\"y\"}", "b{le=\"1\"}", "b{le=\"+Inf\"}", "c"] {
        for step in 0..40i64 {
            text += &format!("{labels} {} {}\n", (step % 7) as f64 * 1.5 - 2.0, NOW - step * 15_000);
        }
    }
    let form = TextForm { now: NOW, open_metrics: false, extra: Vec::new() };
    request.read_text(text.as_bytes(), &form).expect("sound text");
    let mut histograms = include_bytes!("../corpus/remote_write/histogram").to_vec();
    request.read_remote_write(&mut histograms).expect("a sound request");
    engine.write(&request, "fuzz", Box::new(|_| {})).expect("room");
    engine
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Longer ones say nothing new and take long.
    let Some(query) = std::str::from_utf8(data).ok().filter(|query| query.len() <= 400) else { return };
    let Ok(expr) = parse(query) else { return };
    let printed = expr.to_string();
    match parse(&printed) {
        Ok(again) => assert_eq!(again.to_string(), printed, "{query:?}"),
        Err(error) => panic!("{query:?} is printed as {printed:?}, which is refused: {error}"),
    }
    // Answered or refused within its limits.
    let _ = evaluate(&**ENGINE, &expr, Grid { start: NOW - 300_000, end: NOW, step: 60_000 });
    let _ = evaluate(&**ENGINE, &expr, Grid::instant(NOW));
});

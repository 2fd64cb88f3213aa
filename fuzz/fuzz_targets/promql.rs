//! The query language: parsed, printed, parsed again the same, and evaluated over a store with some series of every kind.
#![no_main]

use std::sync::{Arc, LazyLock};

use vakt_fuzz::MemoryDisk;
use vakt_store::engine::{Engine, Settings};
use vakt_store::histogram::Histogram;
use vakt_store::ingest::WriteRequest;
use vakt_store::promql::{Grid, evaluate, parse};

const NOW: i64 = 1_700_000_000_000;

static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| {
    let disk = Arc::new(MemoryDisk::default());
    let (engine, _) = Engine::open(disk, Settings::default(), Box::new(|| NOW)).expect("an empty disk");
    let mut request = WriteRequest::default();
    for (name, n) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "+Inf"), ("c", "")] {
        let labels = [(&b"__name__"[..], name.as_bytes()), (b"le", n.as_bytes()), (b"x", b"y")];
        request.begin(labels.into_iter().filter(|(_, value)| !value.is_empty())).expect("sound labels");
        for step in 0..40i64 {
            request.float(NOW - step * 15_000, (step % 7) as f64 * 1.5 - 2.0).expect("room");
        }
    }
    request.begin([(&b"__name__"[..], &b"h"[..])]).expect("sound labels");
    for step in 0..20i64 {
        let mut histogram = Histogram { count: 3.0, sum: step as f64, ..Histogram::default() };
        histogram.positive.push((step % 3) as i32, 3.0);
        request.histogram(NOW - step * 15_000, histogram).expect("room");
    }
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

//! Prometheus' text format, and OpenMetrics when the first byte is odd.
#![no_main]

use vakt_store::ingest::TextForm;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let extra = if first & 2 == 2 { vec![("job".to_owned(), "x".to_owned())] } else { Vec::new() };
    let form = TextForm { now: 1_700_000_000_000, open_metrics: first & 1 == 1, extra };
    vakt_fuzz::read(|request| request.read_text(body, &form));
});

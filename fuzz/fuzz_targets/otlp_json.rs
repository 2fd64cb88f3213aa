//! OTLP metrics in JSON.
#![no_main]

use vakt_store::ingest::Deltas;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut deltas = Deltas::default();
    vakt_fuzz::read(|request| request.read_otlp_json(data, &mut deltas));
});

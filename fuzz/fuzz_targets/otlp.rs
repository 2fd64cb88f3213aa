//! OTLP metrics in protobuf, and once more as a sender does that got no answer.
#![no_main]

use vakt_store::ingest::Deltas;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut deltas = Deltas::default();
    vakt_fuzz::read(|request| request.read_otlp(data, &mut deltas));
    vakt_fuzz::read(|request| request.read_otlp(data, &mut deltas));
});

//! OTLP metrics in protobuf.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    vakt_fuzz::read(|request| request.read_otlp(data));
});

//! A remote-read request: packed, and as it is before packing.
#![no_main]

use vakt_store::api::queries_of;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = queries_of(data);
    let packed = snap::raw::Encoder::new().compress_vec(data).expect("a small body");
    let _ = queries_of(&packed);
});

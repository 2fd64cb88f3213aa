//! A body as it is packed: by the first byte plain, snappy, gzip or zstd.
#![no_main]

use vakt_store::ingest::body::Packing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let header = ["identity", "snappy", "gzip", "zstd"][usize::from(first % 4)];
    let Ok(packing) = Packing::of(Some(header), Packing::Plain) else { return };
    let mut out = Vec::new();
    // Refused or unpacked, within its own bound.
    let _ = packing.unpack(body, &mut out);
});

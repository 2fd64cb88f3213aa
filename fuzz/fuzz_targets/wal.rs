//! A log segment: raw, or a record with a checksum that fits.
#![no_main]

use vakt_fuzz::MemoryDisk;
use vakt_store::hot::Hot;
use vakt_store::series::Registry;
use vakt_store::wal::{replay, segment_name};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let bytes = match first % 3 {
        0 => data.to_vec(),
        version => segment(u32::from(version), data),
    };
    let disk = MemoryDisk::with(&segment_name(1), bytes);
    let (mut registry, mut hot) = (Registry::new(1000), Hot::default());
    let replayed = replay(&disk, 0, &mut registry, &mut hot).expect("a file that is there");
    // Of one time the last stays, so there may be fewer.
    assert!(hot.len() <= replayed.samples);
    for series in hot.series() {
        let samples = series.samples();
        assert!(samples.times.is_sorted_by(|a, b| a < b));
    }
});

/// A segment with one record.
fn segment(version: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"VAKTWAL\0".to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&1u64.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    let length = (payload.len() as u32).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(payload);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&crc.finalize().to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

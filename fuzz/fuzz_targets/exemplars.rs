//! A file of exemplars: raw, or a record with a checksum that fits; what is read is written and read again the same.
#![no_main]

use vakt_store::wal::exemplars::{parse, record};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let bytes = if first & 1 == 0 { data.to_vec() } else { file(data) };
    let mut all = Vec::new();
    let outcome = parse(&bytes, |key, exemplar| all.push((key.to_vec(), exemplar)));
    if outcome.is_ok() && !all.is_empty() {
        let again = record(all.iter().map(|(key, exemplar)| (key.as_slice(), exemplar)));
        let (mut head, mut read) = (file(b"")[..16].to_vec(), 0);
        head.extend_from_slice(&again);
        parse(&head, |key, exemplar| {
            let (known, before) = &all[read];
            assert_eq!(
                (key, exemplar.time, &exemplar.labels),
                (known.as_slice(), before.time, &before.labels)
            );
            assert_eq!(exemplar.value.to_bits(), before.value.to_bits());
            read += 1;
        })
        .expect("what was written just now");
        assert_eq!(read, all.len());
    }
});

/// A file with one record.
fn file(payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"VAKTEXM\0".to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
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

//! A block: raw, or one row's directory under checksums that fit, with an index and a footer made for it.
#![no_main]

use vakt_fuzz::MemoryDisk;
use vakt_store::block::{Block, BlockName, ColumnCache};
use vakt_store::series::Registry;
use vakt_store::tiers::{Aspect, Tier};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let tier = if first & 2 == 2 { Some(Tier::Minute) } else { None };
    let name = BlockName { first: 1, last: 1, partition: 0, tier };
    let bytes = if first & 1 == 0 { data.to_vec() } else { made(data) };
    let disk = MemoryDisk::with(&name.path(), bytes);
    let mut registry = Registry::new(1000);
    let Ok(block) = Block::open(&disk, name, &mut registry) else { return };
    let mut cache = ColumnCache::default();
    for id in block.series().collect::<Vec<_>>() {
        for aspect in [Aspect::Last, Aspect::Count] {
            // Corrupt, or what it says.
            let _ = block.read_aspect(id, i64::MIN, i64::MAX, aspect, &mut cache);
        }
        let _ = block.read(id, 10, 20, &mut cache);
    }
    let _ = block.verify();
});

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A file with one series whose directory is the first part of `data` and whose values are the rest.
fn made(data: &[u8]) -> Vec<u8> {
    let (split, data) = data.split_first().map_or((0, data), |(split, rest)| (usize::from(*split), rest));
    let (directory, values) = data.split_at(split.min(data.len()));
    let mut file = b"VAKTBLK\0".to_vec();
    file.extend_from_slice(&2u32.to_le_bytes());
    file.extend_from_slice(&0i64.to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(&file).to_le_bytes());
    let row_at = file.len();
    varint(directory.len() as u64, &mut file);
    file.extend_from_slice(directory);
    file.extend_from_slice(&crc32fast::hash(directory).to_le_bytes());
    file.extend_from_slice(values);
    let row_bytes = file.len() - row_at;
    // __name__="m"
    let key = b"\x0a\x0d\x0a\x08__name__\x12\x01m";
    let mut page = Vec::new();
    varint(key.len() as u64, &mut page);
    page.extend_from_slice(key);
    varint(row_at as u64, &mut page);
    varint(row_bytes as u64, &mut page);
    let packed = vakt_fuzz::stored(&page);
    let index_at = file.len() as u64;
    let mut head = (page.len() as u32).to_le_bytes().to_vec();
    head.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    crc.update(&packed);
    file.extend_from_slice(&head);
    file.extend_from_slice(&crc.finalize().to_le_bytes());
    file.extend_from_slice(&packed);
    let mut footer = Vec::new();
    for number in [index_at, file.len() as u64 - index_at, 1, 0, 0, 0] {
        footer.extend_from_slice(&number.to_le_bytes());
    }
    footer.extend_from_slice(&1u32.to_le_bytes());
    footer.extend_from_slice(&2u32.to_le_bytes());
    footer.extend_from_slice(&crc32fast::hash(&footer).to_le_bytes());
    footer.extend_from_slice(b"\0KLBTKAV");
    file.extend_from_slice(&footer);
    file
}

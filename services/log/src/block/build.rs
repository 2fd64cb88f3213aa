//! Rows to the bytes of blocks.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::filter::{FilterBuilder, token_hash};
use super::footer::{ColumnMeta, ColumnPlace, Footer, SectionPlace};
use super::{COLUMNS_MAX, DICT_MAX, MAGIC, ROWS_MAX, ZSTD_LEVEL};
use crate::row::{Row, put_varint};
use crate::words::each_word;

/// Which part of which segment a block is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The segment of the append log.
    pub segment: u64,
    /// The block's place among those of the segment.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
}

/// Splits rows, sorted by time, into runs that fit a block: one UTC day, at most [`ROWS_MAX`] rows and
/// [`COLUMNS_MAX`] columns. Returns the length of each run.
pub(crate) fn runs(rows: &[Row<'_>]) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut names = std::collections::HashSet::new();
    let (mut start, mut day) = (0, None);
    for (index, row) in rows.iter().enumerate() {
        let row_day = row.time_ns.div_euclid(crate::time::DAY);
        let new = row.fields.iter().filter(|(name, _)| !names.contains(name)).count();
        let full = index - start >= ROWS_MAX || names.len() + new > COLUMNS_MAX;
        if index > start && (full || day != Some(row_day)) {
            lengths.push(index - start);
            start = index;
            names.clear();
        }
        day = Some(row_day);
        // Most rows bring no name that was not there: hashing each of them once is enough.
        if new > 0 || names.is_empty() {
            names.extend(row.fields.iter().map(|(name, _)| *name));
        }
    }
    if rows.len() > start {
        lengths.push(rows.len() - start);
    }
    lengths
}

/// The bytes of a block file with `rows`, which are sorted by time and at least one.
///
/// # Errors
/// When zstd fails, which without memory it may.
pub fn build(rows: &[Row<'_>], source: Source) -> io::Result<Vec<u8>> {
    let mut file = File { bytes: MAGIC.to_vec(), packer: zstd::bulk::Compressor::new(ZSTD_LEVEL)? };
    let times = file.packed(&times(rows))?;
    let mut cells: BTreeMap<&str, Vec<(u32, &str)>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        for (name, value) in &row.fields {
            cells.entry(name).or_default().push((index as u32, value));
        }
    }
    let mut filter = FilterBuilder::default();
    let mut columns = Vec::with_capacity(cells.len());
    for (name, cells) in cells {
        let place = column(name, &cells, rows.len(), &mut filter, &mut file)?;
        columns.push(ColumnMeta { name: name.to_owned(), place });
    }
    let filter = file.plain(&filter.finish());
    let (first, last) = (rows.first().map_or(0, |r| r.time_ns), rows.last().map_or(0, |r| r.time_ns));
    let footer = Footer {
        rows: rows.len() as u32,
        min_ns: first,
        max_ns: last,
        segment: source.segment,
        part: source.part,
        parts: source.parts,
        times,
        filter,
        columns,
    };
    let encoded = footer.encode();
    let mut bytes = file.bytes;
    bytes.extend_from_slice(&encoded);
    bytes.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&encoded).to_le_bytes());
    bytes.extend_from_slice(&MAGIC);
    Ok(bytes)
}

struct File {
    bytes: Vec<u8>,
    packer: zstd::bulk::Compressor<'static>,
}

impl File {
    fn packed(&mut self, section: &[u8]) -> io::Result<SectionPlace> {
        let packed = self.packer.compress(section)?;
        Ok(SectionPlace { unpacked: section.len() as u32, ..self.plain(&packed) })
    }

    fn plain(&mut self, section: &[u8]) -> SectionPlace {
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(section);
        let length = section.len() as u32;
        SectionPlace { offset, length, unpacked: length, crc: crc32fast::hash(section) }
    }
}

/// The first time as eight bytes, then each one's distance from the one before as a varint.
fn times(rows: &[Row<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * 3 + 8);
    let mut before = rows.first().map_or(0, |row| row.time_ns);
    out.extend_from_slice(&before.to_le_bytes());
    for row in rows.iter().skip(1) {
        // Sorted, so never negative.
        put_varint(row.time_ns.wrapping_sub(before).cast_unsigned(), &mut out);
        before = row.time_ns;
    }
    out
}

fn column(
    name: &str,
    cells: &[(u32, &str)],
    rows: usize,
    filter: &mut FilterBuilder,
    file: &mut File,
) -> io::Result<ColumnPlace> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut values = Vec::new();
    if cells.len() < rows {
        places.insert("", 0);
        values.push("");
    }
    for (_, value) in cells {
        if values.len() > DICT_MAX {
            break;
        }
        places.entry(value).or_insert_with(|| {
            values.push(value);
            values.len() - 1
        });
    }
    let is_raw = values.len() > DICT_MAX;
    let searched: &mut dyn Iterator<Item = &str> =
        if is_raw { &mut cells.iter().map(|(_, value)| *value) } else { &mut values.iter().copied() };
    for value in searched {
        each_word(value, |word| filter.add(token_hash(name, word)));
    }
    if is_raw {
        return Ok(ColumnPlace::Raw(file.packed(&raw(cells, rows))?));
    }
    match values.as_slice() {
        [value] => Ok(ColumnPlace::Const((*value).to_owned())),
        _ => Ok(ColumnPlace::Dict(file.packed(&dict(cells, rows, &values, &places))?)),
    }
}

/// A varint length for each row, then all the bytes.
fn raw(cells: &[(u32, &str)], rows: usize) -> Vec<u8> {
    let mut lengths = vec![0; rows];
    let mut bytes = 0;
    for (row, value) in cells {
        lengths[*row as usize] = value.len() as u64;
        bytes += value.len();
    }
    let mut out = Vec::with_capacity(bytes + rows * 2);
    for length in lengths {
        put_varint(length, &mut out);
    }
    for (_, value) in cells {
        out.extend_from_slice(value.as_bytes());
    }
    out
}

/// The number of values, each with its length, then a byte for each row.
fn dict(cells: &[(u32, &str)], rows: usize, values: &[&str], places: &HashMap<&str, usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows + 16 * values.len());
    put_varint(values.len() as u64, &mut out);
    for value in values {
        put_varint(value.len() as u64, &mut out);
        out.extend_from_slice(value.as_bytes());
    }
    let start = out.len();
    // Rows without the field have place 0, the empty text, whenever there are any.
    out.resize(start + rows, 0);
    for (row, value) in cells {
        out[start + *row as usize] = places.get(value).map_or(0, |place| *place as u8);
    }
    out
}

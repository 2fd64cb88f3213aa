//! The bytes of a block to rows: only the parts that are asked for are read and unpacked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::filter::Filter;
use super::footer::{ColumnPlace, Footer, FooterError, SectionPlace};
use super::{FOOTER_BYTES_MAX, MAGIC, TRAILER_BYTES};
use crate::row::{get_text, get_varint};

/// Why a block cannot be read.
#[derive(Debug, Error)]
pub enum BlockError {
    /// The file is gone (retention took it) or the disk fails.
    #[error("{path}: {source}")]
    Io {
        /// The block's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not what was written.
    #[error("{path}: {part} is damaged")]
    Damaged {
        /// The block's file.
        path: PathBuf,
        /// Which part.
        part: String,
    },
}

impl BlockError {
    /// Was the file removed under us? Retention does that; the rows are gone on purpose.
    pub fn is_gone(&self) -> bool {
        matches!(self, BlockError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Are the bytes wrong, so that the block must be set aside?
    pub fn is_damage(&self) -> bool {
        matches!(self, BlockError::Damaged { .. })
    }
}

/// The values of a column. A row without the field has the empty text.
#[derive(Clone, Debug)]
pub enum Column {
    /// No row has the field.
    Missing,
    /// Every row has this value.
    Const(String),
    /// A few values, and each row's place among them.
    Dict {
        /// The values.
        values: Vec<String>,
        /// One place a row.
        places: Vec<u8>,
    },
    /// A value for each row.
    Raw {
        /// All values, one after the other.
        text: String,
        /// Where each row's value ends.
        ends: Vec<u32>,
    },
}

impl Column {
    /// The value of a row; rows are from 0 to below the block's number.
    pub fn value(&self, row: usize) -> &str {
        match self {
            Column::Missing => "",
            Column::Const(value) => value,
            Column::Dict { values, places } => &values[usize::from(places[row])],
            Column::Raw { text, ends } => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                &text[start as usize..ends[row] as usize]
            }
        }
    }
}

/// An open block. Columns are read once and kept while it is open.
#[derive(Debug)]
pub struct Block {
    file: File,
    path: PathBuf,
    footer: Footer,
    columns: Vec<(String, Arc<Column>)>,
}

impl Block {
    /// Opens a block and verifies its footer.
    ///
    /// # Errors
    /// Both kinds of [`BlockError`].
    pub fn open(path: &Path) -> Result<Block, BlockError> {
        let io_error = |source| BlockError::Io { path: path.to_owned(), source };
        let damaged = |part: &str| BlockError::Damaged { path: path.to_owned(), part: part.to_owned() };
        let file = File::open(path).map_err(io_error)?;
        let length = file.metadata().map_err(io_error)?.len();
        let trailer_at = length
            .checked_sub(TRAILER_BYTES as u64)
            .filter(|at| *at >= MAGIC.len() as u64)
            .ok_or_else(|| damaged("length"))?;
        let mut trailer = [0; TRAILER_BYTES];
        file.read_exact_at(&mut trailer, trailer_at).map_err(io_error)?;
        let (numbers, magic) = trailer.split_at(8);
        if magic != MAGIC {
            return Err(damaged("trailer"));
        }
        let word =
            |at: usize| u32::from_le_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
        let (footer_length, crc) = (u64::from(word(0)), word(4));
        let footer_at = trailer_at
            .checked_sub(footer_length)
            .filter(|_| footer_length <= FOOTER_BYTES_MAX as u64)
            .ok_or_else(|| damaged("footer length"))?;
        let mut bytes = vec![0; footer_length as usize];
        file.read_exact_at(&mut bytes, footer_at).map_err(io_error)?;
        if crc32fast::hash(&bytes) != crc {
            return Err(damaged("footer checksum"));
        }
        let footer =
            Footer::decode(&bytes, footer_at).map_err(|error: FooterError| damaged(&error.to_string()))?;
        Ok(Block { file, path: path.to_owned(), footer, columns: Vec::new() })
    }

    /// Its table of contents.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    fn damaged(&self, part: impl Into<String>) -> BlockError {
        BlockError::Damaged { path: self.path.clone(), part: part.into() }
    }

    fn section(&self, place: &SectionPlace, part: &str) -> Result<Vec<u8>, BlockError> {
        let mut bytes = vec![0; place.length as usize];
        self.file
            .read_exact_at(&mut bytes, place.offset)
            .map_err(|source| BlockError::Io { path: self.path.clone(), source })?;
        if crc32fast::hash(&bytes) != place.crc {
            return Err(self.damaged(format!("checksum of {part}")));
        }
        Ok(bytes)
    }

    fn unpacked(&self, place: &SectionPlace, part: &str) -> Result<Vec<u8>, BlockError> {
        let packed = self.section(place, part)?;
        zstd::bulk::decompress(&packed, place.unpacked as usize)
            .ok()
            .filter(|bytes| bytes.len() == place.unpacked as usize)
            .ok_or_else(|| self.damaged(format!("packing of {part}")))
    }

    /// The token filter.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn filter(&self) -> Result<Filter, BlockError> {
        let bytes = self.section(&self.footer.filter, "token filter")?;
        Filter::new(bytes).ok_or_else(|| self.damaged("token filter"))
    }

    /// The time of every row, in order.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn times(&self) -> Result<Vec<i64>, BlockError> {
        let bytes = self.unpacked(&self.footer.times, "times")?;
        decode_times(&bytes, self.footer.rows as usize).ok_or_else(|| self.damaged("times"))
    }

    /// A column; [`Column::Missing`] when the block has none of that name.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn column(&mut self, name: &str) -> Result<Arc<Column>, BlockError> {
        if let Some((_, column)) = self.columns.iter().find(|(known, _)| known == name) {
            return Ok(column.clone());
        }
        let rows = self.footer.rows as usize;
        let found = self.footer.columns.binary_search_by(|column| column.name.as_str().cmp(name));
        let column = match found.map(|index| &self.footer.columns[index].place) {
            Err(_) => Column::Missing,
            Ok(ColumnPlace::Const(value)) => Column::Const(value.clone()),
            Ok(ColumnPlace::Dict(place)) => decode_dict(&self.unpacked(place, name)?, rows)
                .ok_or_else(|| self.damaged(format!("column {name}")))?,
            Ok(ColumnPlace::Raw(place)) => decode_raw(self.unpacked(place, name)?, rows)
                .ok_or_else(|| self.damaged(format!("column {name}")))?,
        };
        let column = Arc::new(column);
        self.columns.push((name.to_owned(), column.clone()));
        Ok(column)
    }
}

fn decode_times(bytes: &[u8], rows: usize) -> Option<Vec<i64>> {
    let mut time = i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let mut times = Vec::with_capacity(rows);
    times.push(time);
    let mut at = 8;
    for _ in 1..rows {
        time = time.checked_add_unsigned(get_varint(bytes, &mut at)?)?;
        times.push(time);
    }
    (at == bytes.len()).then_some(times)
}

fn decode_dict(bytes: &[u8], rows: usize) -> Option<Column> {
    let mut at = 0;
    let count = get_varint(bytes, &mut at).filter(|count| (1..=256).contains(count))?;
    let mut values = Vec::with_capacity(count as usize);
    for _ in 0..count {
        values.push(get_text(bytes, &mut at)?.to_owned());
    }
    let places = bytes.get(at..)?.to_vec();
    let fits = places.len() == rows && places.iter().all(|place| usize::from(*place) < values.len());
    fits.then_some(Column::Dict { values, places })
}

fn decode_raw(mut bytes: Vec<u8>, rows: usize) -> Option<Column> {
    let (mut at, mut end) = (0, 0_u32);
    let mut ends = Vec::with_capacity(rows);
    for _ in 0..rows {
        end = end.checked_add(u32::try_from(get_varint(&bytes, &mut at)?).ok()?)?;
        ends.push(end);
    }
    bytes.drain(..at);
    let text = String::from_utf8(bytes).ok()?;
    let fits = text.len() == end as usize && ends.iter().all(|end| text.is_char_boundary(*end as usize));
    fits.then_some(Column::Raw { text, ends })
}

#[cfg(test)]
mod tests {
    use super::super::build::{Source, build};
    use super::*;
    use crate::row::Row;
    use proptest::prelude::*;

    const SOURCE: Source = Source { segment: 3, part: 0, parts: 1 };

    fn write(rows: &[Row<'_>]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.block");
        std::fs::write(&path, build(rows, SOURCE).unwrap()).unwrap();
        (dir, path)
    }

    /// A time and its fields, owned.
    type Owned = (i64, Vec<(String, String)>);

    /// Everything in the block, as rows.
    fn read(path: &Path) -> Result<Vec<Owned>, BlockError> {
        let mut block = Block::open(path)?;
        block.filter()?;
        let names: Vec<_> = block.footer().columns.iter().map(|c| c.name.clone()).collect();
        let times = block.times()?;
        let columns: Vec<_> = names.iter().map(|n| block.column(n)).collect::<Result<_, _>>()?;
        let row = |index| {
            let cells = names.iter().zip(&columns).map(|(n, c)| (n.clone(), c.value(index).to_owned()));
            cells.filter(|(_, value)| !value.is_empty()).collect()
        };
        Ok(times.into_iter().enumerate().map(|(index, time)| (time, row(index))).collect())
    }

    proptest! {
        #[test]
        fn a_block_gives_back_the_rows_it_was_made_of(
            mut times in prop::collection::vec(0_i64..1_000_000, 1..600),
            seed in any::<u64>(), spread in 1_u64..1000,
        ) {
            times.sort_unstable();
            let value = |row: usize, name: &str| {
                let number = super::super::token_hash(name, &row.to_string()) ^ seed;
                if number.is_multiple_of(5) { String::new() } else { format!("ü{}", number % spread) }
            };
            let cells: Vec<_> = (0..times.len())
                .map(|row| ["_msg", "a", "z"].map(|name| (name, value(row, name))).to_vec())
                .collect();
            let rows: Vec<_> = times.iter().zip(&cells).map(|(time, cells)| {
                let fields = cells.iter().filter(|(_, v)| !v.is_empty());
                Row { time_ns: *time, fields: fields.map(|(n, v)| (*n, v.as_str())).collect() }
            }).collect();
            let (_dir, path) = write(&rows);
            let expected: Vec<_> = rows.iter().map(|row| {
                let fields = row.fields.iter().map(|(n, v)| (n.to_string(), v.to_string()));
                (row.time_ns, fields.collect::<Vec<_>>())
            }).collect();
            prop_assert_eq!(read(&path).unwrap(), expected);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_seen_as_damage() {
        let cells: Vec<_> = (0..270).map(|n| (format!("message {n}"), ["x", "y"][n % 2])).collect();
        let rows: Vec<_> = cells
            .iter()
            .enumerate()
            .map(|(n, (m, k))| Row {
                time_ns: n as i64 * 1000,
                fields: vec![("_msg", m), ("c", "same"), ("k", k)],
            })
            .collect();
        let (_dir, path) = write(&rows);
        let whole = std::fs::read(&path).unwrap();
        for at in MAGIC.len()..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            let error = read(&path).expect_err(&format!("byte {at} of {}", whole.len()));
            assert!(error.is_damage(), "byte {at}: {error}");
        }
        for cut in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn rows_of_two_days_or_too_many_columns_are_split() {
        let row = |time_ns| Row { time_ns, fields: vec![("a", "b")] };
        assert_eq!(super::super::build::runs(&[row(0), row(1), row(crate::time::DAY)]), [2, 1]);
        let names: Vec<_> = (0..super::super::COLUMNS_MAX + 1).map(|n| n.to_string()).collect();
        let wide: Vec<_> =
            names.iter().map(|n| Row { time_ns: 0, fields: vec![(n.as_str(), "x")] }).collect();
        assert_eq!(super::super::build::runs(&wide), [super::super::COLUMNS_MAX, 1]);
    }
}

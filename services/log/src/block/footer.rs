//! The footer: what a block holds and where. Unverified bytes become a [`Footer`] here or nowhere.

use thiserror::Error;

use super::{COLUMNS_MAX, ROWS_MAX, SECTION_BYTES_MAX};
use crate::row::{get_text, get_varint, put_varint};

/// Where a section lies in the file and what it must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SectionPlace {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub length: u32,
    /// Bytes once unpacked.
    pub unpacked: u32,
    /// CRC32 of the bytes in the file.
    pub crc: u32,
}

/// How a column is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnPlace {
    /// Every row has this value.
    Const(String),
    /// Up to 256 values, and one byte a row.
    Dict(SectionPlace),
    /// A value a row.
    Raw(SectionPlace),
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMeta {
    /// The field's name.
    pub name: String,
    /// Where its values are.
    pub place: ColumnPlace,
}

/// A block's table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Rows, 1 to [`ROWS_MAX`].
    pub rows: u32,
    /// Time of the first row, nanoseconds since the epoch.
    pub min_ns: i64,
    /// Time of the last row.
    pub max_ns: i64,
    /// Segment of the append log that the rows came from.
    pub segment: u64,
    /// This block's place among those made of the segment, from 0.
    pub part: u32,
    /// How many blocks were made of the segment.
    pub parts: u32,
    /// The times.
    pub times: SectionPlace,
    /// The token filter; not packed, so `unpacked` equals `length`.
    pub filter: SectionPlace,
    /// Columns, sorted by name.
    pub columns: Vec<ColumnMeta>,
}

/// Why bytes are no footer.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("footer is wrong at byte {offset}: {part}")]
pub struct FooterError {
    /// Bytes from the footer's start.
    pub offset: usize,
    /// What could not be read.
    pub part: &'static str,
}

const CONST: u64 = 0;
const DICT: u64 = 1;
const RAW: u64 = 2;

impl Footer {
    /// The footer's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.columns.len() * 32);
        put_varint(self.rows.into(), &mut out);
        out.extend_from_slice(&self.min_ns.to_le_bytes());
        out.extend_from_slice(&self.max_ns.to_le_bytes());
        put_varint(self.segment, &mut out);
        put_varint(self.part.into(), &mut out);
        put_varint(self.parts.into(), &mut out);
        put_place(&self.times, &mut out);
        put_place(&self.filter, &mut out);
        put_varint(self.columns.len() as u64, &mut out);
        for column in &self.columns {
            put_text(&column.name, &mut out);
            match &column.place {
                ColumnPlace::Const(value) => {
                    put_varint(CONST, &mut out);
                    put_text(value, &mut out);
                }
                ColumnPlace::Dict(place) => {
                    put_varint(DICT, &mut out);
                    put_place(place, &mut out);
                }
                ColumnPlace::Raw(place) => {
                    put_varint(RAW, &mut out);
                    put_place(place, &mut out);
                }
            }
        }
        out
    }

    /// Reads a footer whose checksum was compared; `sections_end` is where it begins in the file.
    ///
    /// # Errors
    /// [`FooterError`] when a part is cut off, out of its range, or points outside the file.
    pub fn decode(bytes: &[u8], sections_end: u64) -> Result<Footer, FooterError> {
        let mut cursor = Cursor { bytes, at: 0, sections_end };
        let rows = cursor.number("rows", ROWS_MAX as u64)?;
        let min_ns = cursor.time()?;
        let max_ns = cursor.time()?;
        let segment = cursor.number("segment", u64::MAX)?;
        let part = cursor.number("part", u32::MAX.into())? as u32;
        let parts = cursor.number("parts", u32::MAX.into())? as u32;
        let times = cursor.place()?;
        let filter = cursor.place()?;
        let count = cursor.number("column count", COLUMNS_MAX as u64)?;
        let mut columns = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let name = cursor.text("column name")?;
            let place = match cursor.number("column kind", RAW)? {
                CONST => ColumnPlace::Const(cursor.text("constant")?),
                DICT => ColumnPlace::Dict(cursor.place()?),
                _ => ColumnPlace::Raw(cursor.place()?),
            };
            columns.push(ColumnMeta { name, place });
        }
        if rows == 0 || min_ns > max_ns || part >= parts || cursor.at != bytes.len() {
            return Err(cursor.wrong("parts that contradict each other"));
        }
        Ok(Footer { rows: rows as u32, min_ns, max_ns, segment, part, parts, times, filter, columns })
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn put_place(place: &SectionPlace, out: &mut Vec<u8>) {
    put_varint(place.offset, out);
    put_varint(place.length.into(), out);
    put_varint(place.unpacked.into(), out);
    out.extend_from_slice(&place.crc.to_le_bytes());
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    sections_end: u64,
}

impl Cursor<'_> {
    fn wrong(&self, part: &'static str) -> FooterError {
        FooterError { offset: self.at, part }
    }

    fn number(&mut self, part: &'static str, max: u64) -> Result<u64, FooterError> {
        let start = self.at;
        get_varint(self.bytes, &mut self.at)
            .filter(|number| *number <= max)
            .ok_or(FooterError { offset: start, part })
    }

    fn fixed<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], FooterError> {
        let slice = self.bytes.get(self.at..self.at + N).and_then(|b| b.try_into().ok());
        let bytes = slice.ok_or(self.wrong(part))?;
        self.at += N;
        Ok(bytes)
    }

    fn time(&mut self) -> Result<i64, FooterError> {
        self.fixed("time").map(i64::from_le_bytes)
    }

    fn text(&mut self, part: &'static str) -> Result<String, FooterError> {
        let start = self.at;
        get_text(self.bytes, &mut self.at).map(str::to_owned).ok_or(FooterError { offset: start, part })
    }

    fn place(&mut self) -> Result<SectionPlace, FooterError> {
        let offset = self.number("section offset", self.sections_end)?;
        let length = self.number("section length", self.sections_end - offset)? as u32;
        let unpacked = self.number("unpacked length", SECTION_BYTES_MAX as u64)? as u32;
        let crc = u32::from_le_bytes(self.fixed("section checksum")?);
        Ok(SectionPlace { offset, length, unpacked, crc })
    }
}

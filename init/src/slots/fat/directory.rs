//! Directory entries: 32 bytes each; a long name lies in entries of its own before the short one.

use super::FatError;

/// Bytes of an entry.
pub const ENTRY: usize = 32;

/// UTF-16 units of a long name in one entry.
const UNITS: usize = 13;

/// Where they lie in it.
const UNITS_AT: [usize; UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// Attributes: a volume's label, a directory, and the mix that marks a piece of a long name.
const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG: u8 = 0x0F;

/// First byte of an entry that is free, and of the one behind the last.
const FREE: u8 = 0xE5;
const LAST: u8 = 0;

/// 2020-01-01, as every file of an image has it.
const DATE: u16 = (2020 - 1980) << 9 | 1 << 5 | 1;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its long name, or the short one when it has no long name.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Its first cluster; 0 when it is empty.
    pub first: u32,
    /// Its bytes.
    pub bytes: u32,
    /// Its entries in the directory: from the first of the long name to the short one, by number.
    pub slots: std::ops::Range<usize>,
    short: [u8; 11],
}

/// A directory's bytes.
#[derive(Clone, Debug)]
pub struct Directory {
    /// All its clusters, one behind the other.
    pub bytes: Vec<u8>,
}

impl Directory {
    fn slot(&self, index: usize) -> &[u8] {
        &self.bytes[index * ENTRY..(index + 1) * ENTRY]
    }

    fn slots(&self) -> usize {
        self.bytes.len() / ENTRY
    }

    /// What is in it, without labels and the two dots. A long name that does not belong to the short
    /// one behind it is passed over, as every system does.
    pub fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut long = Long::default();
        for index in 0..self.slots() {
            let slot = self.slot(index);
            match (slot[0], slot[11]) {
                (LAST, _) => break,
                (FREE, _) => long = Long::default(),
                (_, attributes) if attributes & 0x3F == LONG => long.take(index, slot),
                (_, attributes) if attributes & LABEL != 0 => long = Long::default(),
                _ => items.push(item(index, slot, &std::mem::take(&mut long))),
            }
        }
        items.retain(|item| item.short[0] != b'.');
        items
    }

    /// Writes entries for a file into free ones that lie together in one sector of `per_sector` entries.
    /// Returns the numbers of the entries that changed: the file's own, and before them any at the end of
    /// the sector before that had to be passed over.
    ///
    /// # Errors
    /// [`FatError::Full`] when there are not enough; [`FatError::Damaged`] when what lies behind the end
    /// is not empty.
    pub fn add(
        &mut self,
        name: &str,
        first: u32,
        bytes: u32,
        per_sector: usize,
    ) -> Result<std::ops::Range<usize>, FatError> {
        let units: Vec<u16> = name.encode_utf16().collect();
        let needed = units.len().div_ceil(UNITS) + 1;
        let place = self.free_run(needed, per_sector).ok_or_else(|| FatError::Full {
            name: name.to_owned(),
            what: "neighbouring directory entries",
            needed,
            free: (0..self.slots()).filter(|index| matches!(self.slot(*index)[0], FREE | LAST)).count(),
        })?;
        // Everything behind the end must say so itself, since the end is somewhere else afterwards.
        let end = (0..self.slots()).find(|index| self.slot(*index)[0] == LAST).unwrap_or(self.slots());
        if (end..self.slots()).any(|index| self.slot(index)[0] != LAST) {
            return Err(FatError::damaged("a directory has entries behind its end"));
        }
        let short = self.fresh_short_name()?;
        for index in end..place.start {
            self.bytes[index * ENTRY] = FREE;
        }
        let pieces = needed - 1;
        for (number, index) in (1..=pieces).rev().zip(place.clone()) {
            let slot = long_piece(&units, number, pieces, checksum(&short));
            self.bytes[index * ENTRY..(index + 1) * ENTRY].copy_from_slice(&slot);
        }
        let at = (place.end - 1) * ENTRY;
        self.bytes[at..at + ENTRY].copy_from_slice(&short_entry(&short, first, bytes));
        Ok(end.min(place.start)..place.end)
    }

    /// Frees a file's entries.
    pub fn remove(&mut self, item: &Item) {
        for index in item.slots.clone() {
            self.bytes[index * ENTRY] = FREE;
        }
    }

    fn free_run(&self, needed: usize, per_sector: usize) -> Option<std::ops::Range<usize>> {
        let mut run = 0;
        let mut ended = false;
        for index in 0..self.slots() {
            ended |= self.slot(index)[0] == LAST;
            if index % per_sector == 0 {
                run = 0;
            }
            run = if ended || self.slot(index)[0] == FREE { run + 1 } else { 0 };
            if run == needed {
                return Some(index + 1 - needed..index + 1);
            }
        }
        None
    }

    /// `VAKT0000.EFI` and so on: only the long name means anything.
    fn fresh_short_name(&self) -> Result<[u8; 11], FatError> {
        let taken: Vec<[u8; 11]> = self.items().iter().map(|item| item.short).collect();
        (0..=taken.len())
            .map(|number| {
                let mut short = *b"VAKT0000EFI";
                short[4..8].copy_from_slice(format!("{number:04}").as_bytes());
                short
            })
            .find(|short| !taken.contains(short))
            .ok_or_else(|| FatError::damaged("a directory has every short name"))
    }
}

/// The pieces of a long name seen so far, last piece first.
#[derive(Default)]
struct Long {
    units: Vec<u16>,
    next: u8,
    checksum: u8,
    from: usize,
}

impl Long {
    fn take(&mut self, index: usize, slot: &[u8]) {
        let number = slot[0] & 0x3F;
        if slot[0] & 0x40 != 0 {
            *self = Long { units: Vec::new(), next: number, checksum: slot[13], from: index };
        }
        if number == 0 || number != self.next || slot[13] != self.checksum {
            *self = Long::default();
            return;
        }
        self.next -= 1;
        let piece = UNITS_AT.map(|at| u16::from_le_bytes([slot[at], slot[at + 1]]));
        self.units.splice(0..0, piece);
    }

    fn name(&self, short: &[u8; 11]) -> Option<String> {
        let whole = !self.units.is_empty() && self.next == 0 && self.checksum == checksum(short);
        let end = self.units.iter().position(|unit| *unit == 0).unwrap_or(self.units.len());
        whole.then(|| String::from_utf16_lossy(&self.units[..end]))
    }
}

fn item(index: usize, slot: &[u8], long: &Long) -> Item {
    let mut short = [0; 11];
    short.copy_from_slice(&slot[..11]);
    let half = |at: usize| u32::from(u16::from_le_bytes([slot[at], slot[at + 1]]));
    let name = long.name(&short);
    let from = if name.is_some() { long.from } else { index };
    Item {
        name: name.unwrap_or_else(|| short_name(&short)),
        is_directory: slot[11] & DIRECTORY != 0,
        first: half(20) << 16 | half(26),
        bytes: half(30) << 16 | half(28),
        slots: from..index + 1,
        short,
    }
}

fn short_name(short: &[u8; 11]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (stem, ending) = (text(&short[..8]), text(&short[8..]));
    if ending.is_empty() { stem } else { format!("{stem}.{ending}") }
}

/// The short name's checksum that ties a long name to it.
fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

fn long_piece(units: &[u16], number: usize, pieces: usize, checksum: u8) -> [u8; ENTRY] {
    let mut slot = [0; ENTRY];
    slot[0] = number as u8 | if number == pieces { 0x40 } else { 0 };
    slot[11] = LONG;
    slot[13] = checksum;
    for (offset, at) in UNITS_AT.iter().enumerate() {
        let index = (number - 1) * UNITS + offset;
        // One zero ends a name that does not fill its last piece; the rest is all ones.
        let unit = units.get(index).copied().unwrap_or(if index == units.len() { 0 } else { 0xFFFF });
        slot[*at..*at + 2].copy_from_slice(&unit.to_le_bytes());
    }
    slot
}

fn short_entry(short: &[u8; 11], first: u32, bytes: u32) -> [u8; ENTRY] {
    let mut slot = [0; ENTRY];
    slot[..11].copy_from_slice(short);
    for at in [16, 18, 24] {
        slot[at..at + 2].copy_from_slice(&DATE.to_le_bytes());
    }
    slot[20..22].copy_from_slice(&((first >> 16) as u16).to_le_bytes());
    slot[26..28].copy_from_slice(&(first as u16).to_le_bytes());
    slot[28..].copy_from_slice(&bytes.to_le_bytes());
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_again_and_its_place_is_used_anew() {
        let mut directory = Directory { bytes: vec![0; 16 * ENTRY] };
        let first = directory.add("vakt-a_0.1.0.efi", 5, 100, 16).unwrap();
        let second = directory.add("vakt-b_0.2.0-a.long.version+3-0.efi", 0x12_3456, 7, 16).unwrap();
        assert_eq!((first.clone(), second.len()), (0..3, 4));
        let items = directory.items();
        assert_eq!(items[1].name, "vakt-b_0.2.0-a.long.version+3-0.efi");
        assert_eq!((items[1].first, items[1].bytes, items[1].is_directory), (0x12_3456, 7, false));
        directory.remove(&items[0]);
        assert_eq!(directory.items().len(), 1);
        assert_eq!(directory.add("vakt-a_0.1.1.efi", 9, 1, 16).unwrap(), first);
        assert_eq!(directory.items()[0].name, "vakt-a_0.1.1.efi");
    }

    #[test]
    fn a_name_lies_in_one_sector_and_what_is_passed_over_does_not_end_the_directory() {
        let mut directory = Directory { bytes: vec![0; 16 * ENTRY] };
        assert_eq!(directory.add("vakt-a_0.1.0.efi", 5, 100, 4).unwrap(), 0..3);
        assert_eq!(directory.add("vakt-b_0.2.0.efi", 6, 100, 4).unwrap(), 3..7);
        let names: Vec<String> = directory.items().into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["vakt-a_0.1.0.efi", "vakt-b_0.2.0.efi"]);
    }

    #[test]
    fn a_directory_that_is_full_takes_no_more() {
        let mut directory = Directory { bytes: vec![0; 4 * ENTRY] };
        directory.add("vakt-a_0.1.0.efi", 5, 100, 4).unwrap();
        let error = directory.add("vakt-b_0.2.0.efi", 6, 100, 4).unwrap_err().to_string();
        assert!(error.contains("needs 3 neighbouring directory entries"), "{error}");
        assert!(error.contains("1 are free"), "{error}");
    }

    #[test]
    fn a_short_name_whose_long_one_was_lost_shows_as_itself() {
        let mut directory = Directory { bytes: vec![0; 8 * ENTRY] };
        let slots = directory.add("vakt-a_0.1.0.efi", 5, 100, 8).unwrap();
        directory.bytes[slots.start * ENTRY] = FREE;
        assert_eq!(directory.items()[0].name, "VAKT0000.EFI");
    }
}

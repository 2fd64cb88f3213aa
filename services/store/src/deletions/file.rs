//! The file `blocks/tombstones` (FORMAT.md, "Tombstones").

use std::io;

use super::{Deletion, Deletions};
use crate::block::FOLDER;
use crate::disk::{self, Disk};
use crate::protobuf::{ProtobufError, put_varint, unzigzag, varint, zigzag};
use crate::series::{MatchOp, Matcher};

/// Its name in the blocks' folder.
pub const NAME: &str = "tombstones";

/// First bytes.
const MAGIC: &[u8; 8] = b"VAKTDEL\0";

/// The only version there is.
const VERSION: u32 = 1;

/// Magic (8), version (4), records (4), log segments (8), CRC-32 of these 24 bytes (4).
const HEADER_BYTES: usize = 28;

/// How matchers compare, by the number that stands for it.
const OPS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FOLDER}/{NAME} is broken at byte {offset}: {what}")]
pub struct Broken {
    offset: usize,
    what: String,
}

/// The file's bytes.
pub fn bytes(deletions: &Deletions) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + deletions.all.len() * 64);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(deletions.all.len() as u32).to_le_bytes());
    out.extend_from_slice(&deletions.log_up_to.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    for one in &deletions.all {
        let payload = payload(one);
        let length = (payload.len() as u32).to_le_bytes();
        out.extend_from_slice(&length);
        out.extend_from_slice(&crc(length, &payload).to_le_bytes());
        out.extend_from_slice(&payload);
    }
    out
}

fn crc(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(payload);
    crc.finalize()
}

fn payload(one: &Deletion) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put_varint(one.up_to, &mut out);
    for number in [one.from, one.to, one.at] {
        put_varint(zigzag(number), &mut out);
    }
    put_varint(one.matchers.len() as u64, &mut out);
    for matcher in &one.matchers {
        out.push(OPS.iter().position(|op| *op == matcher.op).unwrap_or(0) as u8);
        for text in [&matcher.name, &matcher.value] {
            put_varint(text.len() as u64, &mut out);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// Reads a file: what is whole, and why it is not all when it is not.
pub fn parse(bytes: &[u8]) -> (Deletions, Option<Broken>) {
    let mut found = Deletions::default();
    let broken = |offset, what: &str| Some(Broken { offset, what: what.into() });
    let Some((header, mut rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return (found, broken(bytes.len(), "ends early"));
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if &header[..8] != MAGIC || word(24) != crc32fast::hash(&header[..24]) {
        return (found, broken(0, "header"));
    }
    if word(8) != VERSION {
        return (found, broken(8, &format!("format version {}, this build reads {VERSION}", word(8))));
    }
    found.log_up_to = u64::from(word(16)) | u64::from(word(20)) << 32;
    let (mut wrong, mut left) = (None, word(12));
    while left > 0 {
        let offset = bytes.len() - rest.len();
        // Where the length is broken no later record is found; one with a broken content hides no other.
        let Some((payload, whole, after)) = split(rest) else {
            return (found, broken(offset, "a record ends early"));
        };
        let read = if whole { record(payload) } else { Err("checksum of a record".into()) };
        match read {
            Ok(one) => found.all.push(one),
            Err(what) => wrong = wrong.or_else(|| broken(offset, &what)),
        }
        (rest, left) = (after, left - 1);
    }
    if !rest.is_empty() && wrong.is_none() {
        wrong = broken(bytes.len() - rest.len(), "more than its header says");
    }
    (found, wrong)
}

/// The payload of the first record, whether its checksum matches, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (payload, after) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((payload, crc(*length, payload) == u32::from_le_bytes(*sum), after))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, ProtobufError> {
        let (value, length) = varint(self.0)?;
        self.0 = &self.0[length..];
        Ok(value)
    }

    fn signed(&mut self) -> Result<i64, ProtobufError> {
        self.number().map(unzigzag)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(length).map_err(|_| ProtobufError::Short)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let length = self.number().map_err(|error| error.to_string())?;
        let bytes = self.take(length).map_err(|error| error.to_string())?;
        std::str::from_utf8(bytes).map_err(|error| error.to_string())
    }
}

fn record(payload: &[u8]) -> Result<Deletion, String> {
    let said = |error: ProtobufError| error.to_string();
    let mut reader = Reader(payload);
    let up_to = reader.number().map_err(said)?;
    let (from, to) = (reader.signed().map_err(said)?, reader.signed().map_err(said)?);
    let at = reader.signed().map_err(said)?;
    let count = reader.number().map_err(said)?;
    let mut matchers = Vec::new();
    for _ in 0..count {
        let op = reader.take(1).map_err(said)?[0];
        let op = *OPS.get(usize::from(op)).ok_or("an unknown matcher")?;
        let name = reader.text()?;
        let value = reader.text()?;
        matchers.push(Matcher::new(op, name, value)?);
    }
    if !reader.0.is_empty() {
        return Err("a record is longer than its content".into());
    }
    Ok(Deletion { up_to, from, to, at, matchers })
}

fn path(suffix: &str) -> String {
    format!("{FOLDER}/{NAME}{suffix}")
}

/// Puts the file in the place of the one before.
///
/// # Errors
/// As the disk says; which of the two a start finds then is not known.
pub fn store(disk: &dyn Disk, deletions: &Deletions) -> io::Result<()> {
    let mut file = disk.create(&path(".tmp"))?;
    file.append(&bytes(deletions))?;
    file.sync()?;
    disk.rename(&path(".tmp"), &path(""))?;
    disk.sync_folder(FOLDER)
}

/// Reads the file.
///
/// # Errors
/// As the disk says.
pub fn read(disk: &dyn Disk) -> io::Result<(Deletions, Option<Broken>)> {
    if !disk.list(FOLDER)?.iter().any(|name| name == NAME) {
        return Ok((Deletions::default(), None));
    }
    let file = disk.open(&path(""))?;
    let length = usize::try_from(file.bytes()?).unwrap_or(usize::MAX).min(2 * super::FILE_BYTES_MAX);
    Ok(parse(&disk::read(&*file, 0, length)?))
}

/// Reads the file; one that is broken is kept aside, and what is whole of it is written anew.
///
/// # Errors
/// As the disk says.
pub fn load(disk: &dyn Disk) -> io::Result<(Deletions, Option<Broken>)> {
    let (found, broken) = read(disk)?;
    if broken.is_some() {
        disk.rename(&path(""), &path(".bad"))?;
        store(disk, &found)?;
    }
    Ok((found, broken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;
    use proptest::prelude::*;

    fn matcher() -> impl Strategy<Value = Matcher> {
        ((0..4usize), "[a-z_]{0,8}", "[a-zé|.*+]{0,8}")
            .prop_filter_map("no regular expression", |(op, name, value)| {
                Matcher::new(OPS[op], &name, &value).ok()
            })
    }

    fn deletions() -> impl Strategy<Value = Deletions> {
        let one =
            (any::<u64>(), any::<i64>(), any::<i64>(), any::<i64>(), prop::collection::vec(matcher(), 0..4))
                .prop_map(|(up_to, from, to, at, matchers)| Deletion { up_to, from, to, at, matchers });
        (prop::collection::vec(one, 0..5), any::<u64>())
            .prop_map(|(all, log_up_to)| Deletions { all, log_up_to })
    }

    proptest! {
        #[test]
        fn deletions_come_back(deletions in deletions()) {
            prop_assert_eq!(parse(&bytes(&deletions)), (deletions, None));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes: Vec<u8>, good in deletions(), at: prop::sample::Index) {
            parse(&bytes);
            let whole = super::bytes(&good);
            bytes.splice(0..0, whole[..at.index(whole.len())].iter().copied());
            parse(&bytes);
        }

        #[test]
        fn a_flipped_bit_is_noticed_and_every_other_record_stays(good in deletions(), at: prop::sample::Index, bit in 0..8u32) {
            let mut harmed = bytes(&good);
            let at = at.index(harmed.len());
            harmed[at] ^= 1 << bit;
            let (found, broken) = parse(&harmed);
            prop_assert!(broken.is_some());
            prop_assert!(found.all.iter().all(|one| good.all.contains(one)));
        }
    }

    #[test]
    fn a_broken_file_is_kept_aside_and_its_whole_records_stay_in_force() {
        let disk = SimulatedDisk::default();
        let one =
            |to: i64| Deletion { up_to: 3, from: 0, to, at: 9, matchers: vec![Matcher::equal("a", "b")] };
        let all = Deletions::default().and(one(5)).unwrap().and(Deletion { from: -7, ..one(3) }).unwrap();
        store(&disk, &all).unwrap();
        disk.damage("blocks/tombstones", |bytes| bytes[HEADER_BYTES + 9] ^= 1);
        let (found, broken) = load(&disk).unwrap();
        assert_eq!(
            broken.unwrap().to_string(),
            "blocks/tombstones is broken at byte 28: checksum of a record"
        );
        assert_eq!(found.all(), [Deletion { from: -7, ..one(3) }]);
        assert_eq!(load(&disk.after_power_cut(0)).unwrap(), (found, None));
        assert!(disk.list(FOLDER).unwrap().contains(&"tombstones.bad".to_owned()));
    }
}

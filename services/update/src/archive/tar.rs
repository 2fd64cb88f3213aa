//! The headers of a tar archive (POSIX.1-2001 pax, "ustar Interchange Format"): plain files only.

/// A header, and what contents are padded to.
pub const BLOCK: usize = 512;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path, with `/` between its parts.
    pub path: String,
    /// Bytes of contents, which follow the header, padded to a whole [`BLOCK`].
    pub bytes: u64,
}

/// Where fields lie: (offset, length).
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const TIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const KIND: usize = 156;
const MAGIC: (usize, usize) = (257, 8);
const PREFIX: (usize, usize) = (345, 155);

fn field(block: &[u8; BLOCK], (offset, length): (usize, usize)) -> &[u8] {
    &block[offset..offset + length]
}

impl Entry {
    /// Bytes of padding behind the contents.
    pub fn padding(&self) -> u64 {
        self.bytes.next_multiple_of(BLOCK as u64) - self.bytes
    }

    /// The header. Readable by all, of no user, at the epoch: the same files give the same archive.
    ///
    /// # Errors
    /// When the path is longer than the format can say (100 bytes behind the last `/`, 155 before it), or
    /// the contents are larger than 8 GiB.
    pub fn encode(&self) -> Result<[u8; BLOCK], String> {
        let (prefix, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        if name.is_empty() || name.len() > NAME.1 || prefix.len() > PREFIX.1 || self.bytes >> 33 != 0 {
            return Err(format!("{:?} of {} bytes does not fit a tar header", self.path, self.bytes));
        }
        let mut block = [0; BLOCK];
        put(&mut block, NAME, name.as_bytes());
        put(&mut block, MODE, b"0000644");
        put(&mut block, UID, b"0000000");
        put(&mut block, GID, b"0000000");
        put(&mut block, SIZE, format!("{:011o}", self.bytes).as_bytes());
        put(&mut block, TIME, b"00000000000");
        put(&mut block, (KIND, 1), b"0");
        put(&mut block, MAGIC, b"ustar\x0000");
        put(&mut block, PREFIX, prefix.as_bytes());
        let sum = checksum(&block);
        put(&mut block, CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
        Ok(block)
    }

    /// Reads a header; `None` for the block of zeroes that ends an archive.
    ///
    /// # Errors
    /// What is wrong with it, such as that it is of anything but a plain file.
    pub fn decode(block: &[u8; BLOCK]) -> Result<Option<Entry>, String> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if number(field(block, CHECKSUM)) != Some(checksum(block))
            || !field(block, MAGIC).starts_with(b"ustar")
        {
            return Err(
                "not a tar archive, or damaged; make it with: vakt-image bundle --archive FILE".into()
            );
        }
        let prefix = match field(block, MAGIC) {
            b"ustar\x0000" => text(field(block, PREFIX))?,
            // GNU's old form has other things where the prefix would be.
            _ => "",
        };
        let name = text(field(block, NAME))?;
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        if !matches!(block[KIND], b'0' | 0) {
            return Err(format!(
                "{path:?} is no plain file; make archives with: vakt-image bundle --archive FILE"
            ));
        }
        let bytes = number(field(block, SIZE)).ok_or_else(|| format!("{path:?} has an unreadable size"))?;
        Ok(Some(Entry { path, bytes }))
    }
}

/// The sum of all bytes, the checksum's own counted as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let own = CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1;
    block.iter().enumerate().map(|(at, byte)| if own.contains(&at) { 32 } else { u64::from(*byte) }).sum()
}

fn put(block: &mut [u8; BLOCK], (offset, _): (usize, usize), bytes: &[u8]) {
    block[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn text(field: &[u8]) -> Result<&str, String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    std::str::from_utf8(&field[..end]).map_err(|_| "a path that is not UTF-8".into())
}

/// An octal number that ends with a space or a zero byte.
fn number(field: &[u8]) -> Option<u64> {
    let digits = field.split(|byte| matches!(byte, 0 | b' ')).find(|part| !part.is_empty())?;
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 8)?;
        sum.checked_mul(8)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let long = format!("targets/{}.vakt-10.20.30-x86_64.sbom.json", "0".repeat(64));
        for (path, bytes) in [("a", 0), ("metadata/1.root.json", 513), (&long, (8 << 30) - 1)] {
            let entry = Entry { path: path.into(), bytes };
            assert_eq!(Entry::decode(&entry.encode().unwrap()), Ok(Some(entry)));
        }
        assert_eq!(Entry::decode(&[0; BLOCK]), Ok(None));
        let padding = |bytes| Entry { path: "a".into(), bytes }.padding();
        assert_eq!([0, 1, 512, 513].map(padding), [0, 511, 0, 511]);
    }

    #[test]
    fn a_header_that_was_changed_is_refused_wherever_that_was() {
        let good = Entry { path: "targets/x".into(), bytes: 77 }.encode().unwrap();
        for at in 0..BLOCK {
            let mut bad = good;
            bad[at] ^= 1;
            let read = Entry::decode(&bad);
            // The ends of the checksum's own field are not part of the number.
            let harmless = read == Entry::decode(&good) && (154..156).contains(&at);
            assert!(read.is_err() || harmless, "byte {at} gave {read:?}");
        }
    }

    #[test]
    fn links_and_directories_are_refused() {
        let mut block = Entry { path: "targets/x".into(), bytes: 0 }.encode().unwrap();
        block[KIND] = b'5';
        let sum = format!("{:06o}", checksum(&block));
        block[CHECKSUM.0..CHECKSUM.0 + 6].copy_from_slice(sum.as_bytes());
        assert!(Entry::decode(&block).unwrap_err().contains("no plain file"));
    }
}

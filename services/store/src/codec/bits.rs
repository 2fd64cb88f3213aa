//! Bits into bytes and back, most significant first.

/// Appends bits; whole 64-bit words go to the bytes, the rest waits in a word.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    used: u8,
}

impl BitWriter {
    /// Appends the lowest `count` bits of `value`, 0 to 64; higher bits must be zero.
    #[inline]
    pub fn put(&mut self, value: u64, count: u8) {
        debug_assert!(count == 64 || value >> count == 0, "bits above the count");
        if count == 0 {
            return;
        }
        let free = 64 - self.used;
        if count < free {
            self.word |= value << (free - count);
            self.used += count;
            return;
        }
        let left = count - free;
        let word = self.word | value.checked_shr(left.into()).unwrap_or(0);
        self.bytes.extend_from_slice(&word.to_be_bytes());
        self.word = if left == 0 { 0 } else { value << (64 - left) };
        self.used = left;
    }

    /// Bytes that hold what was put so far.
    pub fn len(&self) -> usize {
        self.bytes.len() + usize::from(self.used.div_ceil(8))
    }

    /// Whether nothing was put.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that this writer holds.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends everything that was put, the last byte filled up with zeros.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
        out.extend_from_slice(&self.word.to_be_bytes()[..usize::from(self.used.div_ceil(8))]);
    }
}

/// Reads bits in the order they were put.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    /// A reader from the first bit on.
    pub fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, position: 0 }
    }

    /// The next `count` bits, 0 to 64, or `None` when fewer are left.
    #[inline]
    pub fn get(&mut self, count: u8) -> Option<u64> {
        if count > 32 {
            let high = self.get_few(count - 32)?;
            return Some(high << 32 | self.get_few(32)?);
        }
        self.get_few(count)
    }

    #[inline]
    fn get_few(&mut self, count: u8) -> Option<u64> {
        if count == 0 {
            return Some(0);
        }
        let end = self.position + usize::from(count);
        if end > self.bytes.len() * 8 {
            return None;
        }
        let first = self.position / 8;
        let word = match self.bytes.get(first..first + 8).and_then(|bytes| bytes.first_chunk::<8>()) {
            Some(whole) => u64::from_be_bytes(*whole),
            None => {
                let mut padded = [0; 8];
                let tail = &self.bytes[first..];
                padded[..tail.len()].copy_from_slice(tail);
                u64::from_be_bytes(padded)
            }
        };
        let shifted = word << (self.position % 8);
        self.position = end;
        Some(shifted >> (64 - count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back_in_order(parts in prop::collection::vec((any::<u64>(), 0u8..=64), 0..200)) {
            let mut writer = BitWriter::default();
            let parts: Vec<_> =
                parts.into_iter().map(|(v, n)| (if n == 64 { v } else { v & ((1 << n) - 1) }, n)).collect();
            for &(value, count) in &parts {
                writer.put(value, count);
            }
            let mut bytes = Vec::new();
            writer.copy_to(&mut bytes);
            prop_assert_eq!(bytes.len(), writer.len());
            let mut reader = BitReader::new(&bytes);
            for (value, count) in parts {
                prop_assert_eq!(reader.get(count), Some(value));
            }
            prop_assert!(reader.get(8).is_none());
        }
    }
}

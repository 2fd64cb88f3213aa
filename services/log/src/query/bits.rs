//! One bit a row: which rows of a block are still meant.

/// A set of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    rows: usize,
}

impl Bits {
    /// All of `rows` rows, or none of them.
    pub fn all(rows: usize, set: bool) -> Bits {
        let mut bits = Bits { words: vec![if set { u64::MAX } else { 0 }; rows.div_ceil(64)], rows };
        bits.trim();
        bits
    }

    /// Those rows for which `test` holds.
    pub fn of(rows: usize, mut test: impl FnMut(usize) -> bool) -> Bits {
        let mut bits = Bits::all(rows, false);
        for row in 0..rows {
            bits.words[row / 64] |= u64::from(test(row)) << (row % 64);
        }
        bits
    }

    fn trim(&mut self) {
        if let (Some(last), used @ 1..) = (self.words.last_mut(), self.rows % 64) {
            *last &= (1 << used) - 1;
        }
    }

    /// Keeps what is in both.
    pub fn and(&mut self, other: &Bits) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    /// Adds what is in the other.
    pub fn or(&mut self, other: &Bits) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    /// What was out is in.
    pub fn invert(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.trim();
    }

    /// Is there no row?
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Keeps those rows for which `test` holds; asks only about rows that are in.
    pub fn retain(&mut self, mut test: impl FnMut(usize) -> bool) {
        for (index, word) in self.words.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                if !test(index * 64 + bit) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = usize> {
        (0..self.rows).filter(|row| self.words[row / 64] >> (row % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_combine_within_their_rows() {
        for rows in [0, 1, 63, 64, 65, 200] {
            let even = Bits::of(rows, |row| row % 2 == 0);
            let mut odd = even.clone();
            odd.invert();
            assert_eq!(odd.iter().count(), rows / 2);
            let mut both = odd.clone();
            both.or(&even);
            assert_eq!(both, Bits::all(rows, true));
            both.and(&odd);
            both.retain(|row| row > 10);
            assert!(both.iter().all(|row| row % 2 == 1 && row > 10));
            odd.and(&even);
            assert!(odd.is_empty());
        }
    }
}

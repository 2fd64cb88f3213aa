//! The keys of all series, one after the other in pages, so that growing never copies what is there.

/// Bytes of a page; a longer key gets a page of its own.
const PAGE_BYTES: usize = 256 << 10;

/// Where a key lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    page: u32,
    start: u32,
    length: u32,
}

/// Keys by number, from 0 on. A key costs its length and 12 bytes.
#[derive(Debug, Default)]
pub struct Keys {
    pages: Vec<Vec<u8>>,
    places: Vec<Place>,
}

impl Keys {
    /// Adds a key; keys are numbered from 0 on.
    pub fn push(&mut self, key: &[u8]) {
        let room = self.pages.last().is_some_and(|page| page.capacity() - page.len() >= key.len());
        if !room {
            self.pages.push(Vec::with_capacity(PAGE_BYTES.max(key.len())));
        }
        let page = self.pages.len() - 1;
        let start = self.pages[page].len();
        self.pages[page].extend_from_slice(key);
        self.places.push(Place { page: page as u32, start: start as u32, length: key.len() as u32 });
    }

    /// The key of a number that was given.
    #[inline]
    pub fn get(&self, number: u32) -> &[u8] {
        let Place { page, start, length } = self.places[number as usize];
        &self.pages[page as usize][start as usize..][..length as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_come_back() {
        let mut keys = Keys::default();
        let all: Vec<Vec<u8>> = (0..3000).map(|n| vec![n as u8; (n * 37) % 300]).collect();
        all.iter().for_each(|key| keys.push(key));
        keys.push(&[7; PAGE_BYTES + 1]);
        for (n, key) in all.iter().enumerate() {
            assert_eq!(keys.get(n as u32), key);
        }
        assert_eq!(keys.get(3000).len(), PAGE_BYTES + 1);
    }
}

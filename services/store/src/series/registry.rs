//! Every series the store knows, interned: label pairs once each, a series as a run of pair ids.
//!
//! Memory for one series of 10 labels: its key (some 200 bytes, so that a request's bytes are compared as they are),
//! 40 bytes of pair ids, 40 bytes of postings, some 20 bytes of tables, and its own new label values. Series whose data has expired leave
//! it at the next start, which reads what the blocks still hold; those that were deleted at once ([`super::forget`]).

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};

use super::key::encode;
use super::keys::Keys;
use super::labels::{Label, Labels};

/// A series within one run of the process. Ids are dense and start at 0; they are not kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u32);

/// The registry holds as many series as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store holds its limit of {series_max} series")]
pub struct RegistryFull {
    /// The limit.
    pub series_max: usize,
}

/// A label pair that some series has.
pub(super) struct Pair {
    pub(super) name: u32,
    pub(super) value: Arc<str>,
    /// The series that have it, ascending.
    pub(super) series: Vec<SeriesId>,
}

/// A label name and the pairs that have it.
pub(super) struct Name {
    pub(super) text: Arc<str>,
    pub(super) pairs: Vec<u32>,
}

/// The series by key, and the pairs and names that they are made of.
pub struct Registry {
    hasher: DefaultHashBuilder,
    pub(super) names: Vec<Name>,
    pub(super) name_ids: HashMap<Arc<str>, u32>,
    pub(super) pairs: Vec<Pair>,
    pair_table: HashTable<u32>,
    keys: Keys,
    /// The pair ids of all series, one after the other.
    members: Vec<u32>,
    /// Where each series' members end.
    ends: Vec<u32>,
    series_table: HashTable<SeriesId>,
    pub(super) forgotten: HashSet<SeriesId>,
    series_max: usize,
}

impl Registry {
    /// An empty registry for at most `series_max` series.
    pub fn new(series_max: usize) -> Registry {
        Registry {
            hasher: DefaultHashBuilder::default(),
            names: Vec::new(),
            name_ids: HashMap::new(),
            pairs: Vec::new(),
            pair_table: HashTable::new(),
            keys: Keys::default(),
            members: Vec::new(),
            ends: Vec::new(),
            series_table: HashTable::new(),
            forgotten: HashSet::new(),
            series_max,
        }
    }

    /// Number of ids that were given, those of forgotten series too.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Number of different label pairs.
    pub fn pairs_len(&self) -> usize {
        self.pairs.len()
    }

    /// The series whose key is exactly `raw` (the label bytes of a request). `None` means that it is
    /// new, or that the sender's bytes are not canonical.
    #[inline]
    pub fn find(&self, raw: &[u8]) -> Option<SeriesId> {
        let hash = self.hasher.hash_one(raw);
        self.series_table.find(hash, |&id| self.keys.get(id.0) == raw).copied()
    }

    /// The series with these labels (sorted, non-empty), if it is known.
    pub fn find_labels(&self, labels: &[(&str, &str)]) -> Option<SeriesId> {
        self.find(&key_of(labels))
    }

    /// The series with these labels (sorted, non-empty, as [`super::canonical`] returns them), added
    /// when it is new.
    ///
    /// # Errors
    /// [`RegistryFull`] when it is new and the registry is at its limit.
    pub fn intern(&mut self, labels: &[(&str, &str)]) -> Result<SeriesId, RegistryFull> {
        let key = key_of(labels);
        match self.find(&key) {
            Some(id) => Ok(id),
            None if self.is_full() => Err(RegistryFull { series_max: self.series_max }),
            None => Ok(self.insert(labels, &key)),
        }
    }

    fn is_full(&self) -> bool {
        self.live() >= self.series_max || self.len() >= self.series_max.saturating_mul(2)
    }

    /// As [`Registry::intern`], past the limit too: for what is on disk already.
    pub fn restore(&mut self, labels: &[(&str, &str)]) -> SeriesId {
        let key = key_of(labels);
        self.find(&key).unwrap_or_else(|| self.insert(labels, &key))
    }

    fn insert(&mut self, labels: &[(&str, &str)], key: &[u8]) -> SeriesId {
        let id = SeriesId(self.ends.len() as u32);
        for (name, value) in labels {
            let pair = self.pair(name, value);
            self.pairs[pair as usize].series.push(id);
            self.members.push(pair);
        }
        self.ends.push(self.members.len() as u32);
        let hash = self.hasher.hash_one(key);
        self.keys.push(key);
        let (hasher, keys) = (&self.hasher, &self.keys);
        self.series_table.insert_unique(hash, id, |&other| hasher.hash_one(keys.get(other.0)));
        id
    }

    /// The labels of a series.
    pub fn labels(&self, id: SeriesId) -> Labels {
        // Members are in the order of the key's labels, which are sorted.
        Labels::sorted(self.members_of(id).iter().map(|&pair| self.label(pair)))
    }

    /// The canonical key of a series.
    pub fn key(&self, id: SeriesId) -> &[u8] {
        self.keys.get(id.0)
    }

    /// Every series id, but those of forgotten series.
    pub fn ids(&self) -> impl Iterator<Item = SeriesId> + '_ {
        (0..self.ends.len() as u32).map(SeriesId).filter(|id| !self.forgotten.contains(id))
    }

    /// Makes a series one that is forgotten; says whether it was none yet.
    pub(super) fn take_out(&mut self, id: SeriesId) -> bool {
        let hash = self.hasher.hash_one(self.keys.get(id.0));
        if let Ok(entry) = self.series_table.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        self.forgotten.insert(id)
    }

    pub(super) fn label(&self, pair: u32) -> Label {
        let pair = &self.pairs[pair as usize];
        (self.names[pair.name as usize].text.clone(), pair.value.clone())
    }

    pub(super) fn members_of(&self, id: SeriesId) -> &[u32] {
        let index = id.0 as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.members[start..self.ends[index] as usize]
    }

    fn pair(&mut self, name: &str, value: &str) -> u32 {
        let name_id = match self.name_ids.get(name) {
            Some(&id) => id,
            None => {
                let (id, text) = (self.names.len() as u32, Arc::<str>::from(name));
                self.names.push(Name { text: text.clone(), pairs: Vec::new() });
                self.name_ids.insert(text, id);
                id
            }
        };
        let hash = self.hasher.hash_one((name_id, value));
        let pairs = &self.pairs;
        let same = |&id: &u32| pairs[id as usize].name == name_id && &*pairs[id as usize].value == value;
        if let Some(&id) = self.pair_table.find(hash, same) {
            return id;
        }
        let id = self.pairs.len() as u32;
        self.pairs.push(Pair { name: name_id, value: value.into(), series: Vec::new() });
        self.names[name_id as usize].pairs.push(id);
        let (hasher, pairs) = (&self.hasher, &self.pairs);
        self.pair_table.insert_unique(hash, id, |&other| {
            let pair = &pairs[other as usize];
            hasher.hash_one((pair.name, &*pair.value))
        });
        id
    }

    /// The pair with this name and value, if any series has it.
    pub(super) fn find_pair(&self, name: &str, value: &str) -> Option<u32> {
        let name_id = *self.name_ids.get(name)?;
        let hash = self.hasher.hash_one((name_id, value));
        let same =
            |&id: &u32| self.pairs[id as usize].name == name_id && &*self.pairs[id as usize].value == value;
        self.pair_table.find(hash, same).copied()
    }
}

fn key_of(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut key = Vec::with_capacity(256);
    encode(labels.iter().copied(), &mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_the_bytes_a_sender_writes() {
        let mut registry = Registry::new(1000);
        let mut keys = Vec::new();
        for n in 0..100 {
            let value = n.to_string();
            let labels = [("__name__", "up"), ("instance", value.as_str()), ("job", "x")];
            let id = registry.intern(&labels).unwrap();
            assert_eq!(registry.intern(&labels), Ok(id));
            let mut key = Vec::new();
            encode(labels.into_iter(), &mut key);
            keys.push((key, id));
        }
        for (key, id) in &keys {
            assert_eq!(registry.find(key), Some(*id));
            assert_eq!(registry.key(*id), key);
            assert_eq!(registry.find(&key[..key.len() - 1]), None);
        }
        assert_eq!(registry.pairs_len(), 102);
        assert_eq!(registry.labels(SeriesId(7)).to_string(), r#"up{instance="7", job="x"}"#);
    }

    #[test]
    fn a_full_registry_takes_no_new_series_and_keeps_the_old() {
        let mut registry = Registry::new(1);
        let old = registry.intern(&[("__name__", "a")]).unwrap();
        assert_eq!(registry.intern(&[("__name__", "b")]), Err(RegistryFull { series_max: 1 }));
        assert_eq!(registry.intern(&[("__name__", "a")]), Ok(old));
    }
}

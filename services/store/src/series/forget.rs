//! Forgetting series of which nothing is left, so that they are no longer found or counted.
//!
//! Their ids are never given again within this run, and what a reader has from before stays valid: keys and members
//! stay in memory until the next start. So that deleting and flooding in turn does not fill it, at most as
//! many forgotten series are kept as there may be live ones.

use super::registry::{Registry, SeriesId};

impl Registry {
    /// Number of series that are not forgotten.
    pub fn live(&self) -> usize {
        self.len() - self.forgotten.len()
    }

    /// Forgets these series. One that comes back is a new one.
    pub fn forget(&mut self, ids: &[SeriesId]) {
        let mut pairs = Vec::new();
        for &id in ids {
            if self.take_out(id) {
                pairs.extend_from_slice(self.members_of(id));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        for pair in pairs {
            let forgotten = &self.forgotten;
            self.pairs[pair as usize].series.retain(|id| !forgotten.contains(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Matcher;

    #[test]
    fn a_forgotten_series_is_found_nowhere_and_comes_back_as_a_new_one() {
        let mut registry = Registry::new(2);
        let a = registry.intern(&[("__name__", "up"), ("job", "a")]).unwrap();
        let b = registry.intern(&[("__name__", "up"), ("job", "b")]).unwrap();
        registry.forget(&[a, a]);
        assert_eq!((registry.live(), registry.len()), (1, 2));
        assert_eq!(registry.select(&[]), [b]);
        assert_eq!(registry.select(&[Matcher::equal("__name__", "up")]), [b]);
        assert_eq!(registry.select(&[Matcher::equal("job", "a")]), []);
        let found = registry.cardinality(10);
        assert_eq!((found.by_name[0].1, found.values), (1, vec![("__name__".into(), 1), ("job".into(), 1)]));
        assert_eq!(registry.labels(a).get("job"), "a", "what somebody still holds stays readable");
        let again = registry.intern(&[("__name__", "up"), ("job", "a")]).unwrap();
        assert_ne!(again, a);
        assert_eq!(registry.select(&[]), [b, again]);
        assert!(registry.intern(&[("__name__", "new")]).is_err());
    }

    #[test]
    fn memory_for_forgotten_series_ends_at_as_many_as_may_live() {
        let mut registry = Registry::new(10);
        let mut added = 0;
        for round in 0..100 {
            let value = round.to_string();
            if let Ok(id) = registry.intern(&[("__name__", value.as_str())]) {
                registry.forget(&[id]);
                added += 1;
            }
        }
        assert_eq!((added, registry.live()), (20, 0));
    }
}

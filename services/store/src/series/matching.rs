//! Matchers to series ids, by the posting lists of the registry.
//!
//! A matcher that the empty value satisfies (`!=`, `=~".*"`, `=""`) selects every series but those whose value
//! fails it; any other selects the union of the lists whose value passes it. Lists are ascending, so
//! intersections and differences are linear merges, smallest first.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::matcher::Matcher;
use super::registry::{Registry, SeriesId};

impl Registry {
    /// The series that satisfy every matcher, ascending. No matchers select everything.
    pub fn select(&self, matchers: &[Matcher]) -> Vec<SeriesId> {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for matcher in matchers {
            if matcher.is_match("") {
                unwanted.push(self.union(matcher, false));
            } else {
                wanted.push(self.union(matcher, true));
            }
        }
        wanted.sort_by_key(Vec::len);
        let mut wanted = wanted.into_iter();
        let mut found = wanted.next().unwrap_or_else(|| self.ids().collect());
        for list in wanted {
            retain(&mut found, &list, true);
        }
        for list in unwanted {
            retain(&mut found, &list, false);
        }
        found
    }

    /// The series that have the matcher's label with a value whose match is `passes`.
    fn union(&self, matcher: &Matcher, passes: bool) -> Vec<SeriesId> {
        if let Some(values) = matcher.accepted().filter(|_| passes) {
            let pairs = values.iter().filter_map(|value| self.find_pair(&matcher.name, value));
            let mut all: Vec<_> =
                pairs.flat_map(|id| self.pairs[id as usize].series.iter().copied()).collect();
            if values.len() > 1 {
                all.sort_unstable();
                all.dedup();
            }
            return all;
        }
        let Some(&name) = self.name_ids.get(matcher.name.as_str()) else { return Vec::new() };
        let mut all = Vec::new();
        for &pair in &self.names[name as usize].pairs {
            let pair = &self.pairs[pair as usize];
            if matcher.is_match(&pair.value) == passes {
                all.extend_from_slice(&pair.series);
            }
        }
        all.sort_unstable();
        all
    }

    /// The label names of these series, sorted.
    pub fn names_of(&self, ids: &[SeriesId]) -> BTreeSet<Arc<str>> {
        ids.iter()
            .flat_map(|&id| self.labels(id).iter().map(|(n, _)| n.clone()).collect::<Vec<_>>())
            .collect()
    }

    /// The values that these series have for `name`, sorted.
    pub fn values_of(&self, ids: &[SeriesId], name: &str) -> BTreeSet<Arc<str>> {
        let Some(&name) = self.name_ids.get(name) else { return BTreeSet::new() };
        let wanted: hashbrown::HashSet<SeriesId> = ids.iter().copied().collect();
        let pairs = self.names[name as usize].pairs.iter().map(|&pair| &self.pairs[pair as usize]);
        pairs
            .filter(|pair| pair.series.iter().any(|id| wanted.contains(id)))
            .map(|p| p.value.clone())
            .collect()
    }
}

/// Keeps of `list` what `other` has (`present`) or has not. Both ascend.
fn retain(list: &mut Vec<SeriesId>, other: &[SeriesId], present: bool) {
    let mut other = other.iter().peekable();
    list.retain(|id| {
        while other.next_if(|next| *next < id).is_some() {}
        (other.peek() == Some(&id)) == present
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::syntax::selector as parse;

    fn check(selector: &str, expected: &[u32]) {
        let mut registry = Registry::new(100);
        for labels in [
            &[("__name__", "up"), ("job", "a")][..],
            &[("__name__", "up"), ("job", "b")],
            &[("__name__", "down"), ("job", "b"), ("zone", "z")],
            &[("__name__", "down")],
        ] {
            registry.intern(labels).unwrap();
        }
        let matchers = parse(selector).unwrap().matchers;
        let expected: Vec<_> = expected.iter().copied().map(SeriesId).collect();
        assert_eq!(registry.select(&matchers), expected, "{selector}");
    }

    #[test]
    fn matchers_select_as_prometheus_does() {
        check("up", &[0, 1]);
        check(r#"up{job="b"}"#, &[1]);
        check(r#"{job="b"}"#, &[1, 2]);
        check(r#"{__name__=~"up|down"}"#, &[0, 1, 2, 3]);
        check(r#"up{job!="b"}"#, &[0]);
        check(r#"down{job!="a"}"#, &[2, 3]);
        check(r#"down{job=""}"#, &[3]);
        check(r#"{job=~"a|b",zone!~"z.*"}"#, &[0, 1]);
        check(r#"down{zone=~".*"}"#, &[2, 3]);
        check(r#"down{zone=~".+"}"#, &[2]);
        check(r#"nothing{job="b"}"#, &[]);
    }
}

//! What takes the most series: the numbers of `/api/v1/status/tsdb`.

use super::labels::METRIC_NAME;
use super::registry::Registry;

/// The greatest of each kind, the greatest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series by metric name.
    pub by_name: Vec<(String, u64)>,
    /// Different values by label name.
    pub values: Vec<(String, u64)>,
    /// Bytes of values by label name.
    pub bytes: Vec<(String, u64)>,
    /// Series by `name=value`.
    pub by_pair: Vec<(String, u64)>,
}

impl Registry {
    /// The `most` greatest of each kind. One pass over all label pairs.
    pub fn cardinality(&self, most: usize) -> Cardinality {
        let mut found = Cardinality::default();
        for name in &self.names {
            let pairs = name.pairs.iter().map(|&pair| &self.pairs[pair as usize]);
            let pairs = pairs.filter(|pair| !pair.series.is_empty());
            let bytes: usize = pairs.clone().map(|pair| pair.value.len()).sum();
            let values = pairs.clone().count() as u64;
            if values == 0 {
                continue;
            }
            found.values.push((name.text.to_string(), values));
            found.bytes.push((name.text.to_string(), bytes as u64));
            let mut of_name: Vec<(&str, u64)> =
                pairs.map(|pair| (&*pair.value, pair.series.len() as u64)).collect();
            keep(&mut of_name, most);
            for (value, series) in of_name {
                if &*name.text == METRIC_NAME {
                    found.by_name.push((value.to_owned(), series));
                }
                found.by_pair.push((format!("{}={value}", name.text), series));
            }
        }
        for list in [&mut found.by_name, &mut found.values, &mut found.bytes, &mut found.by_pair] {
            keep(list, most);
        }
        found
    }
}

/// Keeps the `most` greatest, sorted; of equal ones those first by name.
fn keep<T: Ord>(list: &mut Vec<(T, u64)>, most: usize) {
    list.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list.truncate(most);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_come_first_and_the_rest_is_left_out() {
        let mut registry = Registry::new(100);
        for n in 0..5 {
            let text = n.to_string();
            registry.intern(&[("__name__", "up"), ("n", text.as_str())]).unwrap();
        }
        registry.intern(&[("__name__", "down"), ("job", "x")]).unwrap();
        let found = registry.cardinality(2);
        let list =
            |pairs: &[(&str, u64)]| pairs.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect::<Vec<_>>();
        assert_eq!(found.by_name, list(&[("up", 5), ("down", 1)]));
        assert_eq!(found.values, list(&[("n", 5), ("__name__", 2)]));
        assert_eq!(found.bytes, list(&[("__name__", 6), ("n", 5)]));
        assert_eq!(found.by_pair, list(&[("__name__=up", 5), ("__name__=down", 1)]));
    }
}

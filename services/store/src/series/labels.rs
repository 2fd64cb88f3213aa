//! Labels as queries see them: sorted, shared, cheap to clone.

use std::fmt;
use std::sync::Arc;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// One label: name and value.
pub type Label = (Arc<str>, Arc<str>);

/// A set of labels, sorted by name. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Labels {
    /// No labels.
    pub fn empty() -> Labels {
        Labels(Arc::from([]))
    }

    /// From labels in any order; of a name given twice the last wins, empty values are left out.
    pub fn new(mut labels: Vec<Label>) -> Labels {
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        let mut kept: Vec<Label> = Vec::with_capacity(labels.len());
        for label in labels {
            match kept.last_mut() {
                Some(last) if last.0 == label.0 => *last = label,
                _ => kept.push(label),
            }
        }
        kept.retain(|(_, value)| !value.is_empty());
        Labels(kept.into())
    }

    /// From labels that are sorted by name, each given once and with a value.
    pub(super) fn sorted(labels: impl Iterator<Item = Label>) -> Labels {
        Labels(labels.collect())
    }

    /// The labels in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// The value of `name`; an absent label is the same as an empty one.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| &**n == name).map_or("", |(_, value)| value)
    }

    /// These labels without those that `drop` picks by name.
    pub fn without(&self, drop: impl Fn(&str) -> bool) -> Labels {
        if self.0.iter().any(|(name, _)| drop(name)) {
            Labels(self.0.iter().filter(|(name, _)| !drop(name)).cloned().collect())
        } else {
            self.clone()
        }
    }

    /// These labels without the metric's name, as after most functions.
    pub fn nameless(&self) -> Labels {
        self.without(|name| name == METRIC_NAME)
    }

    /// These labels with the name among them, as Prometheus' errors show them: `{__name__="up", job="x"}`.
    pub fn quoted(&self) -> String {
        let one = |(name, value): &Label| format!("{name}={}", crate::promql::syntax::quoted(value));
        format!("{{{}}}", self.iter().map(one).collect::<Vec<_>>().join(", "))
    }

    /// These labels with `name` set to `value`; an empty value removes it.
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let mut labels: Vec<Label> = self.0.iter().filter(|(n, _)| &**n != name).cloned().collect();
        labels.push((name.into(), value.into()));
        Labels::new(labels)
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Labels {
        Labels::new(labels.into_iter().map(|(n, v)| (n.as_ref().into(), v.as_ref().into())).collect())
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// As Prometheus writes a metric: `up{job="x"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(METRIC_NAME))?;
        let mut rest = self.0.iter().filter(|(name, _)| &**name != METRIC_NAME).peekable();
        if rest.peek().is_none() && !self.get(METRIC_NAME).is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        let mut comma = "";
        for (name, value) in rest {
            write!(f, "{comma}{name}={value:?}")?;
            comma = ", ";
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_print_as_prometheus_writes_them() {
        let check = |pairs: &[(&str, &str)], expected| {
            assert_eq!(pairs.iter().copied().collect::<Labels>().to_string(), expected);
        };
        check(&[], "{}");
        check(&[("__name__", "up")], "up");
        check(&[("b", "2"), ("__name__", "up"), ("a", "1")], r#"up{a="1", b="2"}"#);
        check(&[("a", "1")], r#"{a="1"}"#);
    }

    #[test]
    fn an_empty_value_removes_the_label() {
        let labels: Labels = [("a", "1"), ("b", "2")].into_iter().collect();
        assert_eq!(labels.with("a", "").to_string(), r#"{b="2"}"#);
        assert_eq!(labels.get("zzz"), "");
    }
}

//! Relabelling as Prometheus does it (model/relabel): steps that rewrite, keep or leave out by labels.

use std::collections::BTreeMap;

use regex::Regex;
use vakt_wire::config::{Action, Relabel};

/// Labels by name; one with an empty value is one that is not there.
pub type Labels = BTreeMap<String, String>;

/// Bytes of a compiled expression at most: a few thousand alternatives.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A step that was checked.
#[derive(Clone, Debug)]
pub struct Step {
    source: Vec<String>,
    separator: String,
    target: String,
    regex: Regex,
    modulus: u64,
    replacement: String,
    action: Action,
}

/// Checks steps.
///
/// # Errors
/// The first one that is wrong, with its number and what to write.
pub fn steps(configs: &[Relabel]) -> Result<Vec<Step>, String> {
    let step = |(index, config): (usize, &Relabel)| {
        Step::new(config).map_err(|reason| format!("step {index} of relabelling: {reason}"))
    };
    configs.iter().enumerate().map(step).collect()
}

/// Applies the steps. `false` when one of them leaves the labels out.
pub fn apply(steps: &[Step], labels: &mut Labels) -> bool {
    steps.iter().all(|step| step.apply(labels))
}

impl Step {
    fn new(config: &Relabel) -> Result<Step, String> {
        use Action::{DropEqual, HashMod, KeepEqual, Lowercase, Replace, Uppercase};
        let needs_target =
            matches!(config.action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if needs_target && config.target_label.is_empty() {
            return Err("target_label is missing".into());
        }
        let modulus = config.modulus.unwrap_or_default();
        if config.action == HashMod && modulus == 0 {
            return Err("modulus is missing; example: modulus = 4".into());
        }
        // The whole text must match, and a dot matches every character.
        let regex = regex::RegexBuilder::new(&format!("^(?s:{})$", config.regex))
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|error| format!("regex {:?}: {error}", config.regex))?;
        Ok(Step {
            source: config.source_labels.clone(),
            separator: config.separator.clone(),
            target: config.target_label.clone(),
            regex,
            modulus,
            replacement: config.replacement.clone(),
            action: config.action,
        })
    }

    fn apply(&self, labels: &mut Labels) -> bool {
        let value = |name: &String| labels.get(name).map(String::as_str).unwrap_or_default();
        let joined = self.source.iter().map(value).collect::<Vec<_>>().join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&joined),
            Action::Drop => return !self.regex.is_match(&joined),
            Action::KeepEqual => return value(&self.target) == joined,
            Action::DropEqual => return value(&self.target) != joined,
            Action::Replace => self.replace(&joined, labels),
            Action::Lowercase => set(labels, &self.target, joined.to_lowercase()),
            Action::Uppercase => set(labels, &self.target, joined.to_uppercase()),
            Action::HashMod => {
                let hash = md5::compute(&joined).0;
                let last = hash[8..].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                set(labels, &self.target, (last % self.modulus).to_string());
            }
            Action::LabelMap => {
                for (name, value) in labels.clone() {
                    if self.regex.is_match(&name) {
                        let new = self.regex.replace_all(&name, self.replacement.as_str()).into_owned();
                        set(labels, &new, value);
                    }
                }
            }
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, joined: &str, labels: &mut Labels) {
        let Some(groups) = self.regex.captures(joined) else { return };
        let (mut target, mut new) = (String::new(), String::new());
        groups.expand(&self.target, &mut target);
        groups.expand(&self.replacement, &mut new);
        if !target.is_empty() {
            set(labels, &target, new);
        }
    }
}

/// A label with an empty value is removed.
fn set(labels: &mut Labels, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a=1,b=2` through the steps of a TOML array; `-` when they are left out.
    fn check(toml: &str, before: &str, expected: &str) {
        let text = format!(
            "version = 1\n[[scrape_job]]\njob_name = \"x\"\npeers_port = 1\nmetric_relabel_configs = [{toml}]\n"
        );
        let config = vakt_wire::config::parse(&text).unwrap();
        let steps = steps(&config.scrape_jobs[0].metric_relabel_configs).unwrap();
        let pair = |pair: &str| pair.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap();
        let mut labels: Labels = before.split(',').map(pair).collect();
        let kept = apply(&steps, &mut labels);
        let after: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(if kept { after.join(",") } else { "-".into() }, expected, "{toml} on {before}");
    }

    #[test]
    fn every_action_does_what_prometheus_does() {
        let abc = "a=foo,b=bar,c=baz";
        check(
            "{source_labels=['a'], regex='f(.*)', target_label='d', replacement='ch${1}-ch${1}'}",
            abc,
            "a=foo,b=bar,c=baz,d=choo-choo",
        );
        check(
            "{source_labels=['a','b'], regex='f(.*);(.*)r', target_label='a', replacement='b${1}${2}m'}",
            abc,
            "a=boobam,b=bar,c=baz",
        );
        check("{source_labels=['a'], regex='.*o.*', action='drop'}", abc, "-");
        check("{source_labels=['a'], regex='no-match', action='drop'}", abc, abc);
        // Anchored: a part is not enough.
        check("{source_labels=['a'], regex='f|o', action='drop'}", abc, abc);
        check("{source_labels=['a'], regex='.*x', action='keep'}", abc, "-");
        check("{source_labels=['a'], regex='f.*', target_label='b', replacement=''}", abc, "a=foo,c=baz");
        check(
            "{source_labels=['nothing'], target_label='d', replacement='x$1'}",
            abc,
            "a=foo,b=bar,c=baz,d=x",
        );
        check(
            "{source_labels=['a'], regex='some-([^-]+)-([^,]+)', target_label='${1}', replacement='${2}'}",
            "a=some-name-value",
            "a=some-name-value,name=value",
        );
        check(
            "{source_labels=['c'], target_label='d', action='hashmod', modulus=1000}",
            abc,
            "a=foo,b=bar,c=baz,d=976",
        );
        check(
            "{regex='(b.*)', replacement='bar_${1}', action='labelmap'}",
            "a=foo,b1=bar,b2=baz",
            "a=foo,b1=bar,b2=baz,bar_b1=bar,bar_b2=baz",
        );
        check("{regex='(b.*)', action='labeldrop'}", "a=foo,b1=bar,b2=baz", "a=foo");
        check("{regex='(b.*)', action='labelkeep'}", "a=foo,b1=bar,b2=baz", "b1=bar,b2=baz");
        check("{source_labels=['a'], target_label='u', action='uppercase'}", "a=fOo", "a=fOo,u=FOO");
        check("{source_labels=['a'], target_label='u', action='lowercase'}", "a=fOo", "a=fOo,u=foo");
        check("{source_labels=['a'], target_label='p', action='keepequal'}", "a=1,p=1", "a=1,p=1");
        check("{source_labels=['a'], target_label='p', action='keepequal'}", "a=1,p=2", "-");
        check("{source_labels=['a'], target_label='p', action='dropequal'}", "a=1,p=1", "-");
    }

    #[test]
    fn steps_that_cannot_work_are_refused_with_the_reason() {
        let step = Relabel {
            source_labels: Vec::new(),
            separator: ";".into(),
            target_label: String::new(),
            regex: "(".into(),
            modulus: None,
            replacement: "$1".into(),
            action: Action::LabelDrop,
        };
        assert!(
            steps(std::slice::from_ref(&step)).unwrap_err().contains("step 0 of relabelling: regex \"(\"")
        );
        let hashed =
            Relabel { action: Action::HashMod, target_label: "x".into(), regex: "a".into(), ..step.clone() };
        assert!(steps(&[hashed]).unwrap_err().contains("modulus is missing"));
        assert!(steps(&[Relabel { action: Action::Replace, ..step }]).unwrap_err().contains("target_label"));
    }
}

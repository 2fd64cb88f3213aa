//! Rule files: YAML to groups of rules that are known to be sound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::template::Template;
use crate::promql::syntax::{Expr, Kind, duration_ms, kind_of, parse, type_name};
use crate::series::METRIC_NAME;

/// Largest rule file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Files that one pattern may name.
const FILES_MAX: usize = 1_000;

/// Rules of all files together: more than one thread evaluates in a minute.
const RULES_MAX: usize = 10_000;

/// The interval of a group that names none: Prometheus' default.
const INTERVAL_MS: i64 = 60_000;

/// Why the rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A pattern that names no file, or a file that cannot be read.
    #[error("rule file {path}: {reason}")]
    Read {
        /// The file or pattern.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// No YAML, or not of a rule file's form.
    #[error("rule file {path}: {reason}")]
    Form {
        /// The file.
        path: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A group that is wrong.
    #[error("rule file {path}: group {group:?}: {reason}")]
    Group {
        /// The file.
        path: String,
        /// The group's name.
        group: String,
        /// What is wrong.
        reason: String,
    },
    /// A rule that is wrong.
    #[error("rule file {path}: group {group:?}, rule {number} ({rule:?}): {reason}")]
    Rule {
        /// The file.
        path: String,
        /// The group's name.
        group: String,
        /// The rule's number in the group, from 1.
        number: usize,
        /// The rule's name.
        rule: String,
        /// What is wrong.
        reason: String,
    },
}

/// Rules that are evaluated together, in order.
#[derive(Clone, Debug)]
pub struct Group {
    /// The file it is from.
    pub file: String,
    /// Its name, once in a file.
    pub name: String,
    /// Milliseconds between evaluations.
    pub interval_ms: i64,
    /// How much earlier than their time queries look, in milliseconds.
    pub offset_ms: i64,
    /// Series or alerts that one rule may give; 0 for any number.
    pub limit: usize,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The series or the alert that it gives.
    pub name: String,
    /// Its query.
    pub expr: Expr,
    /// Labels that it adds, with those of its group.
    pub labels: Vec<(String, Template)>,
    /// Whether it records or alerts.
    pub kind: RuleKind,
}

/// What a rule is for.
#[derive(Clone, Debug)]
pub enum RuleKind {
    /// Its answer becomes a series.
    Recording,
    /// Its answer becomes alerts.
    Alerting {
        /// How long an alert is pending, in milliseconds.
        for_ms: i64,
        /// How long it fires on after its cause is gone, in milliseconds.
        keep_ms: i64,
        /// Texts for people.
        annotations: Vec<(String, Template)>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    groups: Vec<GroupText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText {
    name: String,
    interval: Option<String>,
    query_offset: Option<String>,
    #[serde(default)]
    limit: usize,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    r#for: Option<String>,
    keep_firing_for: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Reads the rule files that patterns name: a path whose last part may have `*` and `?`.
///
/// # Errors
/// [`RulesError`] of the first thing that is wrong; nothing is taken then.
pub fn load(patterns: &[String]) -> Result<Vec<Group>, RulesError> {
    let mut groups = Vec::new();
    for pattern in patterns {
        for path in files(pattern)? {
            let name = path.display().to_string();
            let fail = |reason: String| RulesError::Read { path: name.clone(), reason };
            let length = std::fs::metadata(&path).map_err(|error| fail(error.to_string()))?.len();
            if length > FILE_BYTES_MAX {
                return Err(fail(format!("has {length} bytes; at most {FILE_BYTES_MAX} are read")));
            }
            let text = std::fs::read_to_string(&path).map_err(|error| fail(error.to_string()))?;
            groups.extend(document(&name, &text)?);
        }
    }
    let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
    if rules > RULES_MAX {
        let reason = format!("{rules} rules are given; at most {RULES_MAX} are evaluated");
        return Err(RulesError::Read { path: patterns.join(", "), reason });
    }
    Ok(groups)
}

fn files(pattern: &str) -> Result<Vec<PathBuf>, RulesError> {
    let fail = |reason: String| RulesError::Read { path: pattern.to_owned(), reason };
    let path = Path::new(pattern);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return Ok(vec![path.to_owned()]);
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let expression = regex::escape(&name).replace(r"\*", ".*").replace(r"\?", ".");
    let wanted = crate::series::anchored(&expression).map_err(fail)?;
    let entries = std::fs::read_dir(folder).map_err(|error| fail(error.to_string()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| fail(error.to_string()))?;
        if wanted.is_match(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
        if found.len() > FILES_MAX {
            return Err(fail(format!("names more than {FILES_MAX} files")));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads one file's text.
fn document(path: &str, text: &str) -> Result<Vec<Group>, RulesError> {
    let document: Document = serde_saphyr::from_str(text)
        .map_err(|error| RulesError::Form { path: path.to_owned(), reason: error.to_string() })?;
    let mut groups: Vec<Group> = Vec::new();
    for group in document.groups {
        let fail =
            |reason: String| RulesError::Group { path: path.into(), group: group.name.clone(), reason };
        if group.name.is_empty() {
            return Err(fail("it has no name".into()));
        }
        if groups.iter().any(|other| other.name == group.name) {
            return Err(fail("the name is there twice in the file".into()));
        }
        let duration = |text: &Option<String>, what: &str, default: i64| match text {
            None => Ok(default),
            Some(text) => duration_ms(text).map_err(|reason| fail(format!("{what}: {reason}"))),
        };
        let interval_ms = match duration(&group.interval, "interval", INTERVAL_MS)? {
            0 => INTERVAL_MS,
            interval => interval,
        };
        let offset_ms = duration(&group.query_offset, "query_offset", 0)?;
        let mut rules = Vec::with_capacity(group.rules.len());
        for (index, text) in group.rules.iter().enumerate() {
            rules.push(rule(text, &group.labels).map_err(|reason| RulesError::Rule {
                path: path.into(),
                group: group.name.clone(),
                number: index + 1,
                rule: text.record.as_ref().or(text.alert.as_ref()).cloned().unwrap_or_default(),
                reason,
            })?);
        }
        let (file, name, limit) = (path.to_owned(), group.name.clone(), group.limit);
        groups.push(Group { file, name, interval_ms, offset_ms, limit, rules });
    }
    Ok(groups)
}

fn rule(text: &RuleText, group_labels: &BTreeMap<String, String>) -> Result<Rule, String> {
    let (name, records) = match (&text.record, &text.alert) {
        (Some(name), None) => (name, true),
        (None, Some(name)) => (name, false),
        (Some(_), Some(_)) => return Err("only one of record and alert may be given".into()),
        (None, None) => return Err("one of record and alert must be given".into()),
    };
    if name.is_empty() {
        return Err("the name is empty".into());
    }
    let expr = parse(&text.expr).map_err(|error| format!("expr: {error}"))?;
    match kind_of(&expr) {
        Kind::Vector | Kind::Scalar => {}
        other => return Err(format!("expr: a {} is neither a vector nor a scalar", type_name(other))),
    }
    if records && (text.r#for.is_some() || text.keep_firing_for.is_some() || !text.annotations.is_empty()) {
        return Err("a recording rule has no for, keep_firing_for or annotations".into());
    }
    let mut all = group_labels.clone();
    all.extend(text.labels.clone());
    let mut labels = Vec::with_capacity(all.len());
    for (label, value) in all {
        if label.is_empty() || label == METRIC_NAME || (!records && label == "alertname") {
            return Err(format!("label {label:?} cannot be set"));
        }
        let template = if records { Ok(Template::plain(&value)) } else { Template::parse(&value) };
        labels.push((label.clone(), template.map_err(|reason| format!("label {label:?}: {reason}"))?));
    }
    let duration = |text: &Option<String>, what: &str| match text {
        None => Ok(0),
        Some(text) => duration_ms(text).map_err(|reason| format!("{what}: {reason}")),
    };
    let annotations = text.annotations.iter().map(|(name, value)| {
        let template = Template::parse(value).map_err(|reason| format!("annotation {name:?}: {reason}"))?;
        Ok((name.clone(), template))
    });
    let kind = if records {
        RuleKind::Recording
    } else {
        RuleKind::Alerting {
            for_ms: duration(&text.r#for, "for")?,
            keep_ms: duration(&text.keep_firing_for, "keep_firing_for")?,
            annotations: annotations.collect::<Result<_, String>>()?,
        }
    };
    Ok(Rule { name: name.clone(), expr, labels, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_file_of_prometheus_is_understood() {
        let text = "groups:\n- name: g\n  interval: 30s\n  limit: 5\n  labels: {team: a}\n  rules:\n  - record: job:up:sum\n    expr: sum by (job) (up)\n  \
            - alert: Down\n    expr: up == 0\n    for: 5m\n    keep_firing_for: 1m\n    labels: {severity: page}\n    annotations:\n      \
            summary: \"{{ $labels.job }} is down\"\n";
        let groups = document("r.yml", text).unwrap();
        assert_eq!((groups[0].interval_ms, groups[0].limit, groups[0].rules.len()), (30_000, 5, 2));
        let labels: Vec<_> = groups[0].rules[1].labels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(labels, ["severity", "team"]);
        assert!(matches!(
            groups[0].rules[1].kind,
            RuleKind::Alerting { for_ms: 300_000, keep_ms: 60_000, .. }
        ));
    }

    #[test]
    fn what_is_wrong_is_told_with_file_group_and_rule() {
        let check = |rules: &str, expected: &str| {
            let text = format!("groups:\n- name: g\n  rules:\n{rules}");
            let said = document("r.yml", &text).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        };
        let rule = "rule file r.yml: group \"g\", rule 1";
        check("  - record: a\n    expr: sum(\n", &format!("{rule} (\"a\"): expr: 1:5: parse error"));
        check("  - expr: up\n", &format!("{rule} (\"\"): one of record and alert"));
        check("  - record: a\n    expr: up[5m]\n", "neither a vector nor a scalar");
        check("  - record: a\n    expr: up\n    for: 1m\n", "a recording rule has no for");
        check("  - alert: a\n    expr: up\n    for: x\n", "for: not a valid duration string");
        check("  - alert: a\n    expr: up\n    annotations: {s: \"{{ $labels. }}\"}\n", "annotation \"s\"");
        check(
            "  - alert: a\n    expr: up\n    labels: {alertname: b}\n",
            "label \"alertname\" cannot be set",
        );
        check("  - alert: a\n    expr: up\n    nonsense: 1\n", "nonsense");
        check("  - record: a\n    expr: up\n- name: g\n", "the name is there twice");
    }
}

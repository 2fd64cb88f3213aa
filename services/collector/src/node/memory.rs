//! `/proc/meminfo` and `/proc/vmstat`. Read here: the metrics' names are the files' own, and new kernels add
//! fields that procfs' structs do not know.

use crate::family::{Family, Kind};
use crate::inputs::{Inputs, SourceError, content};

/// `node_memory_<field>_bytes`, and without `_bytes` for the fields that are plain counts.
///
/// # Errors
/// When the file is missing or a line has no number.
pub fn meminfo(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Vec::with_capacity(64);
    for line in inputs.file("meminfo")?.lines() {
        let mut words = line.split_whitespace();
        let (Some(field), Some(number)) = (words.next(), words.next()) else { continue };
        let number: f64 =
            number.parse().map_err(|_| content("meminfo", format_args!("{line:?} has no number")))?;
        // `Active(anon):` becomes `Active_anon`.
        let field = field.trim_end_matches(':').replace('(', "_").replace(')', "");
        let help = "Memory information field of /proc/meminfo.";
        families.push(match words.next() {
            Some("kB") => Family::gauge(format!("node_memory_{field}_bytes"), help, number * 1024.0),
            _ => Family::gauge(format!("node_memory_{field}"), help, number),
        });
    }
    Ok(families)
}

/// `node_vmstat_<field>` for the fields of node_exporter's default `^(oom_kill|pgpg|pswp|pg.*fault).*`.
///
/// # Errors
/// When the file is missing or a chosen line has no number.
pub fn vmstat(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Vec::with_capacity(8);
    for line in inputs.file("vmstat")?.lines() {
        let Some((field, number)) = line.split_once(' ').filter(|(field, _)| chosen(field)) else { continue };
        let number: f64 =
            number.trim().parse().map_err(|_| content("vmstat", format_args!("{line:?} has no number")))?;
        let family = Family::new(format!("node_vmstat_{field}"), Kind::Unknown, "Field of /proc/vmstat.");
        families.push(family.with(Vec::new(), number));
    }
    Ok(families)
}

fn chosen(field: &str) -> bool {
    ["oom_kill", "pgpg", "pswp"].iter().any(|prefix| field.starts_with(prefix))
        || field.strip_prefix("pg").is_some_and(|rest| rest.contains("fault"))
}

//! Small things that the kernel says of itself: randomness, open files, hung tasks, the scheduler, SELinux; and the
//! system's os-release.

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Files, Inputs, SourceError, content, proc};

/// What entropy reads.
pub const ENTROPY: &[Files] = &[proc(&["sys/kernel/random/entropy_avail", "sys/kernel/random/poolsize"])];

/// `node_entropy_available_bits` and `node_entropy_pool_size_bits`.
///
/// # Errors
/// When a file is missing or has no number.
pub fn entropy(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let available = inputs.number("sys/kernel/random/entropy_avail")?;
    let size = inputs.number("sys/kernel/random/poolsize")?;
    Ok(vec![
        Family::gauge("node_entropy_available_bits", "Bits of available entropy.", available),
        Family::gauge("node_entropy_pool_size_bits", "Bits of entropy pool.", size),
    ])
}

/// What filefd reads.
pub const FILEFD: &[Files] = &[proc(&["sys/fs/file-nr"])];

/// `node_filefd_allocated` and `node_filefd_maximum`.
///
/// # Errors
/// When the file is missing or is not of three numbers.
pub fn filefd(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let text = inputs.file("sys/fs/file-nr")?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[allocated, _, maximum] = numbers.as_slice() else {
        return Err(content("sys/fs/file-nr", format_args!("{text:?} is not of three numbers")));
    };
    Ok(vec![
        Family::gauge("node_filefd_allocated", "File descriptor statistics: allocated.", allocated),
        Family::gauge("node_filefd_maximum", "File descriptor statistics: maximum.", maximum),
    ])
}

/// What kernel_hung reads.
pub const HUNG: &[Files] = &[proc(&["sys/kernel/hung_task_detect_count"])];

/// `node_kernel_hung_tasks_total`.
///
/// # Errors
/// Absent before kernel 6.14.
pub fn kernel_hung(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let count = inputs.number("sys/kernel/hung_task_detect_count");
    let count = count.map_err(|_| SourceError::Absent("a count of hung tasks"))?;
    let help = "Total number of tasks that have been detected as hung since the system booted.";
    Ok(vec![Family::counter("node_kernel_hung_tasks_total", help, count)])
}

/// What schedstat reads.
pub const SCHEDSTAT: &[Files] = &[proc(&["schedstat"])];

/// Numbers on a `cpu` line before running and waiting nanoseconds and time slices
/// (Documentation/scheduler/sched-stats.rst).
const SCHEDSTAT_SKIPPED: usize = 6;

/// `node_schedstat_*` for every CPU.
///
/// # Errors
/// Absent when the kernel was built without it.
pub fn schedstat(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let text = inputs.file("schedstat").map_err(|_| SourceError::Absent("/proc/schedstat"))?;
    let mut families = Families::default();
    for line in text.lines() {
        let Some((cpu, numbers)) = line.strip_prefix("cpu").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let Some(&[running, waiting, slices]) = numbers.get(SCHEDSTAT_SKIPPED..SCHEDSTAT_SKIPPED + 3) else {
            continue;
        };
        let labels = vec![label("cpu", cpu)];
        for (name, help, value) in [
            (
                "node_schedstat_running_seconds_total",
                "Number of seconds CPU spent running a process.",
                running as f64 / 1e9,
            ),
            ("node_schedstat_timeslices_total", "Number of timeslices executed by CPU.", slices as f64),
            (
                "node_schedstat_waiting_seconds_total",
                "Number of seconds spent by processing waiting for this CPU.",
                waiting as f64 / 1e9,
            ),
        ] {
            families.counter(name, help, labels.clone(), value);
        }
    }
    families.or_absent("a CPU in /proc/schedstat")
}

/// What selinux reads.
pub const SELINUX: &[Files] = &[
    Files { folder: "/sys/fs/selinux", names: &["enforce"] },
    Files { folder: "/etc/selinux", names: &["config="] },
];

/// `node_selinux_enabled`, and where it is the two modes: 1 enforcing, 0 permissive, -1 disabled.
///
/// # Errors
/// None.
pub fn selinux(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let enabled = |on| Family::gauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false", on);
    let Ok(current) = inputs.number("/sys/fs/selinux/enforce") else { return Ok(vec![enabled(0.0)]) };
    let config = inputs.files.get_or_empty("/etc/selinux/config");
    let configured = config.lines().find_map(|line| line.trim().strip_prefix("SELINUX="));
    let configured = match configured.map(str::trim) {
        Some("enforcing") => 1.0,
        Some("permissive") => 0.0,
        _ => -1.0,
    };
    Ok(vec![
        Family::gauge("node_selinux_config_mode", "Configured SELinux enforcement mode", configured),
        Family::gauge("node_selinux_current_mode", "Current SELinux enforcement mode", current),
        enabled(1.0),
    ])
}

/// What os reads.
pub const OS: &[Files] = &[
    Files { folder: "/etc", names: &["os-release="] },
    Files { folder: "/usr/lib", names: &["os-release="] },
];

/// Label, key of os-release(5).
const OS_LABELS: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];

/// `node_os_info`, `node_os_version` and, where it is said, `node_os_support_end_timestamp_seconds`.
///
/// # Errors
/// Absent without an os-release.
pub fn os(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| inputs.files.get(path));
    let text = text.ok_or(SourceError::Absent("an os-release"))?;
    let value = |key: &str| {
        let line = text.lines().filter_map(|line| line.trim().split_once('=')).find(|(name, _)| *name == key);
        line.map(|(_, value)| unquoted(value.trim())).unwrap_or_default()
    };
    let labels = OS_LABELS.iter().map(|(name, key)| (*name, value(key))).collect();
    let help = "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, \
                name, pretty_name, variant, variant_id, version, version_codename, version_id.";
    let mut families = vec![Family::new("node_os_info", Kind::Gauge, help).with(labels, 1.0)];
    if let Some(version) = major_minor(&value("VERSION_ID")) {
        let labels = ["ID", "ID_LIKE", "NAME"].map(value);
        let labels = ["id", "id_like", "name"].into_iter().zip(labels).collect();
        let help = "Metric containing the major.minor part of the OS version.";
        families.push(Family::new("node_os_version", Kind::Gauge, help).with(labels, version));
    }
    if let Some(end) = vakt_wire::time::parse_partial(&value("SUPPORT_END")).map(|((from, _), _)| from) {
        let help = "Metric containing the end-of-life date timestamp of the OS.";
        families.push(Family::gauge(
            "node_os_support_end_timestamp_seconds",
            help,
            (end / 1_000_000_000) as f64,
        ));
    }
    Ok(families)
}

/// The number at the start of a version such as `12` or `24.04.1`; none for `rolling` and 0.
fn major_minor(text: &str) -> Option<f64> {
    let mut points = 0;
    let end = text.find(|c: char| {
        points += usize::from(c == '.');
        !(c.is_ascii_digit() || (c == '.' && points == 1))
    });
    text[..end.unwrap_or(text.len())].trim_end_matches('.').parse().ok().filter(|version| *version > 0.0)
}

/// A value as a shell would read it: with or without quotes, and with backslashes in double ones.
fn unquoted(text: &str) -> String {
    if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let (mut out, mut escaped) = (String::with_capacity(inner.len()), false);
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(c);
            escaped = false;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_quotes_are_read_as_a_shell_and_node_exporter_do() {
        assert_eq!(
            [major_minor("12"), major_minor("24.04.1"), major_minor("12.")],
            [Some(12.0), Some(24.04), Some(12.0)]
        );
        assert_eq!([major_minor("rolling"), major_minor(""), major_minor("0")], [None; 3]);
        assert_eq!(unquoted("\"a \\\"b\\\" \\$c\""), "a \"b\" $c");
        assert_eq!([unquoted("'x y'"), unquoted("plain"), unquoted("")], ["x y", "plain", ""]);
    }
}

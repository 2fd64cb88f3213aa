//! cgroup v2: CPU, memory, I/O, processes and pressure of every group, which on a systemd machine is every service.
//!
//! The names are ours: node_exporter has none for this.

use crate::family::{Families, Family, Label, label};
use crate::inputs::{Files, Inputs, SourceError};

/// Groups that are shown at most, in the order of their names: a machine with systemd has some 60.
const GROUPS_MAX: usize = 300;

/// What vakt_cgroup reads: three levels, as in system.slice/system-getty.slice/getty@tty1.service. Where the groups of
/// v1 lie beside, v2 is in `unified`, and only that is read.
pub const GROUPS: &[Files] = &[
    Files { folder: "/sys/fs/cgroup/unified/*", names: NAMES },
    Files { folder: "/sys/fs/cgroup/unified/*/*", names: NAMES },
    Files { folder: "/sys/fs/cgroup/*", names: NAMES },
    Files { folder: "/sys/fs/cgroup/*/*", names: NAMES },
    Files { folder: "/sys/fs/cgroup/*/*/*", names: NAMES },
];

const NAMES: &[&str] = &[
    "cpu.pressure",
    "cpu.stat",
    "io.pressure",
    "io.stat",
    "memory.current",
    "memory.events",
    "memory.pressure",
    "pids.current",
];

/// `vakt_cgroup_*` for every group of version 2, with its path below the root as the label `cgroup`.
///
/// # Errors
/// Absent where cgroup v2 is not mounted or has no groups.
pub fn cgroup(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    const ROOT: &str = "/sys/fs/cgroup/";
    let mut families = Families::default();
    // Version 1 has files of this name too, without this line.
    let groups = inputs
        .files
        .below(ROOT)
        .filter_map(|(path, text)| Some((path.strip_suffix("/cpu.stat")?, text)))
        .filter(|(_, text)| value(text, "usage_usec").is_some());
    for (group, stat) in groups.take(GROUPS_MAX) {
        let name = group.strip_prefix("unified/").unwrap_or(group);
        let labels = || vec![("cgroup", format!("/{name}"))];
        let text = |file: &str| inputs.files.get(&format!("{ROOT}{group}/{file}"));
        cpu(&mut families, stat, &labels);
        memory(&mut families, &text, &labels);
        if let Some(count) = text("pids.current").and_then(|text| text.trim().parse().ok()) {
            families.gauge("vakt_cgroup_processes", "Processes and threads of a cgroup.", labels(), count);
        }
        io(&mut families, text("io.stat").unwrap_or_default(), &labels);
        for resource in ["cpu", "io", "memory"] {
            let text = text(&format!("{resource}.pressure")).unwrap_or_default();
            for (kind, word) in [("waiting", "some"), ("stalled", "full")] {
                let line = text.lines().find(|line| line.split(' ').next() == Some(word));
                let total = line
                    .and_then(|line| line.rsplit_once("total="))
                    .and_then(|(_, micros)| micros.parse::<u64>().ok());
                if let Some(micros) = total {
                    let name = format!("vakt_cgroup_pressure_{resource}_{kind}_seconds_total");
                    let help = "Time in which some (waiting) or all (stalled) processes of a cgroup lacked a resource.";
                    families.counter(name, help, labels(), micros as f64 / 1e6);
                }
            }
        }
    }
    families.or_absent("a cgroup of version 2")
}

fn cpu(families: &mut Families, stat: &str, labels: &dyn Fn() -> Vec<Label>) {
    for (field, mode) in [("user_usec", "user"), ("system_usec", "system")] {
        if let Some(micros) = value(stat, field) {
            let labels = [labels(), vec![label("mode", mode)]].concat();
            families.counter("vakt_cgroup_cpu_seconds_total", "CPU time of a cgroup.", labels, micros / 1e6);
        }
    }
    if let Some(micros) = value(stat, "throttled_usec") {
        let help = "Time in which a cgroup had used up its share of the CPU.";
        families.counter("vakt_cgroup_cpu_throttled_seconds_total", help, labels(), micros / 1e6);
    }
}

fn memory<'a>(
    families: &mut Families,
    text: &dyn Fn(&str) -> Option<&'a str>,
    labels: &dyn Fn() -> Vec<Label>,
) {
    if let Some(bytes) = text("memory.current").and_then(|text| text.trim().parse().ok()) {
        families.gauge(
            "vakt_cgroup_memory_bytes",
            "Memory of a cgroup, page cache included.",
            labels(),
            bytes,
        );
    }
    if let Some(count) = text("memory.events").and_then(|text| value(text, "oom_kill")) {
        families.counter(
            "vakt_cgroup_oom_kills_total",
            "Processes of a cgroup killed for memory.",
            labels(),
            count,
        );
    }
}

/// `254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`, one disk a line; summed over them.
fn io(families: &mut Families, text: &str, labels: &dyn Fn() -> Vec<Label>) {
    for (field, name, help) in [
        ("rbytes=", "vakt_cgroup_read_bytes_total", "Bytes that a cgroup read from disks."),
        ("wbytes=", "vakt_cgroup_written_bytes_total", "Bytes that a cgroup wrote to disks."),
    ] {
        let numbers =
            text.split_whitespace().filter_map(|word| word.strip_prefix(field)?.parse::<u64>().ok());
        if let Some(sum) = numbers.map(|number| number as f64).reduce(|a, b| a + b) {
            families.counter(name, help, labels(), sum);
        }
    }
}

/// The number behind a word at the start of a line.
fn value(text: &str, field: &str) -> Option<f64> {
    let numbers = text.lines().filter_map(|line| line.split_once(' '));
    numbers.into_iter().find(|(name, _)| *name == field).and_then(|(_, number)| number.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_version_two_are_shown_with_their_path_and_those_of_version_one_are_not() {
        let mut inputs = Inputs::default();
        for (path, text) in [
            (
                "/sys/fs/cgroup/system.slice/ssh.service/cpu.stat",
                "usage_usec 3000000\nuser_usec 1000000\nsystem_usec 2000000\n",
            ),
            ("/sys/fs/cgroup/system.slice/ssh.service/memory.current", "4096\n"),
            ("/sys/fs/cgroup/system.slice/ssh.service/memory.events", "low 0\noom 1\noom_kill 2\n"),
            (
                "/sys/fs/cgroup/system.slice/ssh.service/io.stat",
                "254:0 rbytes=1 wbytes=2 rios=3\n254:16 rbytes=10 wbytes=20\n",
            ),
            (
                "/sys/fs/cgroup/system.slice/ssh.service/io.pressure",
                "some avg10=0.00 total=500000\nfull avg10=0.00 total=250000\n",
            ),
            ("/sys/fs/cgroup/unified/x/cpu.stat", "usage_usec 1\nuser_usec 0\n"),
            ("/sys/fs/cgroup/cpu/old/cpu.stat", "nr_periods 0\n"),
        ] {
            inputs.files.insert(path, text);
        }
        let families = cgroup(&inputs).unwrap();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name == name).unwrap();
            (family.rows[0].labels[0].1.clone(), family.rows[0].value)
        };
        let ssh = |value: f64| ("/system.slice/ssh.service".to_owned(), value);
        assert_eq!(value("vakt_cgroup_cpu_seconds_total"), ssh(1.0));
        assert_eq!(value("vakt_cgroup_memory_bytes"), ssh(4096.0));
        assert_eq!(value("vakt_cgroup_oom_kills_total"), ssh(2.0));
        assert_eq!(value("vakt_cgroup_written_bytes_total"), ssh(22.0));
        assert_eq!(value("vakt_cgroup_pressure_io_stalled_seconds_total"), ssh(0.25));
        let all: Vec<_> =
            families.iter().flat_map(|family| &family.rows).map(|row| row.labels[0].1.as_str()).collect();
        assert!(all.contains(&"/x") && !all.iter().any(|name| name.contains("old")), "{all:?}");
    }
}

//! CPUs: which are on-line, throttled or isolated, their frequencies; and memory errors that were corrected.

use std::collections::BTreeMap;

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Device, Files, Inputs, SourceError};

const CPUS: &str = "/sys/devices/system/cpu/";

/// What the cpu source reads besides /proc/stat.
pub const TOPOLOGY: Files = Files {
    folder: "/sys/devices/system/cpu/cpu*",
    names: &[
        "online",
        "topology/core_id=",
        "topology/physical_package_id=",
        "thermal_throttle/core_throttle_count",
        "thermal_throttle/package_throttle_count",
    ],
};

/// The list of isolated CPUs.
pub const ISOLATED: Files = Files { folder: "/sys/devices/system/cpu", names: &["isolated="] };

/// `node_cpu_isolated`, `node_cpu_online` and the two of throttles, as far as the machine has them.
pub fn states(inputs: &Inputs) -> Vec<Family> {
    let mut families = Families::default();
    let isolated = inputs.files.get_or_empty("/sys/devices/system/cpu/isolated");
    for cpu in listed(isolated) {
        let help = "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.";
        families.gauge("node_cpu_isolated", help, vec![label("cpu", &cpu.to_string())], 1.0);
    }
    let cpus = inputs.devices(CPUS, "cpu");
    let cpus: Vec<(&str, &Device)> =
        cpus.iter().map(|cpu| (&cpu.name["cpu".len()..], cpu)).filter(|(number, _)| digits(number)).collect();
    // A kernel that cannot take CPUs off-line does not say that they are on.
    if cpus.iter().any(|(number, cpu)| *number == "0" && cpu.text("online").is_some()) {
        for (number, cpu) in &cpus {
            let online = cpu.number("online").unwrap_or_default();
            let help = "CPUs that are online and being scheduled.";
            families.gauge("node_cpu_online", help, vec![label("cpu", number)], online);
        }
    }
    let (mut packages, mut cores) = (BTreeMap::new(), BTreeMap::new());
    for (_, cpu) in &cpus {
        let place = (cpu.text("topology/physical_package_id"), cpu.text("topology/core_id"));
        let (Some(package), Some(core)) = place else { continue };
        if let Some(count) = cpu.number("thermal_throttle/core_throttle_count") {
            cores.entry((package, core)).or_insert(count);
        }
        if let Some(count) = cpu.number("thermal_throttle/package_throttle_count") {
            packages.entry(package).or_insert(count);
        }
    }
    for ((package, core), count) in cores {
        let labels = vec![label("core", core), label("package", package)];
        let help = "Number of times this CPU core has been throttled.";
        families.counter("node_cpu_core_throttles_total", help, labels, count);
    }
    for (package, count) in packages {
        let help = "Number of times this CPU package has been throttled.";
        families.counter("node_cpu_package_throttles_total", help, vec![label("package", package)], count);
    }
    families.done()
}

/// CPUs of one list at most, as the kernel bounds them on the architectures that we know (CONFIG_NR_CPUS).
const CPUS_MAX: u32 = 8192;

/// The numbers in a list such as `1,4-6`.
fn listed(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(first..=last.min(CPUS_MAX))
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What cpufreq reads.
pub const FREQUENCIES: &[Files] = &[Files {
    folder: "/sys/devices/system/cpu/cpu*/cpufreq",
    names: &[
        "cpuinfo_avg_freq",
        "cpuinfo_cur_freq",
        "cpuinfo_max_freq=",
        "cpuinfo_min_freq=",
        "scaling_available_governors=",
        "scaling_cur_freq",
        "scaling_governor",
        "scaling_max_freq",
        "scaling_min_freq",
    ],
}];

/// Metric, file (kHz), help.
const FREQUENCY: [(&str, &str, &str); 7] = [
    ("node_cpu_frequency_avg_hertz", "cpuinfo_avg_freq", "Average CPU thread frequency in hertz."),
    ("node_cpu_frequency_hertz", "cpuinfo_cur_freq", "Current CPU thread frequency in hertz."),
    ("node_cpu_frequency_max_hertz", "cpuinfo_max_freq", "Maximum CPU thread frequency in hertz."),
    ("node_cpu_frequency_min_hertz", "cpuinfo_min_freq", "Minimum CPU thread frequency in hertz."),
    ("node_cpu_scaling_frequency_hertz", "scaling_cur_freq", "Current scaled CPU thread frequency in hertz."),
    (
        "node_cpu_scaling_frequency_max_hertz",
        "scaling_max_freq",
        "Maximum scaled CPU thread frequency in hertz.",
    ),
    (
        "node_cpu_scaling_frequency_min_hertz",
        "scaling_min_freq",
        "Minimum scaled CPU thread frequency in hertz.",
    ),
];

/// `node_cpu_frequency_*` and `node_cpu_scaling_*`. Without cpufreq there are none, and node_exporter counts that as a
/// success.
///
/// # Errors
/// None.
pub fn cpufreq(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    let cpus = inputs.devices(CPUS, "cpu");
    for cpu in &cpus {
        let number = &cpu.name["cpu".len()..];
        for (name, file, help) in FREQUENCY {
            if let Some(khz) = cpu.number(&format!("cpufreq/{file}")) {
                families.gauge(name, help, vec![label("cpu", number)], khz * 1000.0);
            }
        }
        let Some(governor) = cpu.text("cpufreq/scaling_governor").filter(|name| !name.is_empty()) else {
            continue;
        };
        for name in cpu.text("cpufreq/scaling_available_governors").unwrap_or_default().split(' ') {
            let labels = vec![label("cpu", number), label("governor", name)];
            let help = "Current enabled CPU frequency governor.";
            families.gauge("node_cpu_scaling_governor", help, labels, f64::from(u8::from(name == governor)));
        }
    }
    Ok(families.done())
}

/// What edac reads.
pub const EDAC: &[Files] = &[Files {
    folder: "/sys/devices/system/edac/mc/mc*",
    names: &[
        "ce_count",
        "ce_noinfo_count",
        "ue_count",
        "ue_noinfo_count",
        "csrow*/ce_count",
        "csrow*/ue_count",
        "csrow*/ch*",
    ],
}];

/// Metric, file, help: of a controller, of a row of chips, of a channel.
const ERRORS: [(&str, &str, &str); 2] =
    [("correctable", "ce", "ce_noinfo_count"), ("uncorrectable", "ue", "ue_noinfo_count")];

/// `node_edac_*`. Without memory controllers there are none, and that is a success.
///
/// # Errors
/// None.
pub fn edac(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for controller in inputs.devices("/sys/devices/system/edac/mc/", "mc") {
        let number = label("controller", &controller.name["mc".len()..]);
        for (kind, short, no_row) in ERRORS {
            let mut add = |part: &str, more: Vec<crate::family::Label>, count: Option<f64>| {
                let labels = [vec![number.clone()], more].concat();
                let name = format!("node_edac_{part}{kind}_errors_total");
                if let Some(count) = count {
                    families.add(name, Kind::Counter, "Memory errors.", labels, count);
                }
            };
            let file = format!("{short}_count");
            add("", Vec::new(), controller.number(&file));
            add("csrow_", vec![label("csrow", "unknown")], controller.number(no_row));
            for row in controller.parts("csrow") {
                let csrow = label("csrow", &row.name["csrow".len()..]);
                add("csrow_", vec![csrow.clone()], row.number(&file));
                for (name, _) in row.files() {
                    let ending = format!("_{file}");
                    let Some(channel) = name.strip_prefix("ch").and_then(|rest| rest.strip_suffix(&ending))
                    else {
                        continue;
                    };
                    let dimm =
                        row.text(&format!("ch{channel}_dimm_label")).map_or("unknown".into(), dimm_label);
                    let labels = vec![csrow.clone(), label("channel", channel), ("dimm_label", dimm)];
                    add("channel_", labels, row.number(name));
                }
            }
        }
    }
    Ok(families.done())
}

/// node_exporter's form of a DIMM's label: without `#`, an underscore before each part.
fn dimm_label(text: &str) -> String {
    text.replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel")
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn lists_of_cpus_are_numbers_and_ranges_and_noise_is_none() {
        assert_eq!(listed("1,4-6\n"), [1, 4, 5, 6]);
        assert_eq!(listed("\n"), [0; 0]);
        assert_eq!(listed("x,2-,3"), [3]);
        assert!(listed("0-4294967295").len() <= 8193);
    }
}

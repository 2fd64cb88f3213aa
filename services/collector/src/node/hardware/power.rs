//! Power: batteries and supplies, and what the processor's counters say was used.

use std::collections::BTreeMap;

use crate::family::{Families, Family, Kind, Label, label};
use crate::inputs::{Files, Inputs, SourceError};

/// What powersupplyclass reads.
pub const SUPPLIES: &[Files] = &[Files { folder: "/sys/class/power_supply/*", names: &["*"] }];

/// Files whose numbers are taken as they are, with the metric's name where it differs.
const PLAIN: [(&str, &str); 10] = [
    ("authentic", "authentic"),
    ("calibrate", "calibrate"),
    ("capacity", "capacity"),
    ("capacity_alert_max", "capacity_alert_max"),
    ("capacity_alert_min", "capacity_alert_min"),
    ("cycle_count", "cyclecount"),
    ("online", "online"),
    ("present", "present"),
    ("time_to_empty_now", "time_to_empty_seconds"),
    ("time_to_full_now", "time_to_full_seconds"),
];

/// Files in micro-units (Documentation/ABI/testing/sysfs-class-power).
const MICRO: [(&str, &str); 31] = [
    ("charge_control_limit", "charge_control_limit"),
    ("charge_control_limit_max", "charge_control_limit_max"),
    ("charge_counter", "charge_counter"),
    ("charge_empty", "charge_empty"),
    ("charge_empty_design", "charge_empty_design"),
    ("charge_full", "charge_full"),
    ("charge_full_design", "charge_full_design"),
    ("charge_now", "charge_ampere"),
    ("charge_term_current", "charge_term_current"),
    ("constant_charge_current", "constant_charge_current"),
    ("constant_charge_current_max", "constant_charge_current_max"),
    ("constant_charge_voltage", "constant_charge_voltage"),
    ("constant_charge_voltage_max", "constant_charge_voltage_max"),
    ("current_boot", "current_boot"),
    ("current_max", "current_max"),
    ("current_now", "current_ampere"),
    ("energy_empty", "energy_empty"),
    ("energy_empty_design", "energy_empty_design"),
    ("energy_full", "energy_full"),
    ("energy_full_design", "energy_full_design"),
    ("energy_now", "energy_watthour"),
    ("input_current_limit", "input_current_limit"),
    ("power_now", "power_watt"),
    ("precharge_current", "precharge_current"),
    ("voltage_boot", "voltage_boot"),
    ("voltage_max", "voltage_max"),
    ("voltage_max_design", "voltage_max_design"),
    ("voltage_min", "voltage_min"),
    ("voltage_min_design", "voltage_min_design"),
    ("voltage_now", "voltage_volt"),
    ("voltage_ocv", "voltage_ocv"),
];

/// Files in tenths of a degree; the metric has `_celsius` besides.
const TENTHS: [&str; 8] = [
    "temp",
    "temp_alert_max",
    "temp_alert_min",
    "temp_ambient",
    "temp_ambient_max",
    "temp_ambient_min",
    "temp_max",
    "temp_min",
];

/// Files that are labels of `node_power_supply_info`.
const LABELS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

/// `node_power_supply_*`. Without supplies there are none, and that is a success.
///
/// # Errors
/// None.
pub fn powersupplyclass(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    let help = "Value of a file in /sys/class/power_supply/<power_supply>.";
    for supply in inputs.devices("/sys/class/power_supply/", "") {
        let name = label("power_supply", supply.name);
        let mut add = |metric: &str, value: Option<f64>| {
            if let Some(value) = value {
                families.gauge(format!("node_power_supply_{metric}"), help, vec![name.clone()], value);
            }
        };
        for (file, metric) in PLAIN {
            add(metric, supply.number(file));
        }
        for (file, metric) in MICRO {
            add(metric, supply.number(file).map(|value| value / 1e6));
        }
        for file in TENTHS {
            add(&format!("{file}_celsius"), supply.number(file).map(|value| value / 10.0));
        }
        let text = |file: &&'static str| supply.text(file).map(|text| label(file, text));
        let mut labels: Vec<Label> = LABELS.iter().filter_map(text).collect();
        labels.push(name);
        families.gauge(
            "node_power_supply_info",
            "info of /sys/class/power_supply/<power_supply>.",
            labels,
            1.0,
        );
    }
    Ok(families.done())
}

/// What rapl reads. Since 5.10 the counters are for root alone.
pub const RAPL: &[Files] = &[Files { folder: "/sys/class/powercap/*", names: &["name=", "energy_uj"] }];

/// `node_rapl_<zone>_joules_total`.
///
/// # Errors
/// Absent where the processor does not count or the counters may not be read.
pub fn rapl(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let (mut families, mut seen) = (Families::default(), BTreeMap::new());
    for zone in inputs.devices("/sys/class/powercap/", "") {
        let Some(name) = zone.text("name") else { continue };
        let (stem, index) = indexed(name, &seen);
        seen.insert(stem.to_owned(), index + 1);
        let Some(energy) = zone.number("energy_uj") else { continue };
        let clean: String =
            stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect();
        let path = format!("/sys/class/powercap/{}", zone.name);
        let labels = vec![("index", index.to_string()), ("path", path)];
        let help = "Current RAPL value in joules";
        families.add(format!("node_rapl_{clean}_joules_total"), Kind::Counter, help, labels, energy / 1e6);
    }
    families.or_absent("RAPL")
}

/// `package-3` is number 3 of `package`; a name without a number is told from others of its kind by counting.
fn indexed<'a>(name: &'a str, seen: &BTreeMap<String, u32>) -> (&'a str, u32) {
    match name.rsplit_once('-').and_then(|(stem, number)| Some((stem, number.parse().ok()?))) {
        Some(found) => found,
        None => (name, seen.get(name).copied().unwrap_or_default()),
    }
}

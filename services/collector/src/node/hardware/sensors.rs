//! Temperatures, fans, voltages: hwmon chips, and the thermal zones with what cools them.

use std::collections::BTreeMap;

use crate::family::{Families, Family, Kind, Label, label};
use crate::inputs::{Device, Files, Inputs, SourceError};

/// What thermal_zone reads.
pub const ZONES: &[Files] = &[
    Files { folder: "/sys/class/thermal/thermal_zone*", names: &["temp", "type="] },
    Files { folder: "/sys/class/thermal/cooling_device*", names: &["cur_state", "max_state=", "type="] },
];

/// `node_thermal_zone_temp` and `node_cooling_device_*`. Without either there are none, and that is a success.
///
/// # Errors
/// None.
pub fn thermal_zone(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for device in inputs.devices("/sys/class/thermal/", "cooling_device") {
        let kind = label("type", device.text("type").unwrap_or_default());
        let labels = vec![label("name", &device.name["cooling_device".len()..]), kind];
        let (Some(now), Some(most)) = (device.number("cur_state"), device.number("max_state")) else {
            continue;
        };
        let help = "Current throttle state of the cooling device";
        families.gauge("node_cooling_device_cur_state", help, labels.clone(), now);
        let help = "Maximum throttle state of the cooling device";
        families.gauge("node_cooling_device_max_state", help, labels, most);
    }
    for zone in inputs.devices("/sys/class/thermal/", "thermal_zone") {
        let Some(temperature) = zone.number("temp") else { continue };
        let kind = label("type", zone.text("type").unwrap_or_default());
        let labels = vec![kind, label("zone", &zone.name["thermal_zone".len()..])];
        let help = "Zone temperature in Celsius";
        families.gauge("node_thermal_zone_temp", help, labels, temperature / 1000.0);
    }
    Ok(families.done())
}

/// What hwmon reads: every sensor's files, here and where the device has them.
pub const CHIPS: &[Files] = &[
    Files { folder: "/sys/class/hwmon/hwmon*", names: &["name=", "device@"] },
    Files { folder: "/sys/class/hwmon/hwmon*", names: SENSOR_FILES },
    Files { folder: "/sys/class/hwmon/hwmon*/device", names: SENSOR_FILES },
];

const SENSOR_FILES: &[&str] = &[
    "vrm*",
    "beep_enable*",
    "update_interval*",
    "in*",
    "cpu*",
    "fan*",
    "pwm*",
    "temp*",
    "curr*",
    "power*",
    "energy*",
    "humidity*",
    "freq*",
];

/// Kinds of sensors (Documentation/hwmon/sysfs-interface.rst).
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

/// `node_hwmon_*`.
///
/// # Errors
/// Absent without a chip.
pub fn hwmon(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let devices = inputs.devices("/sys/class/hwmon/", "hwmon");
    let bases: Vec<String> = devices.iter().map(base_name).collect();
    let names: Vec<&str> = devices.iter().map(|device| device.text("name").unwrap_or_default()).collect();
    let mut families = Families::default();
    for (at, device) in devices.iter().enumerate() {
        let twins: Vec<usize> = (0..bases.len()).filter(|other| bases[*other] == bases[at]).collect();
        let mut chip = bases[at].clone();
        if twins.len() > 1 {
            let alike = twins.iter().filter(|other| names[**other] == names[at]).count();
            let name = clean(names[at]);
            let ending = if name.is_empty() || alike > 1 { clean(device.name) } else { name };
            chip = format!("{chip}_{ending}");
        }
        let readable = clean(names[at]);
        if !readable.is_empty() {
            let labels = vec![label("chip", &chip), ("chip_name", readable)];
            let help = "Annotation metric for human-readable chip names";
            families.gauge("node_hwmon_chip_names", help, labels, 1.0);
        }
        for (sensor, values) in sensors(device) {
            add_sensor(&mut families, &chip, &sensor, &values);
        }
    }
    families.or_absent("a hwmon chip")
}

/// A name that stays the same over boots: the device's bus and name, else the chip's name, else its number.
fn base_name(device: &Device) -> String {
    if let Some(path) = device.text("device@") {
        let mut parts = path.rsplit('/');
        let (name, bus) = (clean(parts.next().unwrap_or_default()), clean(parts.next().unwrap_or_default()));
        match (bus.is_empty(), name.is_empty()) {
            (false, false) => return format!("{bus}_{name}"),
            (true, false) => return name,
            _ => {}
        }
    }
    let name = clean(device.text("name").unwrap_or_default());
    if name.is_empty() { clean(device.name) } else { name }
}

/// Lower case; what is no letter or digit becomes `_`, and none of those at the ends.
fn clean(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' };
    text.to_lowercase().chars().map(keep).collect::<String>().trim_matches('_').to_owned()
}

type Values<'a> = BTreeMap<&'a str, &'a str>;

/// Sensors such as `temp1` with their values by property; `` for a file without one.
fn sensors<'a>(device: &Device<'a>) -> BTreeMap<String, Values<'a>> {
    let mut found: BTreeMap<String, Values> = BTreeMap::new();
    for (path, text) in device.files() {
        let file = path.strip_prefix("device/").unwrap_or(path);
        let Some((kind, number, property)) = split(file) else { continue };
        found.entry(format!("{kind}{number}")).or_default().insert(property, text);
    }
    found
}

/// `temp1_max_hyst` is kind `temp`, number 1, property `max_hyst`. The first digit ends the kind, so that
/// `update_interval`, which has none, is a kind as a whole.
fn split(file: &str) -> Option<(&str, u32, &str)> {
    let start = file.find(|c: char| c.is_ascii_digit()).unwrap_or(file.len());
    let (kind, rest) = file.split_at(start);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    let number = if number.is_empty() { 0 } else { number.parse().ok()? };
    let property =
        if rest.is_empty() { "" } else { rest.strip_prefix('_').filter(|name| !name.is_empty())? };
    KINDS.contains(&kind).then_some((kind, number, property))
}

fn add_sensor(families: &mut Families, chip: &str, sensor: &str, values: &Values) {
    let labels = || vec![label("chip", chip), label("sensor", sensor)];
    let kind = sensor.trim_end_matches(|c: char| c.is_ascii_digit());
    if let Some(text) = values.get("label") {
        let with = vec![label("chip", chip), label("label", text), label("sensor", sensor)];
        families.gauge("node_hwmon_sensor_label", "Label for given chip and sensor", with, 1.0);
    }
    let plain = values.get("").copied();
    let number = plain.and_then(|text| text.parse::<f64>().ok());
    let alone = match kind {
        "beep_enable" => Some(("node_hwmon_beep_enabled", Some(f64::from(u8::from(plain == Some("1")))))),
        "vrm" => Some(("node_hwmon_voltage_regulator_version", number)),
        "update_interval" => Some(("node_hwmon_update_interval_seconds", number.map(|ms| ms * 0.001))),
        _ => None,
    };
    if let Some((name, value)) = alone {
        if let Some(value) = value {
            families.gauge(name, "Hardware monitor.", labels(), value);
        }
        return;
    }
    for (property, text) in values.iter().filter(|(property, _)| **property != "label") {
        let Ok(value) = text.parse::<f64>() else { continue };
        let mut name = format!("node_hwmon_{kind}");
        match *property {
            "input" if plain.is_some() => name.push_str("_input"),
            "input" | "" => {}
            other => name = format!("{name}_{}", clean(other)),
        }
        if kind == "freq" && *property == "input" {
            if let Some(text) = values.get("label") {
                let with: Vec<Label> = vec![label("chip", chip), ("sensor", clean(text))];
                families.gauge(format!("{name}_freq_mhz"), "Hardware monitor.", with, value / 1e6);
            }
            continue;
        }
        let (unit, value, of) = unit(kind, property, value);
        name.push_str(unit);
        families.add(name, of, "Hardware monitor.", labels(), value);
    }
}

/// The end of the metric's name, the value in that unit, the kind.
fn unit(kind: &str, property: &str, value: f64) -> (&'static str, f64, Kind) {
    let gauge = |unit, value| (unit, value, Kind::Gauge);
    match (kind, property) {
        (_, "fault" | "alarm") => gauge("", value),
        (_, "beep") => gauge("_enabled", value),
        ("in" | "cpu", _) => gauge("_volts", value * 0.001),
        ("temp", "type") => gauge("", value),
        ("temp", _) => gauge("_celsius", value * 0.001),
        ("curr", _) => gauge("_amps", value * 0.001),
        ("energy", _) => ("_joule_total", value / 1e6, Kind::Counter),
        ("power", "accuracy") | ("humidity", _) => gauge("", value / 1e6),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            gauge("_seconds", value * 0.001)
        }
        ("power", _) => gauge("_watt", value / 1e6),
        ("fan", "input" | "min" | "max" | "target") => gauge("_rpm", value),
        _ => gauge("", value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_split_into_kind_number_and_property() {
        assert_eq!(split("temp1_max_hyst"), Some(("temp", 1, "max_hyst")));
        assert_eq!(split("pwm2"), Some(("pwm", 2, "")));
        assert_eq!(split("update_interval"), Some(("update_interval", 0, "")));
        for other in ["name", "power", "temp1_", "temp99999999999_input", "uevent", "intrusion", ""] {
            assert!(split(other).is_none_or(|(kind, ..)| kind == other), "{other}");
        }
        assert_eq!([clean("AMD-Vi (x)"), clean("coretemp"), clean("--")], ["amd_vi__x", "coretemp", ""]);
    }
}

//! bcachefs: compression, errors, counters and devices of each mounted file system.

use crate::family::{Families, Family, Kind, Label, label};
use crate::inputs::{Device, Files, Inputs, SourceError};

/// What bcachefs reads.
pub const VOLUMES: &[Files] = &[Files {
    folder: "/sys/fs/bcachefs/*",
    names: &[
        "btree_cache_size",
        "btree_write_stats",
        "compression_stats",
        "counters/*",
        "dev-*/bucket_size",
        "dev-*/durability",
        "dev-*/io_done",
        "dev-*/io_errors",
        "dev-*/label",
        "dev-*/nbuckets",
        "dev-*/state",
        "errors",
    ],
}];

/// `node_bcachefs_*`.
///
/// # Errors
/// Absent without such a file system.
pub fn bcachefs(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for volume in inputs.devices("/sys/fs/bcachefs/", "") {
        let uuid = label("uuid", volume.name);
        let mut told = Told { families: &mut families, uuid };
        told.gauge("info", "Filesystem information.", &[], 1.0);
        let size = volume.text("btree_cache_size").and_then(human).unwrap_or_default();
        told.gauge("btree_cache_size_bytes", "Btree cache memory usage in bytes.", &[], size);
        tables(&mut told, &volume);
        for (name, text) in volume.files() {
            let Some(name) = name.strip_prefix("counters/") else { continue };
            let line = text.lines().find_map(|line| line.strip_prefix("since filesystem creation:"));
            if let Some(count) = line.and_then(human) {
                let help = "Counter of bcachefs since the filesystem's creation.";
                told.count(&format!("{}_total", clean(name)), help, &[], count);
            }
        }
        for device in volume.parts("dev-") {
            add_device(&mut told, &device);
        }
    }
    families.or_absent("bcachefs")
}

/// A file system's metrics.
struct Told<'a> {
    families: &'a mut Families,
    uuid: Label,
}

impl Told<'_> {
    fn add(&mut self, name: &str, kind: Kind, help: &'static str, labels: &[Label], value: f64) {
        let labels = [labels, std::slice::from_ref(&self.uuid)].concat();
        self.families.add(format!("node_bcachefs_{name}"), kind, help, labels, value);
    }

    fn gauge(&mut self, name: &str, help: &'static str, labels: &[Label], value: f64) {
        self.add(name, Kind::Gauge, help, labels, value);
    }

    fn count(&mut self, name: &str, help: &'static str, labels: &[Label], value: f64) {
        self.add(name, Kind::Counter, help, labels, value);
    }
}

/// Files of several lines: compression, errors, writes. The first line of two of them is a heading.
fn tables(told: &mut Told, volume: &Device) {
    let lines = |file: &str, skipped: usize| {
        let lines = volume.text(file).unwrap_or_default().lines().skip(skipped);
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    for words in lines("compression_stats", 1) {
        let [name, compressed, uncompressed, ..] = words.as_slice() else { continue };
        let labels = [label("algorithm", name.trim_end_matches(':'))];
        for (metric, help, text) in [
            ("compression_compressed_bytes", "Compressed size by algorithm.", compressed),
            ("compression_uncompressed_bytes", "Uncompressed size by algorithm.", uncompressed),
        ] {
            told.gauge(metric, help, &labels, human(text).unwrap_or_default());
        }
    }
    for words in lines("errors", 0) {
        let (Some(name), Some(count)) = (words.first(), words.get(1).and_then(|word| word.parse().ok()))
        else {
            continue;
        };
        told.count("errors_total", "Error count by error type.", &[label("error_type", name)], count);
    }
    for words in lines("btree_write_stats", 1) {
        let [name, count, size, ..] = words.as_slice() else { continue };
        let labels = [label("type", name.trim_end_matches(':'))];
        let help = "Number of btree writes by type.";
        told.count("btree_writes_total", help, &labels, count.parse().unwrap_or_default());
        let help = "Average btree write size by type.";
        told.gauge("btree_write_average_size_bytes", help, &labels, human(size).unwrap_or_default());
    }
}

fn add_device(told: &mut Told, device: &Device) {
    let of = label("device", &device.name["dev-".len()..]);
    let text = |file: &str| device.text(file).unwrap_or_default();
    let labels = [of.clone(), label("label", text("label")), label("state", text("state"))];
    told.gauge("device_info", "Device information.", &labels, 1.0);
    let of = std::slice::from_ref(&of);
    let size = human(text("bucket_size")).unwrap_or_default();
    told.gauge("device_bucket_size_bytes", "Bucket size in bytes.", of, size);
    let number = |file: &str| device.number(file).unwrap_or_default();
    told.gauge("device_buckets", "Total number of buckets.", of, number("nbuckets"));
    told.gauge("device_durability", "Device durability setting.", of, number("durability"));
    let mut operation = "";
    for line in text("io_done").lines().map(str::trim) {
        if let Some(name) = line.strip_suffix(':') {
            operation = name;
        } else if let Some((kind, bytes)) = line.split_once(':').filter(|_| !operation.is_empty()) {
            let Ok(bytes) = bytes.trim().parse() else { continue };
            let labels = [of, &[label("data_type", kind.trim()), label("operation", operation)]].concat();
            let help = "IO bytes by operation type and data type.";
            told.count("device_io_done_bytes_total", help, &labels, bytes);
        }
    }
    // What follows is since a moment that somebody chose.
    let mut lines = text("io_errors").lines();
    if lines.any(|line| line.starts_with("IO errors since filesystem creation")) {
        for line in lines.take_while(|line| !line.starts_with("IO errors since ")) {
            let Some((kind, count)) = line.split_once(':') else { continue };
            let Ok(count) = count.trim().parse() else { continue };
            let labels = [of, &[label("type", kind.trim())]].concat();
            told.count("device_io_errors_total", "IO errors by error type.", &labels, count);
        }
    }
}

/// A number as bcachefs writes it for people, in powers of 1024. Truncated to whole units.
fn human(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit = text.chars().next_back().map(|unit| unit.to_ascii_uppercase());
    let power = unit.and_then(|unit| "KMGTPE".find(unit)).map_or(0, |at| at as i32 + 1);
    let digits = if power > 0 { &text[..text.len() - 1] } else { text };
    let value = digits.trim().parse::<f64>().ok()? * 1024_f64.powi(power);
    Some(value.trunc()).filter(|value| value.is_finite())
}

/// A name that a metric may have.
fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn numbers_for_people_are_read_in_powers_of_1024() {
        assert_eq!(
            [human("512"), human("1.5k\n"), human(" 2M")],
            [Some(512.0), Some(1536.0), Some(2_097_152.0)]
        );
        assert_eq!([human(""), human("k"), human("x"), human("inf")], [None; 4]);
    }
}

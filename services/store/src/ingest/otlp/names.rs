//! OTLP's names as Prometheus writes them (its specification "OTLP Metric points to Prometheus").

/// What a metric is, as far as its name depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    /// A sum that only grows.
    Counter,
    /// A sum that may fall.
    Sum,
    Histogram,
    Summary,
}

impl Kind {
    /// Prometheus' word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Gauge | Kind::Sum => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// UCUM's units that have another name in Prometheus.
const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// The same behind a slash.
const PER: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// The name of a metric: its own in words of letters, digits and colons, then its unit, then `total` or `ratio`. `None`
/// when nothing is left of it.
pub(super) fn metric(name: &str, unit: &str, kind: Kind) -> Option<String> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut words: Vec<&str> = name.split(|c| !valid(c)).filter(|word| !word.is_empty()).collect();
    let (main, per) = units(unit);
    for suffix in [main.as_str(), per.as_str()] {
        if !suffix.is_empty() && !words.contains(&suffix) {
            words.push(suffix);
        }
    }
    let last = match kind {
        Kind::Counter => Some("total"),
        Kind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        words.retain(|word| *word != last);
        words.push(last);
    }
    let name = words.join("_");
    match name.chars().next() {
        None => None,
        Some(first) if first.is_ascii_digit() => Some(format!("_{name}")),
        Some(_) => Some(name),
    }
}

/// The unit in Prometheus' words, such as `bytes_per_second`.
pub(super) fn unit(unit: &str) -> String {
    let (main, per) = units(unit);
    [main, per].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// The main unit, and `per_` and the other one. What stands in braces is a remark and no unit.
fn units(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let clean = |text: &str, table: &[(&str, &str)]| {
        let text = text.trim();
        if text.contains(['{', '}']) {
            return String::new();
        }
        let known = table.iter().find(|(name, _)| *name == text).map_or(text, |(_, name)| *name);
        let words =
            known.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':')).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("_")
    };
    let per = clean(per, &PER);
    (clean(main, &UNITS), if per.is_empty() { per } else { format!("per_{per}") })
}

/// The name of a label. `None` when there is nothing in it but underscores that were not there before.
pub(super) fn label(key: &str) -> Option<String> {
    let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = match name.as_bytes() {
        [b'0'..=b'9', ..] => format!("key_{name}"),
        [b'_', second, ..] if *second != b'_' => format!("key{name}"),
        [b'_'] => format!("key{name}"),
        _ => name,
    };
    let told = name.bytes().any(|byte| byte != b'_') || (name == key && !name.is_empty());
    told.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_called_as_prometheus_calls_them() {
        let check =
            |name, unit, kind, expected| assert_eq!(metric(name, unit, kind).as_deref(), expected, "{name}");
        check("http.server.duration", "s", Kind::Histogram, Some("http_server_duration_seconds"));
        check("requests", "1", Kind::Counter, Some("requests_total"));
        check("requests.total", "{requests}", Kind::Counter, Some("requests_total"));
        check("system.io", "By", Kind::Counter, Some("system_io_bytes_total"));
        check("cpu.utilization", "1", Kind::Gauge, Some("cpu_utilization_ratio"));
        check("queue", "1", Kind::Sum, Some("queue"));
        check("disk.speed", "MBy/s", Kind::Gauge, Some("disk_speed_megabytes_per_second"));
        check("speed_bytes", "By", Kind::Gauge, Some("speed_bytes"));
        check("calls", "{call}/min", Kind::Gauge, Some("calls_per_min"));
        check("5xx.__errors", "", Kind::Counter, Some("_5xx_errors_total"));
        check("grüße", "", Kind::Gauge, Some("gr_e"));
        check("..", "", Kind::Gauge, None);
        check("temperature", "Cel", Kind::Gauge, Some("temperature_celsius"));
        check("odd", "a_b", Kind::Gauge, Some("odd_a_b"));
    }

    #[test]
    fn labels_are_called_as_prometheus_calls_them() {
        let check = |key, expected| assert_eq!(label(key).as_deref(), expected, "{key}");
        check("http.method", Some("http_method"));
        check("123invalid", Some("key_123invalid"));
        check("_private", Some("key_private"));
        check("__reserved__", Some("__reserved__"));
        check("é.", None);
        check("", None);
    }
}

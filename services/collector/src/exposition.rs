//! OpenMetrics 1.0 text.

use std::fmt::Write;

use crate::family::{Family, Kind};

/// The content type of [`openmetrics`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Room for a usual machine's exposition, so that it does not grow in steps.
const TEXT_BYTES: usize = 128 << 10;

/// The whole exposition, `# EOF` included.
pub fn openmetrics<'a>(families: impl IntoIterator<Item = &'a Family>) -> String {
    let mut out = String::with_capacity(TEXT_BYTES);
    for family in families {
        // A counter's family is named without the suffix that its samples have.
        let name = match family.kind {
            Kind::Counter => family.name.strip_suffix("_total").unwrap_or(&family.name),
            _ => &family.name,
        };
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Unknown => "unknown",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        // Writing to a string does not fail, here and below.
        let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {}", escaped(&family.help));
        for row in &family.rows {
            out.push_str(&family.name);
            out.push_str(row.suffix);
            let mut labels = row.labels.iter().filter(|(_, value)| !value.is_empty()).peekable();
            if labels.peek().is_some() {
                let mut before = '{';
                for (label, value) in labels {
                    let _ = write!(out, "{before}{label}=\"{}\"", escaped(value));
                    before = ',';
                }
                out.push('}');
            }
            let _ = writeln!(out, " {}", number(row.value));
        }
    }
    out.push_str("# EOF\n");
    out
}

/// A value as OpenMetrics and Prometheus write it.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        value.to_string()
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_openmetrics_says() {
        let mut histogram = Family::new("h_seconds", Kind::Histogram, "Time.");
        histogram.push_part("_bucket", vec![("le", "+Inf".into())], 2.0);
        histogram.push_part("_sum", Vec::new(), 0.5);
        let families = [
            Family::new("a_total", Kind::Counter, "A.")
                .with(vec![("x", "q\"\\\n".into()), ("y", "".into())], 1.5),
            Family::gauge("g", "G.", f64::INFINITY),
            histogram,
        ];
        let expected = concat!(
            "# TYPE a counter\n# HELP a A.\na_total{x=\"q\\\"\\\\\\n\"} 1.5\n",
            "# TYPE g gauge\n# HELP g G.\ng +Inf\n",
            "# TYPE h_seconds histogram\n# HELP h_seconds Time.\nh_seconds_bucket{le=\"+Inf\"} 2\nh_seconds_sum 0.5\n",
            "# EOF\n",
        );
        assert_eq!(openmetrics(&families), expected);
    }
}

//! Benchmarks: what Vakt costs, beside what its peers cost in the same run on the same machine.
//!
//! Each measure is a module with one `measure` function that returns rows of one table. Where something is
//! repeated, the row holds the median; where a peer is measured, both are taken in alternation or at the
//! same time. A measure never makes a number up: what cannot be run is a row that says `skipped` and why.

pub mod bodies;
pub mod boot;
pub mod collector;
pub mod connection;
pub mod ebpf;
pub mod growth;
pub mod ingest;
pub mod kills;
pub mod load;
pub mod memory;
pub mod plain_debian;
pub mod process;
pub mod queries;
pub mod resident;
pub mod rest;
pub mod sizes;
pub mod stores;

use anyhow::Result;

/// A measure: its name as an argument, and how it is taken.
pub type Measure = (&'static str, fn() -> Result<Vec<Row>>);

/// All of them, the quick ones first.
pub const MEASURES: [Measure; 11] = [
    ("sizes", sizes::measure),
    ("ingest", ingest::measure),
    ("queries", queries::measure),
    ("rest", rest::measure),
    ("kills", kills::measure),
    ("resident", resident::measure),
    ("growth", growth::measure),
    ("collector", collector::measure),
    ("ebpf", ebpf::measure),
    ("memory", memory::measure),
    ("boot", boot::measure),
];

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    what: String,
    vakt: String,
    peer: String,
    ratio: String,
}

impl Row {
    /// A number of Vakt's alone.
    pub fn alone(what: &str, value: f64, unit: &str) -> Row {
        Row { what: what.into(), vakt: number(value, unit), peer: String::new(), ratio: String::new() }
    }

    /// A number of Vakt's beside a peer's; the ratio is Vakt's share of the peer's.
    pub fn beside(what: &str, peer: &str, ours: f64, theirs: f64, unit: &str) -> Row {
        let ratio = if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { String::new() };
        Row {
            what: what.into(),
            vakt: number(ours, unit),
            peer: format!("{} ({peer})", number(theirs, unit)),
            ratio,
        }
    }

    /// What could not be measured here, and why.
    pub fn skipped(what: &str, reason: &str) -> Row {
        let text = format!("skipped: {}", one_line(reason));
        Row { what: what.into(), vakt: text, peer: String::new(), ratio: String::new() }
    }

    /// What went wrong.
    pub fn failed(reason: &str) -> Row {
        let text = format!("failed: {}", one_line(reason));
        Row { what: String::new(), vakt: text, peer: String::new(), ratio: String::new() }
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Three digits that count.
fn number(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || (size - size.round()).abs() < 1e-9 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

/// The middle value; the mean of the two middle ones of an even number. 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// How busy this host is: a measure that was taken beside a build says so.
pub fn host() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = text.split(' ').take(2).collect();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!("load {} on {processors} processors", load.join(" "))
}

/// Prints the table's head, in Markdown, for pasting into docs/benchmarks.md.
pub fn print_head() {
    println!("| measure | what | Vakt | beside it | ratio |");
    println!("|---|---|---|---|---|");
}

/// Prints a row.
pub fn print(measure: &str, row: &Row) {
    println!("| {measure} | {} | {} | {} | {} |", row.what, row.vakt, row.peer, row.ratio);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_not_the_mean() {
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_ratio_is_ours_over_theirs_and_a_reason_is_one_line() {
        assert_eq!(Row::beside("cpu", "vm", 1.0, 4.0, "s").ratio, "0.25");
        assert_eq!(Row::skipped("x", "no\n  network\n").vakt, "skipped: no; network");
        assert_eq!([number(123.4, "s"), number(12.34, ""), number(6.0, "")], ["123 s", "12.3", "6"]);
    }
}

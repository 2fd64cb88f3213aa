//! Charts as SVG text, from numbers alone: no fonts measured, no script, no style attributes (the
//! content security policy forbids them). Colours come from the stylesheet by class.
//!
//! Each chart comes with a legend and a table of its numbers, for who cannot see it.

mod bars;
mod line;
mod scale;
mod spark;
mod unit;

pub use bars::{Bar, BarChart};
pub use line::{Line, LineChart};
pub use spark::spark;
pub use unit::Unit;

/// Lines of one chart: as many as the stylesheet has colours.
pub const LINES_MAX: usize = 6;
/// Rows of the table behind a chart.
pub const TABLE_ROWS_MAX: usize = 24;

/// A chart, ready for its template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChartView {
    /// What it shows.
    pub title: String,
    /// The drawing; safe to be put in a page as it is.
    pub svg: String,
    /// One for each line: number of its colour, name, newest value.
    pub legend: Vec<Key>,
    /// Column heads of the table, without the time.
    pub heads: Vec<String>,
    /// Rows of the table, newest first.
    pub rows: Vec<TableRow>,
}

/// An entry of a legend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// From 1.
    pub colour: usize,
    /// What the line is.
    pub name: String,
    /// Its newest value.
    pub value: String,
}

/// A row of the table behind a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRow {
    /// When.
    pub time: String,
    /// One a column.
    pub values: Vec<String>,
}

/// Text inside an SVG.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A coordinate with one decimal, without a needless zero.
fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

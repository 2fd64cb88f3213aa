//! Stacked bars over time: how many log lines, by severity.

use std::fmt::Write;

use super::scale::{ticks, times};
use super::{ChartView, Key, TABLE_ROWS_MAX, TableRow, Unit, coordinate, escape};
use crate::clock;

/// Widths of the two drawings: one for wide screens, one for narrow; the stylesheet shows one of them.
const WIDTHS: [(f64, &str, i64); 2] = [(1130.0, "wide", 8), (440.0, "slim", 3)];
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

/// One bar: its parts, lowest first, one for each name of the chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// When it begins, seconds since the epoch.
    pub from_s: i64,
    /// How many of each.
    pub parts: Vec<u64>,
}

/// A chart of stacked bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarChart {
    /// What it shows.
    pub title: String,
    /// Names of the parts with the class of their colour.
    pub names: Vec<(String, &'static str)>,
    /// The bars, oldest first; empty ones may be left out.
    pub bars: Vec<Bar>,
    /// The first time shown.
    pub from_s: i64,
    /// The last time shown.
    pub to_s: i64,
    /// Seconds of one bar.
    pub step_s: i64,
}

impl BarChart {
    /// How many of part `index` there are in all.
    fn total(&self, index: usize) -> u64 {
        self.bars.iter().filter_map(|bar| bar.parts.get(index)).sum()
    }

    /// Draws it.
    pub fn view(&self) -> ChartView {
        let max = self.bars.iter().map(|bar| bar.parts.iter().sum::<u64>()).max().unwrap_or(0);
        let ticks: Vec<f64> =
            ticks(max.max(1) as f64, 3, 10.0).into_iter().filter(|t| t.fract() == 0.0).collect();
        let top = ticks.last().copied().unwrap_or(1.0).max(max as f64);
        let said: Vec<_> =
            self.names.iter().enumerate().map(|(i, (name, _))| format!("{name} {}", self.total(i))).collect();
        let mut svg = String::new();
        for (width, class, labels) in WIDTHS {
            let drawing = Drawing { chart: self, width, top };
            // Writing to a String cannot fail, here and below.
            let _ = write!(
                svg,
                "<svg class=\"chart {class}\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" aria-label=\"{}: {}\">",
                escape(&self.title),
                escape(&said.join(", "))
            );
            drawing.axes(&ticks, labels, &mut svg);
            self.bars.iter().for_each(|bar| drawing.bar(bar, &mut svg));
            svg.push_str("</svg>");
        }
        let key = |(index, (name, _)): (usize, &(String, &str))| Key {
            colour: index + 1,
            name: name.clone(),
            value: self.total(index).to_string(),
        };
        let row = |bar: &Bar| TableRow {
            time: clock::date_time(bar.from_s),
            values: bar.parts.iter().map(u64::to_string).collect(),
        };
        ChartView {
            title: self.title.clone(),
            svg,
            legend: self.names.iter().enumerate().map(key).collect(),
            heads: self.names.iter().map(|(name, _)| name.clone()).collect(),
            rows: self.bars.iter().rev().take(TABLE_ROWS_MAX).map(row).collect(),
        }
    }
}

/// The chart at one width.
struct Drawing<'a> {
    chart: &'a BarChart,
    width: f64,
    top: f64,
}

impl Drawing<'_> {
    fn x(&self, at_s: i64) -> f64 {
        let (from_s, to_s) = (self.chart.from_s, self.chart.to_s);
        LEFT + (at_s - from_s) as f64 / (to_s - from_s).max(1) as f64 * (self.width - LEFT)
    }

    fn axes(&self, ticks: &[f64], labels: i64, svg: &mut String) {
        let (from_s, to_s, width) = (self.chart.from_s, self.chart.to_s, self.width);
        for tick in ticks {
            let y = HEIGHT - BOTTOM - tick / self.top * (HEIGHT - TOP - BOTTOM);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{width}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                Unit::Number.show(*tick)
            );
        }
        for at_s in times(from_s, to_s, labels) {
            let x = self.x(at_s);
            if x > LEFT + 14.0 && x < width - 20.0 {
                let text = clock::tick(at_s, to_s - from_s);
                let _ = write!(
                    svg,
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                    HEIGHT - 6.0
                );
            }
        }
    }

    fn bar(&self, bar: &Bar, svg: &mut String) {
        let chart = self.chart;
        let from = self.x(bar.from_s.max(chart.from_s));
        let to = self.x((bar.from_s + chart.step_s).min(chart.to_s));
        // A hair between two bars.
        let width = (to - from - 1.5).max(1.0);
        let mut floor = HEIGHT - BOTTOM;
        for (part, (_, class)) in bar.parts.iter().zip(&chart.names).filter(|(part, _)| **part > 0) {
            let height = (*part as f64 / self.top * (HEIGHT - TOP - BOTTOM)).max(1.0);
            floor -= height;
            let _ = write!(
                svg,
                "<rect class=\"bar {class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
                coordinate(from),
                coordinate(floor),
                coordinate(width),
                coordinate(height)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_stacked_and_counted() {
        let chart = BarChart {
            title: "Lines".into(),
            names: vec![("other".into(), "lvl-other"), ("errors".into(), "lvl-error")],
            bars: vec![Bar { from_s: 0, parts: vec![3, 1] }, Bar { from_s: 50, parts: vec![0, 2] }],
            from_s: 0,
            to_s: 100,
            step_s: 50,
        };
        let view = chart.view();
        assert_eq!(view.svg.matches("<rect").count(), 2 * 3);
        assert!(view.svg.contains("aria-label=\"Lines: other 3, errors 3\""));
        assert_eq!(view.rows[0].values, ["0", "2"]);
        assert_eq!(BarChart { bars: vec![], ..chart }.view().svg.matches("<rect").count(), 0);
    }
}

//! Lines over time.

use std::fmt::Write;

use super::scale::{ticks, times};
use super::{ChartView, Key, LINES_MAX, TABLE_ROWS_MAX, TableRow, Unit, coordinate, escape};
use crate::clock;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// (seconds since the epoch, value), oldest first.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// What it shows.
    pub title: String,
    /// What its numbers count.
    pub unit: Unit,
    /// The lines; beyond [`LINES_MAX`] they are left out.
    pub lines: Vec<Line>,
    /// The first time shown, seconds since the epoch.
    pub from_s: i64,
    /// The last time shown.
    pub to_s: i64,
    /// Seconds between two points; a gap of more than two and a half of them is drawn as one.
    pub step_s: i64,
    /// The axis reaches at least this far: 100 for shares, the total for memory.
    pub at_least: f64,
}

impl LineChart {
    /// Draws it.
    pub fn view(&self) -> ChartView {
        let lines = &self.lines[..self.lines.len().min(LINES_MAX)];
        let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
        let max = values.filter(|value| value.is_finite()).fold(self.at_least, f64::max);
        let ticks = ticks(max, 4, self.unit.base());
        let top = ticks.last().copied().unwrap_or(1.0);
        let mut svg = self.open(lines);
        self.axes(&ticks, top, &mut svg);
        for (index, line) in lines.iter().enumerate() {
            self.line(index + 1, line, top, lines.len() == 1, &mut svg);
        }
        svg.push_str("</svg>");
        let newest = |line: &Line| line.points.last().map_or(f64::NAN, |(_, value)| *value);
        let key = |(index, line): (usize, &Line)| Key {
            colour: index + 1,
            name: line.name.clone(),
            value: self.unit.show(newest(line)),
        };
        ChartView {
            title: self.title.clone(),
            svg,
            legend: lines.iter().enumerate().map(key).collect(),
            heads: lines.iter().map(|line| line.name.clone()).collect(),
            rows: self.table(lines),
        }
    }

    fn open(&self, lines: &[Line]) -> String {
        let newest: Vec<_> = lines
            .iter()
            .filter_map(|line| {
                line.points.last().map(|(_, v)| format!("{} {}", line.name, self.unit.show(*v)))
            })
            .collect();
        let label = if newest.is_empty() { "no data".to_owned() } else { newest.join(", ") };
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}: {}\">",
            escape(&self.title),
            escape(&label)
        )
    }

    fn x(&self, at_s: f64) -> f64 {
        let span = (self.to_s - self.from_s).max(1) as f64;
        LEFT + (at_s - self.from_s as f64) / span * (WIDTH - LEFT - RIGHT)
    }

    fn y(value: f64, top: f64) -> f64 {
        HEIGHT - BOTTOM - (value / top).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&self, ticks: &[f64], top: f64, svg: &mut String) {
        for tick in ticks {
            let y = coordinate(LineChart::y(*tick, top));
            let text_y = coordinate(LineChart::y(*tick, top) + 4.0);
            // Writing to a String cannot fail, here and below.
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{text_y}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                self.unit.show(*tick)
            );
        }
        for at_s in times(self.from_s, self.to_s, 4) {
            let x = self.x(at_s as f64);
            if !(LEFT + 14.0..=WIDTH - RIGHT - 6.0).contains(&x) {
                continue;
            }
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                coordinate(x),
                HEIGHT - 6.0,
                clock::tick(at_s, self.to_s - self.from_s)
            );
        }
    }

    fn line(&self, colour: usize, line: &Line, top: f64, filled: bool, svg: &mut String) {
        for run in self.runs(line) {
            let mut path = String::new();
            for (index, (at_s, value)) in run.iter().enumerate() {
                let command = if index == 0 { 'M' } else { 'L' };
                let (x, y) = (coordinate(self.x(*at_s)), coordinate(LineChart::y(*value, top)));
                let _ = write!(path, "{command}{x} {y}");
            }
            let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { continue };
            if run.len() == 1 {
                // A point alone is drawn as a dot: a line of no length with round ends.
                path.push_str("h0");
            }
            if filled {
                let floor = coordinate(HEIGHT - BOTTOM);
                let (from, to) = (coordinate(self.x(*first)), coordinate(self.x(*last)));
                let _ =
                    write!(svg, "<path class=\"area c{colour}\" d=\"{path}L{to} {floor}L{from} {floor}Z\"/>");
            }
            let _ = write!(svg, "<path class=\"line c{colour}\" d=\"{path}\"/>");
        }
    }

    /// The points inside the frame, split where there is a gap.
    fn runs<'a>(&self, line: &'a Line) -> Vec<Vec<&'a (f64, f64)>> {
        let mut runs: Vec<Vec<&(f64, f64)>> = Vec::new();
        let gap = self.step_s as f64 * 2.5;
        let inside = |at: f64| at >= self.from_s as f64 && at <= self.to_s as f64;
        for point in line.points.iter().filter(|(at, value)| value.is_finite() && inside(*at)) {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| point.0 - last.0 <= gap) => run.push(point),
                _ => runs.push(vec![point]),
            }
        }
        runs
    }

    fn table(&self, lines: &[Line]) -> Vec<TableRow> {
        let mut times: Vec<i64> =
            lines.iter().flat_map(|line| line.points.iter().map(|(at, _)| at.round() as i64)).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.dedup();
        let every = times.len().div_ceil(TABLE_ROWS_MAX).max(1);
        let value = |line: &Line, at_s: i64| {
            let found = line.points.iter().find(|(at, _)| at.round() as i64 == at_s);
            found.map_or("–".to_owned(), |(_, value)| self.unit.show(*value))
        };
        let row = |at_s: i64| TableRow {
            time: clock::date_time(at_s),
            values: lines.iter().map(|line| value(line, at_s)).collect(),
        };
        times.into_iter().step_by(every).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(lines: Vec<Line>) -> LineChart {
        LineChart {
            title: "CPU <&>".into(),
            unit: Unit::Percent,
            lines,
            from_s: 0,
            to_s: 100,
            step_s: 10,
            at_least: 100.0,
        }
    }

    fn line(name: &str, points: &[(f64, f64)]) -> Line {
        Line { name: name.into(), points: points.to_vec() }
    }

    #[test]
    fn points_become_a_path_from_the_left_edge_to_the_right() {
        let view = chart(vec![line("busy", &[(0.0, 0.0), (20.0, 50.0), (40.0, 100.0)])]).view();
        assert!(view.svg.contains("class=\"line c1\" d=\"M64 158L137.2 84L210.4 10\""), "{}", view.svg);
        assert!(view.svg.contains("class=\"area c1\""));
        assert_eq!(view.legend[0].value, "100 %");
    }

    #[test]
    fn a_gap_is_not_drawn_over_and_what_is_no_number_is_left_out() {
        let points = [(0.0, 1.0), (10.0, f64::NAN), (20.0, 2.0), (60.0, 3.0), (200.0, 4.0)];
        let view = chart(vec![line("a", &points), line("b", &[])]).view();
        assert_eq!(view.svg.matches("class=\"line c1\"").count(), 2);
        assert!(!view.svg.contains("NaN") && !view.svg.contains("class=\"line c2\""));
        assert_eq!(view.legend[1].value, "–");
    }

    #[test]
    fn names_cannot_leave_their_place() {
        let view = chart(vec![line("\"><script>x</script>", &[(1.0, 1.0)])]).view();
        assert!(!view.svg.contains("<script") && view.svg.contains("CPU &lt;&amp;&gt;"), "{}", view.svg);
        assert!(!view.svg.contains("style="));
    }

    #[test]
    fn the_table_has_the_newest_first_and_a_bounded_number_of_rows() {
        let points: Vec<_> = (0..100).map(|n| (f64::from(n), f64::from(n))).collect();
        let view = chart(vec![line("a", &points), line("b", &[(99.0, 7.0)])]).view();
        assert_eq!(view.rows.len(), 20);
        assert_eq!(
            view.rows[0],
            TableRow { time: "1970-01-01 00:01:39".into(), values: vec!["99 %".into(), "7 %".into()] }
        );
        assert_eq!(view.rows[1].values[1], "–");
    }
}

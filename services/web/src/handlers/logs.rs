//! `/logs?q=…&range=1h&level=…&before=…`: search in the logs.
//!
//! Pages go back in time by key: `before` is the time of the last row shown and how many rows of that
//! very time were shown, so that a page costs the same however far back it is and no row is left out.

use askama::Template;
use hyper::StatusCode;
use vakt_wire::http::{Request, Response};
use vakt_wire::time::parse_rfc3339;

use crate::app::{App, Caller};
use crate::backend::log::{Hits, Row};
use crate::backend::{Panel, unavailable};
use crate::chart::{Bar, BarChart, ChartView};
use crate::clock;
use crate::error::PageError;
use crate::form::{Form, url};
use crate::handlers::range::{RANGES, Range};
use crate::page::{Shell, html};

/// Rows of a page.
const ROWS: usize = 100;
/// Bars of the histogram.
const BARS: i64 = 60;
/// Characters of a message in the list; all of it is behind the row.
const MESSAGE_CHARS_MAX: usize = 1000;
/// Characters of a query that are taken from the URL.
const QUERY_CHARS_MAX: usize = 2000;

/// Levels that can be asked for: key, label, filter.
const LEVELS: [(&str, &str, &str); 3] = [
    ("", "every level", ""),
    ("warning", "warnings and worse", "level:in(warning,error,critical,alert,emerg)"),
    ("error", "errors and worse", "level:in(error,critical,alert,emerg)"),
];

/// What is asked for; the URL holds all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    query: String,
    range: Range,
    level: &'static str,
    before: Option<Before>,
}

/// The key of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Before {
    time_ns: i64,
    shown: usize,
}

impl Before {
    fn parse(text: &str) -> Option<Before> {
        let (time_ns, shown) = text.split_once('-')?;
        Some(Before {
            time_ns: time_ns.parse().ok()?,
            shown: shown.parse().ok().filter(|shown| *shown < 10_000)?,
        })
    }

    /// The key of the page behind these rows.
    fn behind(rows: &[Row], current: Option<Before>) -> Option<Before> {
        let time = rows.last()?.get("_time")?;
        let time_ns = parse_rfc3339(time)?;
        let here = rows.iter().rev().take_while(|row| row.get("_time") == Some(time)).count();
        let earlier = current.filter(|current| current.time_ns == time_ns).map_or(0, |current| current.shown);
        Some(Before { time_ns, shown: here + earlier })
    }
}

impl View {
    fn of(form: &Form) -> View {
        let level = LEVELS.iter().find(|(key, _, _)| *key == form.get("level")).map_or("", |(key, _, _)| key);
        View {
            query: form.get("q").trim().chars().take(QUERY_CHARS_MAX).collect(),
            range: Range::of(form.get("range")),
            level,
            before: Before::parse(form.get("before")),
        }
    }

    /// The filter with the level's, and the pipes (with their `|`) that follow.
    fn logsql(&self) -> (String, String) {
        let (filter, pipes) = split_pipes(&self.query);
        let filter = if filter.is_empty() { "*" } else { filter };
        let level = LEVELS.iter().find(|(key, _, _)| *key == self.level).map_or("", |(_, _, filter)| filter);
        let filter = if level.is_empty() { filter.to_owned() } else { format!("({filter}) {level}") };
        (filter, pipes.to_owned())
    }

    fn url(&self, query: &str, before: Option<Before>) -> String {
        let before = before.map(|before| format!("{}-{}", before.time_ns, before.shown)).unwrap_or_default();
        url("/logs", &[("q", query), ("range", self.range.key), ("level", self.level), ("before", &before)])
    }
}

/// Splits a query at its first `|` outside of quotes.
fn split_pipes(query: &str) -> (&str, &str) {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in query.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(open), '\\') if open != '`' => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '|') => return (query[..at].trim(), &query[at..]),
            _ => {}
        }
    }
    (query, "")
}

/// A row of the list.
#[derive(Debug)]
struct LogLine {
    time: String,
    datetime: String,
    level: String,
    class: &'static str,
    source: String,
    message: String,
    /// Name, value, and the search for just this value.
    fields: Vec<(String, String, String)>,
}

#[derive(Template)]
#[template(path = "pages/logs.html")]
struct LogsPage {
    shell: Shell,
    view: View,
    ranges: [Range; 6],
    levels: [(&'static str, &'static str, &'static str); 3],
    chart: Panel<ChartView>,
    total: u64,
    lines: Panel<Vec<LogLine>>,
    older: Option<String>,
    newest: Option<String>,
}

/// The page.
///
/// # Errors
/// [`PageError::Internal`].
pub async fn show(app: &App, caller: &Caller, request: &Request) -> Result<Response, PageError> {
    let view = View::of(&Form::query(request));
    let now_s = clock::now_s();
    let (from_s, step_s) = (now_s - view.range.seconds, view.range.step_s(BARS));
    let (filter, pipes) = view.logsql();
    let start = from_s.to_string();
    let (end, offset) = match view.before {
        Some(before) => (before.time_ns.to_string(), format!(" | offset {}", before.shown)),
        None => (now_s.to_string(), String::new()),
    };
    let query = format!("{filter}{offset}{pipes}");
    let log = &app.backends.log;
    let now = now_s.to_string();
    let (rows, hits) =
        tokio::join!(log.query(&query, &start, &end, ROWS), log.hits(&filter, &start, &now, step_s));
    let rows = rows.map_err(|error| unavailable("log", &error));
    let behind = rows.as_deref().ok().filter(|rows| rows.len() == ROWS && pipes.is_empty());
    let older = behind.and_then(|rows| Before::behind(rows, view.before));
    let chart =
        hits.map_err(|error| unavailable("log", &error)).map(|hits| histogram(&hits, from_s, now_s, step_s));
    let total = chart.as_ref().map_or(0, |chart| chart.bars.iter().flat_map(|bar| &bar.parts).sum());
    let page = LogsPage {
        shell: app.shell(caller, "Logs", "logs"),
        ranges: RANGES,
        levels: LEVELS,
        chart: chart.map(|chart| chart.view()),
        total,
        lines: rows.map(|rows| rows.into_iter().map(|row| log_line(row, &view)).collect()),
        older: older.map(|older| view.url(&view.query, Some(older))),
        newest: view.before.map(|_| view.url(&view.query, None)),
        view,
    };
    html(StatusCode::OK, &page)
}

/// 0 for errors and worse, 1 for warnings, 2 for the rest; with the class of its colour.
fn severity(level: &str) -> (usize, &'static str) {
    match level {
        "emerg" | "alert" | "critical" | "error" => (0, "lvl-error"),
        "warning" => (1, "lvl-warning"),
        _ => (2, "lvl-other"),
    }
}

/// The histogram, stacked by severity. Pure.
fn histogram(hits: &[Hits], from_s: i64, to_s: i64, step_s: i64) -> BarChart {
    let mut bars = std::collections::BTreeMap::<i64, [u64; 3]>::new();
    for group in hits {
        let (part, _) = severity(group.fields.get("level").map_or("", String::as_str));
        for (time, count) in group.timestamps.iter().zip(&group.values) {
            if let Some(ns) = parse_rfc3339(time) {
                bars.entry(ns.div_euclid(1_000_000_000)).or_default()[part] += count;
            }
        }
    }
    // Errors stand on the axis, where even a few are seen.
    let names = [("errors", "lvl-error"), ("warnings", "lvl-warning"), ("others", "lvl-other")];
    BarChart {
        title: "Lines by time".to_owned(),
        names: names.map(|(name, class)| (name.to_owned(), class)).to_vec(),
        bars: bars.into_iter().map(|(from_s, parts)| Bar { from_s, parts: parts.to_vec() }).collect(),
        from_s,
        to_s,
        step_s,
    }
}

fn log_line(mut row: Row, view: &View) -> LogLine {
    let datetime = row.remove("_time").unwrap_or_default();
    let time_ns = parse_rfc3339(&datetime);
    let time = time_ns.map_or(datetime.clone(), |ns| {
        let millis = ns.rem_euclid(1_000_000_000) / 1_000_000;
        format!("{}.{millis:03}", clock::date_time(ns.div_euclid(1_000_000_000)))
    });
    let message = row.remove("_msg").unwrap_or_default();
    let level = row.get("level").cloned().unwrap_or_default();
    let host = ["hostname", "host", "instance"].into_iter().find_map(|name| row.get(name));
    let program = ["app_name", "service", "app", "unit"].into_iter().find_map(|name| row.get(name));
    let source: Vec<&str> = host.into_iter().chain(program).map(String::as_str).collect();
    let source = source.join(" ");
    let only = |name: &str, value: &str| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let filter = format!("\"{name}\":=\"{value}\"");
        let query = if view.query.is_empty() { filter } else { narrowed(&view.query, &filter) };
        view.url(&query, None)
    };
    let long = message.chars().count() > MESSAGE_CHARS_MAX;
    let shown =
        if long { message.chars().take(MESSAGE_CHARS_MAX).chain(['…']).collect() } else { message.clone() };
    let mut fields: Vec<_> =
        row.iter().map(|(name, value)| (name.clone(), value.clone(), only(name, value))).collect();
    if long {
        fields.insert(0, ("_msg".to_owned(), message, String::new()));
    }
    LogLine { time, datetime, class: severity(&level).1, level, source, message: shown, fields }
}

/// A query with one more filter before its pipes.
fn narrowed(query: &str, filter: &str) -> String {
    let (before, pipes) = split_pipes(query);
    let narrowed = format!("({before}) {filter} {pipes}");
    narrowed.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(query: &str) -> View {
        View::of(&Form::parse(query))
    }

    #[test]
    fn the_url_holds_the_view() {
        let one = view("q=disk+full&range=24h&level=error&before=1795339668000000001-2");
        assert_eq!(one.before, Some(Before { time_ns: 1_795_339_668_000_000_001, shown: 2 }));
        let again = one.url(&one.query, one.before);
        assert_eq!(View::of(&Form::parse(again.split_once('?').unwrap().1)), one);
        assert_eq!(view("range=x&level=y&before=z").url("", None), "/logs?range=1h");
    }

    #[test]
    fn a_level_joins_the_filter_and_pipes_stay_behind() {
        assert_eq!(view("").logsql(), ("*".to_owned(), String::new()));
        let (filter, pipes) = view("q=a or b | fields x&level=error").logsql();
        assert_eq!(filter, "(a or b) level:in(error,critical,alert,emerg)");
        assert_eq!(pipes, "| fields x");
        assert_eq!(split_pipes("\"a|b\" `c|\\` | d"), ("\"a|b\" `c|\\`", "| d"));
        assert_eq!(narrowed("a or b | limit 5", "x:=\"y\""), "(a or b) x:=\"y\" | limit 5");
    }

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        let row = |time: &str| Row::from([("_time".to_owned(), time.to_owned())]);
        let rows = [row("2026-11-22T09:27:49Z"), row("2026-11-22T09:27:48Z"), row("2026-11-22T09:27:48Z")];
        let first = Before::behind(&rows, None).unwrap();
        assert_eq!(first, Before { time_ns: 1_795_339_668_000_000_000, shown: 2 });
        assert_eq!(Before::behind(&rows[1..], Some(first)).unwrap().shown, 4);
        assert_eq!(Before::behind(&[], None), None);
    }

    #[test]
    fn levels_are_stacked_with_errors_at_the_bottom() {
        let hits = |level: &str, values: &[u64]| Hits {
            fields: [("level".to_owned(), level.to_owned())].into(),
            timestamps: vec!["1970-01-01T00:00:00Z".into(), "1970-01-01T00:01:00Z".into()],
            values: values.to_vec(),
        };
        let chart =
            histogram(&[hits("error", &[1, 0]), hits("critical", &[1, 2]), hits("", &[5, 6])], 0, 120, 60);
        assert_eq!(chart.bars[0].parts, [2, 0, 5]);
        assert_eq!(chart.bars[1].parts, [2, 0, 6]);
    }

    #[test]
    fn a_row_is_shown_with_its_source_and_its_fields() {
        let row = Row::from([
            ("_time".to_owned(), "2026-11-22T09:27:48.5Z".to_owned()),
            ("_msg".to_owned(), "<script>alert(1)</script>".to_owned()),
            ("hostname".to_owned(), "db1".to_owned()),
            ("app_name".to_owned(), "a\"b".to_owned()),
            ("level".to_owned(), "error".to_owned()),
        ]);
        let line = log_line(row, &view("q=x"));
        assert_eq!(
            (line.time.as_str(), line.source.as_str(), line.class),
            ("2026-11-22 09:27:48.500", "db1 a\"b", "lvl-error")
        );
        let link = &line.fields.iter().find(|(name, _, _)| name == "app_name").unwrap().2;
        let form = Form::parse(link.split_once('?').unwrap().1);
        assert_eq!(form.get("q"), r#"(x) "app_name":="a\"b""#);
    }
}

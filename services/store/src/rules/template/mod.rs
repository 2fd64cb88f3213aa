//! Texts of alerts with `{{ … }}`: the part of Go's template language that rule files use.
//!
//! Known are `$labels`, `$value`, `.Labels`, `.Value`, texts, numbers, parentheses, pipelines, `if`, `else`, `range`, `end`
//! and the functions in `functions.rs`. Anything else is refused when the file is read.

mod functions;
mod parse;

use crate::promql::plain_number;
use crate::series::Labels;

/// Longest text that a template may give.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Series that `range` goes over.
const RANGE_MAX: usize = 1_000;

/// A series that `query` found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

/// What a template can see.
pub(super) struct Scope<'a> {
    pub(super) labels: &'a Labels,
    pub(super) value: f64,
    pub(super) query: &'a dyn Fn(&str) -> Result<Vec<Series>, String>,
}

/// A value in a template.
#[derive(Clone, Debug, PartialEq)]
enum Data {
    Text(String),
    Number(f64),
    Truth(bool),
    Labels(Labels),
    Series(Series),
    List(Vec<Series>),
    /// What `.` is at first: it has `Labels` and `Value`.
    Alert,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Show(Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
}

/// Calls, each with the one before as its last argument.
type Pipeline = Vec<Call>;

/// A function and its arguments, or one argument alone.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    function: Option<String>,
    args: Vec<Arg>,
}

#[derive(Clone, Debug, PartialEq)]
enum Arg {
    Value(Data),
    /// A variable or `.`, and the fields behind it.
    Path(String, Vec<String>),
    Paren(Pipeline),
}

/// A text with its actions.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
}

impl Template {
    /// A text that is shown as it is.
    pub fn plain(text: &str) -> Template {
        Template { text: text.to_owned(), nodes: vec![Node::Text(text.to_owned())] }
    }

    /// Reads a template.
    ///
    /// # Errors
    /// For what is not of the language, or not known.
    pub fn parse(text: &str) -> Result<Template, String> {
        Ok(Template { text: text.to_owned(), nodes: parse::nodes(text)? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text for one alert. What cannot be expanded is told in its place, as Prometheus does.
    pub(super) fn expand(&self, scope: &Scope<'_>) -> String {
        let mut out = String::new();
        match show(&self.nodes, scope, &Data::Alert, &mut out) {
            Ok(()) => out,
            Err(reason) => format!("<error expanding template: {reason}>"),
        }
    }
}

fn show(nodes: &[Node], scope: &Scope<'_>, dot: &Data, out: &mut String) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Show(pipeline) => out.push_str(&text_of(&run(pipeline, scope, dot)?)),
            Node::If(pipeline, then, other) => {
                let branch = if truth(&run(pipeline, scope, dot)?) { then } else { other };
                show(branch, scope, dot, out)?;
            }
            Node::Range(pipeline, each, other) => match run(pipeline, scope, dot)? {
                Data::List(list) if list.is_empty() => show(other, scope, dot, out)?,
                Data::List(list) => {
                    for series in list.into_iter().take(RANGE_MAX) {
                        show(each, scope, &Data::Series(series), out)?;
                    }
                }
                _ => return Err("range needs the series of a query".into()),
            },
        }
        if out.len() > TEXT_BYTES_MAX {
            return Err(format!("text is longer than {TEXT_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

fn run(pipeline: &[Call], scope: &Scope<'_>, dot: &Data) -> Result<Data, String> {
    let mut before: Option<Data> = None;
    for call in pipeline {
        let mut args = Vec::with_capacity(call.args.len() + 1);
        for arg in &call.args {
            args.push(match arg {
                Arg::Value(data) => data.clone(),
                Arg::Path(start, fields) => path(start, fields, scope, dot)?,
                Arg::Paren(pipeline) => run(pipeline, scope, dot)?,
            });
        }
        args.extend(before.take());
        before = Some(match (&call.function, args.as_slice()) {
            (Some(function), _) => functions::call(function, args, scope)?,
            (None, [one]) => one.clone(),
            (None, _) => return Err("a value takes no arguments".into()),
        });
    }
    before.ok_or_else(|| "an action is empty".into())
}

fn path(start: &str, fields: &[String], scope: &Scope<'_>, dot: &Data) -> Result<Data, String> {
    let mut data = match start {
        "$labels" => Data::Labels(scope.labels.clone()),
        "$value" => Data::Number(scope.value),
        "$externalLabels" => Data::Labels(Labels::empty()),
        "$externalURL" => Data::Text(String::new()),
        _ => dot.clone(),
    };
    for field in fields {
        data = match (&data, field.as_str()) {
            (Data::Labels(labels), name) => Data::Text(labels.get(name).to_owned()),
            (Data::Alert, "Labels") => Data::Labels(scope.labels.clone()),
            (Data::Alert, "Value") => Data::Number(scope.value),
            (Data::Alert, "ExternalLabels") => Data::Labels(Labels::empty()),
            (Data::Alert, "ExternalURL") => Data::Text(String::new()),
            (Data::Series(series), "Labels") => Data::Labels(series.labels.clone()),
            (Data::Series(series), "Value") => Data::Number(series.value),
            (_, name) => return Err(format!("there is no field {name}")),
        };
    }
    Ok(data)
}

/// How a value is shown.
fn text_of(data: &Data) -> String {
    match data {
        Data::Text(text) => text.clone(),
        Data::Number(value) => crate::promql::short_number(*value),
        Data::Truth(truth) => truth.to_string(),
        Data::Labels(labels) => labels.to_string(),
        Data::Series(series) => format!("{} {}", series.labels, plain_number(series.value)),
        Data::List(list) => format!("{} series", list.len()),
        Data::Alert => String::new(),
    }
}

/// Whether `if` takes a value for true: what is empty or zero is not.
fn truth(data: &Data) -> bool {
    match data {
        Data::Text(text) => !text.is_empty(),
        Data::Number(value) => *value != 0.0,
        Data::Truth(truth) => *truth,
        Data::Labels(labels) => *labels != Labels::empty(),
        Data::List(list) => !list.is_empty(),
        Data::Series(_) | Data::Alert => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let labels: Labels = [("job", "api"), ("instance", "h:9100")].into_iter().collect();
        let query = |text: &str| match text {
            "up" => Ok(vec![
                Series { labels: [("n", "b")].into_iter().collect(), value: 2.0 },
                Series { labels: [("n", "a")].into_iter().collect(), value: 1.5 },
            ]),
            "none" => Ok(Vec::new()),
            _ => Err("no such query".to_owned()),
        };
        let scope = Scope { labels: &labels, value: 1234.5678, query: &query };
        let said = Template::parse(text).map(|template| template.expand(&scope));
        assert_eq!(said.unwrap_or_else(|error| format!("refused: {error}")), expected, "{text}");
    }

    #[test]
    fn labels_values_and_pipelines_are_shown() {
        check("{{ $labels.job }} is {{$value}}", "api is 1234.5678");
        check("{{ .Labels.job }} {{ .Value }}", "api 1234.5678");
        check("no action", "no action");
        check("{{ $labels.nothing }}.", ".");
        check("{{ $value | humanize }}", "1.235k");
        check("{{ printf \"%.2f of %s\" $value $labels.job }}", "1234.57 of api");
        check("{{ $value | printf \"%.1f\" }}", "1234.6");
        check("{{ $labels.instance | stripPort | toUpper }}", "H");
        check("{{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}", "h");
        check("a {{- /* why */ -}} b", "ab");
        check("{{ \"x\" }}{{ `y` }}{{ 3 }}{{ true }}", "xy3true");
    }

    #[test]
    fn numbers_are_made_fit_for_people() {
        check("{{ humanize 0.000123 }} {{ humanize 12 }} {{ humanize 1e9 }}", "123u 12 1G");
        check("{{ humanize1024 2048 }} {{ humanize1024 5 }}", "2ki 5");
        check(
            "{{ humanizeDuration 90061 }} {{ humanizeDuration 61.5 }} {{ humanizeDuration 0.05 }}",
            "1d 1h 1m 1s 1m 1s 50ms",
        );
        check("{{ humanizePercentage 0.12345 }}", "12.35%");
        check("{{ humanizeTimestamp 0 }}", "1970-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn conditions_and_queries_work() {
        check("{{ if gt $value 1000.0 }}much{{ else }}little{{ end }}", "much");
        check("{{ if eq $labels.job \"x\" }}x{{ else if eq $labels.job \"api\" }}api{{ end }}", "api");
        check("{{ with_nothing }}", "refused: function \"with_nothing\" is not known");
        check("{{ query \"up\" | first | value }}", "2");
        check(
            "{{ range query \"up\" | sortByLabel \"n\" }}{{ .Labels.n }}={{ .Value }};{{ end }}",
            "a=1.5;b=2;",
        );
        check("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing");
        check("{{ query \"bad\" }}", "<error expanding template: no such query>");
        check(
            "{{ query \"none\" | first }}",
            "<error expanding template: first() called on vector with no elements>",
        );
    }

    #[test]
    fn what_is_no_template_is_refused() {
        check("{{ $labels.job", "refused: action has no end");
        check("{{ if $value }}x", "refused: if or range has no end");
        check("{{ end }}", "refused: end without if or range");
        check("{{ $nothing }}", "refused: variable $nothing is not known");
        check("{{ $labels. }}", "refused: a field has no name");
        check("{{ }}", "refused: an action is empty");
    }
}

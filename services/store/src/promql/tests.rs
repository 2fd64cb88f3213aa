//! Queries over known samples. Expected values follow Prometheus' documentation and test files
//! (promql/promqltest/testdata), worked out by hand where they depend on the samples.

use promql_parser::label::Matcher;

use super::{Grid, QueryError, Selection, Source, Value, evaluate, is_absent, parse, plain_number};
use crate::samples::Samples;
use crate::series::Labels;

/// Series in memory.
struct Memory(Vec<(Labels, Samples)>);

struct Chosen<'a>(Vec<&'a (Labels, Samples)>);

impl Source for Memory {
    fn select<'s>(&'s self, matchers: &[Matcher], _: i64, _: i64) -> Box<dyn Selection + 's> {
        let fits = |labels: &Labels| matchers.iter().all(|m| m.is_match(labels.get(&m.name)));
        Box::new(Chosen(self.0.iter().filter(|(labels, _)| fits(labels)).collect()))
    }
}

impl Selection for Chosen<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.0[index].0.clone()
    }

    fn read(&mut self, index: usize, from: i64, to: i64) -> Result<Samples, QueryError> {
        let mut samples = self.0[index].1.clone();
        samples.clip(from, to);
        Ok(samples)
    }
}

/// Reads lines of `selector: value value …`, a sample every minute from 0 on; `_` is no sample, `stale` a
/// staleness marker, `a+bxn` and `a-bxn` are n more samples by steps.
fn load(text: &str) -> Memory {
    let mut all = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (selector, values) = line.split_once(": ").unwrap();
        let Ok(promql_parser::parser::Expr::VectorSelector(selected)) = parse(selector) else {
            panic!("{selector}")
        };
        let name = selected.name.iter().map(|name| ("__name__".to_owned(), name.clone()));
        let labels = name.chain(selected.matchers.matchers.into_iter().map(|m| (m.name, m.value))).collect();
        let (mut samples, mut time) = (Samples::default(), 0);
        for value in values.split_whitespace() {
            for value in expand(value) {
                if let Some(value) = value {
                    samples.push(time, value);
                }
                time += 60_000;
            }
        }
        all.push((labels, samples));
    }
    Memory(all)
}

fn expand(text: &str) -> Vec<Option<f64>> {
    let number = |text: &str| text.parse::<f64>().unwrap();
    match text {
        "_" => vec![None],
        "stale" => vec![Some(f64::from_bits(0x7ff0000000000002))],
        _ => match text.split_once('x') {
            None => vec![Some(number(text))],
            Some((steps, count)) => {
                let sign = steps[1..].find(['+', '-']).unwrap() + 1;
                let (first, step) = (number(&steps[..sign]), number(&steps[sign..]));
                (0..=count.parse::<u32>().unwrap()).map(|n| Some(first + step * f64::from(n))).collect()
            }
        },
    }
}

fn show(result: Result<Value, QueryError>) -> String {
    let row = |values: &[f64]| -> String {
        let texts: Vec<_> =
            values.iter().map(|&v| if is_absent(v) { "_".into() } else { plain_number(v) }).collect();
        texts.join(" ")
    };
    match result {
        Ok(Value::Scalar(values)) => row(&values),
        Ok(Value::Text(text)) => text,
        Ok(Value::Vector(columns)) => {
            let lines: Vec<_> =
                columns.iter().map(|column| format!("{} {}", column.labels, row(&column.values))).collect();
            lines.join("; ")
        }
        Err(error) => format!("error: {error}"),
    }
}

fn run(memory: &Memory, query: &str, grid: Grid) -> String {
    show(parse(query).and_then(|expr| evaluate(memory, &expr, grid)))
}

/// Checks `query` against `expected` at a minute.
fn check_at(memory: &Memory, minute: f64, query: &str, expected: &str) {
    assert_eq!(run(memory, query, Grid::instant((minute * 60_000.0) as i64)), expected, "{query}");
}

const REQUESTS: &str = r#"
    http_requests{job="api",instance="0",group="production"}: 0+10x10
    http_requests{job="api",instance="1",group="production"}: 0+20x10
    http_requests{job="api",instance="0",group="canary"}: 0+30x10
    http_requests{job="app",instance="0",group="production"}: 0+50x10
    http_requests{job="app",instance="1",group="canary"}: 0+80x10
"#;

#[test]
fn selectors_look_back_five_minutes_and_no_further() {
    let memory = load("a: 1 2\n b: 1 stale _ 4\n c: _ _ NaN");
    let check = |minute, query, expected| check_at(&memory, minute, query, expected);
    check(1.0, "a", "a 2");
    check(5.99, "a", "a 2");
    check(6.0, "a", "");
    check(0.5, "b", "b 1");
    check(1.0, "b", "");
    check(2.0, "b", "");
    check(3.0, "b", "b 4");
    check(2.0, "c", "c NaN");
    check(2.0, "a offset 1m", "a 2");
    check(1.0, "a offset 1m", "a 1");
    check(0.0, "a offset -1m", "a 2");
    check(9.0, "a @ 60", "a 2");
    check(0.0, "a @ 30", "a 1");
    check(9.0, "a offset 1m @ 60", "a 1");
    check(1.0, r#"{__name__=~"a|b"}"#, "a 2");
    let grid = Grid { start: 0, end: 300_000, step: 60_000 };
    assert_eq!(run(&memory, "b", grid), "b 1 _ _ 4 4 4");
    assert_eq!(run(&memory, "a @ end()", grid), "a 2 2 2 2 2 2");
    assert_eq!(run(&memory, "a @ start()", grid), "a 1 1 1 1 1 1");
}

#[test]
fn ranges_are_open_on_the_left() {
    let memory = load("a: 0+1x10");
    let check = |query, expected| check_at(&memory, 10.0, query, expected);
    // (5m, 10m] holds the samples of minutes 6 to 10.
    check("count_over_time(a[5m])", "{} 5");
    check("sum_over_time(a[5m])", "{} 40");
    check("min_over_time(a[5m])", "{} 6");
    check("max_over_time(a[5m])", "{} 10");
    check("avg_over_time(a[5m])", "{} 8");
    check("last_over_time(a[5m])", "a 10");
    check("stdvar_over_time(a[5m])", "{} 2");
    check("quantile_over_time(0.25, a[5m])", "{} 7");
    check("present_over_time(a[5m])", "{} 1");
    check("changes(a[5m])", "{} 4");
    check("count_over_time(a[5m] offset 5m)", "{} 5");
    check("count_over_time(a[1m])", "{} 1");
    check("count_over_time(a[30s] offset 15s)", "");
    check("count_over_time(a[5m:1m])", "{} 5");
    check("max_over_time(a[5m:2m])", "{} 10");
    check("count_over_time(a[5m:2m])", "{} 3");
    check("sum_over_time((a * 2)[3m:1m])", "{} 54");
    check("max_over_time(rate(a[2m])[4m:1m])", "{} 0.016666666666666666");
}

#[test]
fn rates_are_extrapolated_as_prometheus_does() {
    let memory = load(
        "c: 0+60x10\n r: 0+60x3 0+60x3\n g: 10-1x10\n one: _ _ _ _ _ _ _ _ _ _ 5\n t: _ _ 100 160 _ 280 _ _ _ _ _",
    );
    let check = |query, expected| check_at(&memory, 10.0, query, expected);
    check("rate(c[5m])", "{} 1");
    check("increase(c[5m])", "{} 300");
    check("irate(c[5m])", "{} 1");
    check("idelta(c[5m])", "{} 60");
    check("delta(g[5m])", "{} -5");
    check("deriv(c[5m])", "{} 1");
    check("predict_linear(c[5m], 60)", "{} 660");
    check("resets(r[10m])", "{} 1");
    check("rate(one[5m])", "");
    check("irate(one[5m])", "");
    // Samples at 2, 3 and 5 minutes in (0, 10m]: 180 over 3 minutes, spacing 1.5 minutes on average. The start is 2
    // minutes away (more than 1.65): half a spacing is added, 0.75 minutes, below the 1.67 to zero. So at the end.
    check("increase(t[10m])", "{} 270");
    // A counter that began at 0 is not extrapolated to before it: (0, 10m] starts with 60 at minute 1 ...
    check_at(&memory, 10.0, "increase(c[10m])", "{} 600");
    // ... and (-0.5m, 1.5m] holds 0 and 60: nothing is added before zero, half a minute after the last.
    check_at(&memory, 1.5, "increase(c[2m])", "{} 90");
    // A reset adds what was lost: 60..180, 0..180 in (0, 7m] are 6 steps from minute 1 to 7: 120 + 180.
    check_at(&memory, 7.0, "increase(r[7m])", "{} 350");
}

#[test]
fn aggregations_group_by_labels() {
    let memory = load(REQUESTS);
    let check = |query, expected| check_at(&memory, 10.0, query, expected);
    check("sum(http_requests)", "{} 1900");
    check("sum by (job) (http_requests)", r#"{job="api"} 600; {job="app"} 1300"#);
    check("sum without (instance, group) (http_requests)", r#"{job="api"} 600; {job="app"} 1300"#);
    check("avg by (job) (http_requests)", r#"{job="api"} 200; {job="app"} 650"#);
    check("min by (group) (http_requests)", r#"{group="canary"} 300; {group="production"} 100"#);
    check("max(http_requests)", "{} 800");
    check("count by (group) (http_requests)", r#"{group="canary"} 2; {group="production"} 3"#);
    check("group(http_requests)", "{} 1");
    check("stdvar(http_requests{job=\"app\"})", "{} 22500");
    check("stddev(http_requests{job=\"app\"})", "{} 150");
    check("quantile(0.5, http_requests)", "{} 300");
    check(
        "topk(2, http_requests)",
        r#"http_requests{group="canary", instance="1", job="app"} 800; http_requests{group="production", instance="0", job="app"} 500"#,
    );
    check("bottomk(1, http_requests)", r#"http_requests{group="production", instance="0", job="api"} 100"#);
    check(
        "topk by (job) (1, http_requests)",
        r#"http_requests{group="canary", instance="0", job="api"} 300; http_requests{group="canary", instance="1", job="app"} 800"#,
    );
    check("topk(0, http_requests)", "");
    check("count_values(\"v\", http_requests > bool 400)", r#"{v="0"} 3; {v="1"} 2"#);
    check("sum by (job) (rate(http_requests[5m]))", r#"{job="api"} 1; {job="app"} 2.1666666666666665"#);
    check("sum(nothing)", "");
}

#[test]
fn binary_operators_match_series() {
    let memory = load(&format!(
        "{REQUESTS}\n limit{{job=\"api\"}}: 100 _ _ _ _ _ _ _ _ _ 100\n m: 0+1x10\n e{{job=\"api\",code=\"1\"}}: 0+3x10\n e{{job=\"api\",code=\"2\"}}: 0+6x10"
    ));
    let check = |query, expected| check_at(&memory, 10.0, query, expected);
    check("1 + 2 * 3 ^ 2", "19");
    check("-2 ^ 2", "-4");
    check("7 % 4", "3");
    check("-7 % 4", "-3");
    check("1 / 0", "+Inf");
    check("1 > bool 2", "0");
    check("m + 1", "{} 11");
    check("2 - m", "{} -8");
    check("-m", "{} -10");
    check("m > 5", "m 10");
    check("m > 50", "");
    check("m > bool 50", "{} 0");
    check("5 < m", "m 10");
    check("m == m", "m 10");
    check("sum(http_requests) / count(http_requests)", "{} 380");
    check("sum by (job) (http_requests) / on (job) limit", r#"{job="api"} 6"#);
    check("e / on (job) group_left () limit", r#"{code="1", job="api"} 0.3; {code="2", job="api"} 0.6"#);
    check(
        "e / ignoring (code) group_left () limit",
        r#"{code="1", job="api"} 0.3; {code="2", job="api"} 0.6"#,
    );
    check(
        "e / on (job) limit",
        "error: multiple matches for labels {job=\"api\"}: many-to-one matching must be explicit (group_left/group_right)",
    );
    check(
        "limit / on (job) e",
        "error: found duplicate series for the match group {job=\"api\"} on the right hand-side of the operation; many-to-many matching not allowed: matching labels must be unique on one side",
    );
    check("e and on (job) limit", r#"e{code="1", job="api"} 30; e{code="2", job="api"} 60"#);
    check("e unless on (code) e{code=\"1\"}", r#"e{code="2", job="api"} 60"#);
    check("m or limit", r#"limit{job="api"} 100; m 10"#);
    check("m or m", "m 10");
    check("vector(1) or m", "{} 1");
    check("e + e{code=\"1\"}", r#"{code="1", job="api"} 60"#);
    check("m + on () group_left () nothing", "");
}

#[test]
fn functions_of_vectors() {
    let memory = load("m: 0+1x10\n f{a=\"x-7\"}: 2.5 _ _ _ _ _ _ _ _ _ -2.5\n h: _ _ _ _ _ _ _ _ _ _ NaN");
    let check = |query, expected| check_at(&memory, 10.0, query, expected);
    check("abs(f)", r#"{a="x-7"} 2.5"#);
    check("ceil(f)", r#"{a="x-7"} -2"#);
    check("floor(f)", r#"{a="x-7"} -3"#);
    check("round(f)", r#"{a="x-7"} -2"#);
    check("round(m / 3, 0.1)", "{} 3.3");
    check("clamp(m, 2, 5)", "{} 5");
    check("clamp(m, 5, 2)", "");
    check("clamp_min(f, -1)", r#"{a="x-7"} -1"#);
    check("clamp_max(m, 3)", "{} 3");
    check("clamp_max(h, 3)", "{} NaN");
    check("sgn(f)", r#"{a="x-7"} -1"#);
    check("sqrt(m - 1)", "{} 3");
    check("scalar(m)", "10");
    check("scalar(nothing)", "NaN");
    check("vector(time())", "{} 600");
    check("timestamp(m offset 90s)", "{} 480");
    check("timestamp(m + 0)", "{} 600");
    check("absent(m)", "");
    check("absent(nothing{job=\"x\",a=~\"y\"})", r#"{job="x"} 1"#);
    check("absent_over_time(m[1m])", "");
    check("absent_over_time(nothing{job=\"x\"}[1m])", r#"{job="x"} 1"#);
    check("label_replace(f, \"b\", \"$2/$1\", \"a\", \"(.*)-(.*)\")", r#"f{a="x-7", b="7/x"} -2.5"#);
    check("label_replace(f, \"b\", \"q\", \"a\", \"x\")", r#"f{a="x-7"} -2.5"#);
    check("label_join(f, \"j\", \"+\", \"a\", \"a\")", r#"f{a="x-7", j="x-7+x-7"} -2.5"#);
    check("hour(vector(3600))", "{} 1");
    check("sort_desc({__name__=~\"m|f\"})", r#"m 10; f{a="x-7"} -2.5"#);
    check("\"text\"", "text");
}

#[test]
fn quantiles_of_classic_histograms_are_interpolated() {
    let memory = load(
        r#"b{le="0.1",x="a"}: 5
        b{le="0.2",x="a"}: 7
        b{le="+Inf",x="a"}: 10
        b{le="1",x="b"}: 0
        b{le="+Inf",x="b"}: 0
        n{le="1"}: 3"#,
    );
    let check = |query, expected| check_at(&memory, 0.0, query, expected);
    check("histogram_quantile(0.25, b{x=\"a\"})", r#"{x="a"} 0.05"#);
    check("histogram_quantile(0.6, b{x=\"a\"})", r#"{x="a"} 0.15000000000000002"#);
    check("histogram_quantile(0.9, b{x=\"a\"})", r#"{x="a"} 0.2"#);
    check("histogram_quantile(0.5, b{x=\"b\"})", r#"{x="b"} NaN"#);
    check("histogram_quantile(0.5, n)", "{} NaN");
    check("histogram_quantile(1.5, b{x=\"a\"})", r#"{x="a"} +Inf"#);
    check("histogram_quantile(-1, b{x=\"a\"})", r#"{x="a"} -Inf"#);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let memory = load("m: 1");
    let check = |query: &str, expected: &str| {
        let said = run(&memory, query, Grid::instant(0));
        assert!(said.starts_with("error: ") && said.contains(expected), "{query}: {said}");
    };
    check("histogram_count(m)", "function histogram_count() is not supported");
    check("histogram_avg(m)", "function histogram_avg() is not supported");
    check("limitk(1, m)", "aggregation limitk is not supported");
    check("m[5m]", "must be Scalar or instant Vector");
    check("m{", "parse error");
    check("nonsense(m)", "parse error");
    check("{a=~\".*\"}", "at least one non-empty matcher");
    check("{__name__=~\"m|n\"} + on () {__name__=~\"m\"} + m[5m]", "");
    check(&format!("{}m{}", "(".repeat(300), ")".repeat(300)), "nests deeper than 200");
    check(&"m+".repeat(9000), "at most 16384 are read");
    check(&format!("{}m", "-".repeat(16_000)), "nests deeper than 200");
    check("count_over_time(m[100y:1ms])", "subquery has");
    check("m{a=\"1\" or b=\"2\"}", "not supported");
}

#[test]
fn series_that_come_to_have_the_same_labels_are_an_error() {
    let memory = load("a: 1 _ _ _ _ _ _\n b: _ _ _ _ _ _ 2\n c: 1");
    let same = "rate({__name__=~\"a|c\"}[5m]) or -{__name__=~\"a|c\"}";
    assert_eq!(
        run(&memory, same, Grid::instant(0)),
        "error: vector cannot contain metrics with the same labelset"
    );
    let grid = Grid { start: 0, end: 360_000, step: 360_000 };
    assert_eq!(run(&memory, "-{__name__=~\"a|b\"}", grid), "{} -1 -2");
}

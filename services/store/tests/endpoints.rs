//! The endpoints beside queries, by the real program, in Prometheus' shapes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod store;

use serde_json::{Value, json};
use store::{Store, body, exchange, histogram_body, post, time_of};

/// A store with values 1 to 10 of two series, a second apart, and three histograms.
fn filled(data: &std::path::Path) -> Store {
    let store = Store::start(data, &[]);
    for value in 1..=10 {
        assert_eq!(post(store.port, "/api/v1/write", &body(0, 2, value)).unwrap().status, 204);
    }
    for value in [2, 4, 6] {
        assert_eq!(post(store.port, "/api/v1/write", &histogram_body("h", value)).unwrap().status, 204);
    }
    store
}

fn data(store: &Store, path: &str, parameters: &[(&str, &str)]) -> Value {
    let (status, mut answer) = store.get(path, parameters);
    assert_eq!((status, &answer["status"]), (200, &json!("success")), "{path}: {answer}");
    answer["data"].take()
}

#[test]
fn histograms_are_answered_with_their_buckets() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let (at, seconds) = (time_of(6), 1_700_000_006);
    let answer = data(&store, "/api/v1/query", &[("query", "h"), ("time", &at)]);
    let expected = json!([{ "metric": { "__name__": "h" },
        "histogram": [seconds, { "count": "6", "sum": "6", "buckets": [[0, "0.5", "1", "6"]] }] }]);
    assert_eq!(answer["result"], expected);
    let range =
        [("query", "histogram_count(increase(h[4s]))"), ("start", &*at), ("end", &*at), ("step", "1")];
    let answer = data(&store, "/api/v1/query_range", &range);
    assert_eq!(answer["result"], json!([{ "metric": {}, "values": [[seconds, "4"]] }]));
    assert_eq!(
        data(&store, "/api/v1/query", &[("query", "h[3s]"), ("time", &at)])["result"][0]["histograms"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn the_status_tells_what_runs_and_what_takes_the_most_series() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let tsdb = data(&store, "/api/v1/status/tsdb", &[("limit", "2")]);
    assert_eq!(tsdb["headStats"]["numSeries"], 3);
    assert_eq!(
        tsdb["seriesCountByMetricName"],
        json!([{ "name": "m", "value": 2 }, { "name": "h", "value": 1 }])
    );
    assert_eq!(tsdb["seriesCountByLabelValuePair"][0], json!({ "name": "__name__=m", "value": 2 }));
    let info = data(&store, "/api/v1/status/runtimeinfo", &[]);
    assert!(info["startTime"].as_str().unwrap().ends_with('Z') && info["corruptionCount"] == 0, "{info}");
    let flags = data(&store, "/api/v1/status/flags", &[]);
    assert_eq!(flags["storage.tsdb.path"].as_str(), folder.path().to_str());
    assert_eq!(data(&store, "/api/v1/status/buildinfo", &[])["application"], "vakt-store");
}

#[test]
fn queries_are_formatted_and_parsed_without_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path(), &[]);
    let formatted = data(&store, "/api/v1/format_query", &[("query", "sum(rate(a{b='c'}[5m]))by(d)/2")]);
    assert_eq!(formatted, json!("sum by (d) (rate(a{b=\"c\"}[5m])) / 2"));
    let tree = data(&store, "/api/v1/parse_query", &[("query", "a + on (x) b")]);
    assert_eq!((&tree["op"], &tree["matching"]["labels"]), (&json!("+"), &json!(["x"])));
    assert_eq!(tree["lhs"]["matchers"], json!([{ "name": "__name__", "value": "a", "type": "=" }]));
    assert_eq!(store.get("/api/v1/format_query", &[("query", "sum(")]).0, 400);
}

#[test]
fn what_was_pushed_as_text_is_described_and_federated() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path(), &[]);
    let text = b"# HELP reqs_total Requests.\n# TYPE reqs_total counter\nreqs_total{job=\"a\"} 5\n";
    let status = post(store.port, "/api/v1/import/prometheus", text).unwrap().status;
    assert!((200..300).contains(&status), "{status}");
    let described = data(&store, "/api/v1/metadata", &[("metric", "reqs_total")]);
    assert_eq!(described["reqs_total"][0]["type"], "counter");
    let answer = exchange(store.port, "GET", "/federate?match[]=reqs_total", b"").unwrap();
    let lines = String::from_utf8(answer.body).unwrap();
    assert!(lines.contains("# TYPE reqs_total untyped\nreqs_total{job=\"a\",instance=\"\"} 5 "), "{lines}");
    assert_eq!(data(&store, "/api/v1/query_exemplars", &[("query", "reqs_total")]), json!([]));
    assert_eq!(data(&store, "/api/v1/rules", &[]), json!({ "groups": [] }));
    assert_eq!(data(&store, "/api/v1/alerts", &[]), json!({ "alerts": [] }));
}

#[test]
fn remote_read_gives_the_samples_that_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let number = |field: u8, mut value: u64| {
        let mut bytes = vec![field << 3];
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let matcher = field(3, &[number(1, 0), field(2, b"n"), field(3, b"1")].concat());
    let query = [number(1, 1_700_000_003_000), number(2, 1_700_000_004_000), matcher].concat();
    let packed = snap::raw::Encoder::new().compress_vec(&field(1, &query)).unwrap();
    let answer = post(store.port, "/api/v1/read", &packed).unwrap();
    assert_eq!(answer.status, 200);
    let body = snap::raw::Decoder::new().decompress_vec(&answer.body).unwrap();
    let label = |name: &[u8], value: &[u8]| field(1, &[field(1, name), field(2, value)].concat());
    let sample = |value: f64, time: u64| {
        field(2, &[&[1 << 3 | 1][..], &value.to_le_bytes(), &number(2, time)].concat())
    };
    let series = [
        label(b"__name__", b"m"),
        label(b"n", b"1"),
        label(b"writer", b"0"),
        sample(3.0, 1_700_000_003_000),
        sample(4.0, 1_700_000_004_000),
    ];
    assert_eq!(body, field(1, &field(1, &series.concat())));
    assert_eq!(post(store.port, "/api/v1/read", b"nonsense").unwrap().status, 400);
}

//! The ways in, as clients use them: text, CSV and OTLP, packed or not, and what is answered.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;
use store::{Store, body};

/// POST with headers; the status, the answer's head in small letters, and its body.
fn push(store: &Store, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", store.port)).unwrap();
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{extra}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    (head[9..12].parse().unwrap(), head, bytes[end + 4..].to_vec())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn said(answer: &(u16, String, Vec<u8>)) -> String {
    String::from_utf8_lossy(&answer.2).into_owned()
}

#[test]
fn text_is_imported_with_its_times_back_to_1970() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::start(data.path(), &[]);
    let text = b"# TYPE load gauge\nload{host=\"a\"} 1.5 1000\nload{host=\"b\"} NaN 2000\n";
    let path = "/api/v1/import/prometheus?extra_label=via%3Dtest";
    assert_eq!(push(&store, path, &[("content-encoding", "gzip")], &gzip(text)).0, 204);
    let (_, answer) = store.get("/api/v1/query", &[("query", "load{via=\"test\"}[1h]"), ("time", "10")]);
    let series = |host: &str, time: i64, value: &str| json!({ "metric": { "__name__": "load", "host": host, "via": "test" }, "values": [[time, value]] });
    assert_eq!(answer["data"]["result"], json!([series("a", 1, "1.5"), series("b", 2, "NaN")]));

    let partly = push(&store, "/api/v1/import/prometheus", &[], b"good 1\nbad line here\n");
    assert_eq!(
        (partly.0, said(&partly).as_str()),
        (400, "1 samples stored, 1 dropped: line 2: \"line\" is no number\n")
    );
    assert_eq!(store.vector("good"), [1.0]);
}

#[test]
fn csv_is_imported_by_its_format() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::start(data.path(), &[]);
    let path = "/api/v1/import/csv?format=2:metric:ask,3:metric:bid,1:label:ticker,4:time:unix_ms";
    let zstd = zstd::bulk::compress(b"GOOG,1.5,2.5,1700000000000\nMSFT,3,4,1700000001000\n", 3).unwrap();
    assert_eq!(push(&store, path, &[("content-encoding", "zstd")], &zstd).0, 204);
    assert_eq!(store.vector("ask{ticker=\"GOOG\"} @ 1700000002"), [1.5]);
    assert_eq!(store.vector("sum(bid @ 1700000002)"), [6.5]);
    let without = push(&store, "/api/v1/import/csv", &[], b"1");
    assert!(without.0 == 400 && said(&without).contains("no format is given"), "{without:?}");
}

#[test]
fn otlp_answers_as_its_protocol_says() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::start(data.path(), &[]);
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let request = |temporality: u8| {
        let point = [
            &[3 << 3 | 1][..],
            &1_700_000_000_000_000_000u64.to_le_bytes(),
            &[6 << 3 | 1],
            &7u64.to_le_bytes(),
        ];
        let sum = [field(1, &point.concat()), vec![0x10, temporality, 0x18, 1]].concat();
        let metric = [field(1, b"jobs.done"), field(7, &sum)].concat();
        field(1, &field(2, &field(2, &metric)))
    };
    let protobuf = ("content-type", "application/x-protobuf");
    for path in ["/api/v1/otlp/v1/metrics", "/opentelemetry/v1/metrics"] {
        let answer = push(&store, path, &[protobuf, ("content-encoding", "gzip")], &gzip(&request(2)));
        assert_eq!((answer.0, answer.2.len()), (200, 0), "{}", said(&answer));
        assert!(answer.1.contains("content-type: application/x-protobuf"));
    }
    assert_eq!(store.vector("jobs_done_total @ 1700000001"), [7.0]);
    let partly = push(&store, "/api/v1/otlp/v1/metrics", &[protobuf], &request(1));
    assert!(partly.0 == 200 && said(&partly).contains("not of cumulative temporality"), "{partly:?}");
    let json = push(&store, "/api/v1/otlp/v1/metrics", &[("content-type", "application/json")], b"{}");
    assert_eq!(json.0, 415);
}

#[test]
fn remote_write_tells_what_was_written_and_refuses_what_it_does_not_speak() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::start(data.path(), &[]);
    let written = push(&store, "/api/v1/write", &[], &body(0, 3, 1));
    assert_eq!(written.0, 204);
    for line in ["samples-written: 3", "histograms-written: 0", "exemplars-written: 0"] {
        assert!(written.1.contains(&format!("x-prometheus-remote-write-{line}")), "{}", written.1);
    }
    let histogram = push(&store, "/api/v1/write", &[], &store::histogram_body("h", 4));
    assert!(histogram.1.contains("x-prometheus-remote-write-histograms-written: 1"), "{}", histogram.1);
    let kind = |kind| push(&store, "/api/v1/write", &[("content-type", kind)], &body(0, 1, 1)).0;
    assert_eq!(kind("application/x-protobuf;proto=io.prometheus.write.v9.Request"), 415);
    assert_eq!(kind("text/plain"), 415);
    // The body is of version 1.0.
    assert_eq!(kind("application/x-protobuf;proto=io.prometheus.write.v2.Request"), 400);
    assert_eq!(push(&store, "/api/v1/write", &[("content-encoding", "br")], b"x").0, 415);
    assert_eq!(push(&store, "/api/v1/write", &[("content-encoding", "gzip")], b"x").0, 400);
}

#[test]
fn a_source_at_its_limits_is_told_so_and_named_in_metrics() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::start(data.path(), &["--source-series-max", "2"]);
    let answer = push(&store, "/api/v1/write", &[], &body(0, 5, 1));
    assert_eq!(answer.0, 400);
    assert_eq!(said(&answer), "2 samples stored, 3 dropped: the source has added its limit of 2 series\n");
    let metrics = store::exchange(store.port, "GET", "/metrics", b"").unwrap().body;
    let metrics = String::from_utf8(metrics).unwrap();
    let line = "vakt_store_source_samples_dropped_series_total{source=\"127.0.0.1\"} 3";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

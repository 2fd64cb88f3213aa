//! The ways in, as clients use them: text, CSV and OTLP, packed or not, and what is answered.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;

use serde_json::json;
use store::{Store, body};
use vakt_store::ingest::WriteRequest;

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
    let path = "/api/v1/otlp/v1/metrics";
    let partly = push(&store, path, &[protobuf], &request(3));
    assert!(partly.0 == 200 && said(&partly).contains("is neither delta nor cumulative"), "{partly:?}");
    let broken = push(&store, path, &[protobuf], b"\x0a\x05");
    assert!(broken.0 == 400 && broken.2.starts_with(&[0x08, 3, 0x12]), "{broken:?}");
    assert_eq!(push(&store, path, &[("content-type", "text/plain")], b"x").0, 415);
}

#[test]
fn otlp_in_json_is_answered_in_json_and_its_deltas_add_up() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::start(data.path(), &[]);
    let push = |metric: serde_json::Value, packed: bool| {
        let body = json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] }).to_string();
        let body = if packed { gzip(body.as_bytes()) } else { body.into_bytes() };
        let packing = if packed { "gzip" } else { "identity" };
        let headers = [("content-type", "application/json"), ("content-encoding", packing)];
        let answer = push(&store, "/api/v1/otlp/v1/metrics", &headers, &body);
        assert!(answer.1.contains("content-type: application/json"), "{}", answer.1);
        (answer.0, serde_json::from_slice::<serde_json::Value>(&answer.2).unwrap())
    };
    let sum = |from: u64, to: u64, more: i64| {
        let nano = |seconds: u64| format!("{}", (1_700_000_000 + seconds) * 1_000_000_000);
        let point =
            json!({ "startTimeUnixNano": nano(from), "timeUnixNano": nano(to), "asInt": more.to_string() });
        let sum = json!({ "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point] });
        json!({ "name": "jobs.done", "sum": sum })
    };
    let whole = json!({ "partialSuccess": {} });
    assert_eq!(push(sum(0, 10, 5), false), (200, whole.clone()));
    assert_eq!(push(sum(10, 20, 7), true), (200, whole.clone()));
    // The answer was lost, so it is sent again.
    assert_eq!(push(sum(10, 20, 7), true), (200, whole));
    assert_eq!(store.vector("jobs_done_total @ 1700000021"), [12.0]);
    assert_eq!(store.vector("increase(jobs_done_total[30s] @ 1700000021) > bool 0"), [1.0]);
    let (status, answer) = push(sum(5, 15, 1), false);
    let said = "metric jobs_done_total: a delta point is not newer than the one before it";
    let expected = json!({ "partialSuccess": { "rejectedDataPoints": "1", "errorMessage": said } });
    assert_eq!((status, answer), (200, expected));
    let (status, answer) = push(json!({ "name": 5 }), false);
    assert_eq!((status, &answer["code"]), (400, &json!(3)));
    assert!(answer["message"].as_str().unwrap().contains("5 is no value of name"), "{answer}");
}

#[test]
fn after_a_restart_deltas_count_from_zero_as_a_counter_does_that_was_reset() {
    let data = tempfile::tempdir().unwrap();
    let point = |from: u64, to: u64, more: u64| {
        let nano = |seconds: u64| format!("{}", (1_700_000_000 + seconds) * 1_000_000_000);
        let point = json!({ "startTimeUnixNano": nano(from), "timeUnixNano": nano(to), "asInt": more });
        let sum = json!({ "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point] });
        let metric = json!({ "name": "c", "sum": sum });
        json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] }).to_string()
    };
    let send = |store: &Store, body: String| {
        let json = [("content-type", "application/json")];
        assert_eq!(push(store, "/opentelemetry/v1/metrics", &json, body.as_bytes()).0, 200);
    };
    let mut store = Store::start(data.path(), &[]);
    send(&store, point(0, 10, 3));
    send(&store, point(10, 20, 4));
    store.kill();
    let store = Store::start(data.path(), &[]);
    // More than before the restart, so that without the zero it would look like a step of one.
    send(&store, point(20, 30, 8));
    let (_, answer) = store.get("/api/v1/query", &[("query", "c_total[1m]"), ("time", "1700000030")]);
    let values = json!([
        [1_700_000_000.001, "0"],
        [1_700_000_010, "3"],
        [1_700_000_020, "7"],
        [1_700_000_020.001, "0"],
        [1_700_000_030, "8"]
    ]);
    assert_eq!(answer["data"]["result"][0]["values"], values);
    assert_eq!(store.vector("resets(c_total[1m] @ 1700000030)"), [1.0]);
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

/// An egress that takes everything, and tells what it was given: the target and the body.
fn egress(socket: &std::path::Path) -> mpsc::Receiver<(String, Vec<u8>)> {
    let listener = UnixListener::bind(socket).unwrap();
    let (given, taken) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
            let (head, start) = loop {
                let read = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..read]);
                if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                    break (String::from_utf8_lossy(&bytes[..end]).to_lowercase(), end + 4);
                }
                assert!(read > 0, "no head");
            };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = bytes[start..].to_vec();
            let have = body.len();
            body.resize(length.parse().unwrap(), 0);
            stream.read_exact(&mut body[have..]).unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
            let target = head.split(' ').nth(1).unwrap().to_owned();
            if given.send((target, body)).is_err() {
                return;
            }
        }
    });
    taken
}

#[test]
fn what_the_store_refuses_does_not_go_on_to_engines_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    let socket = data.path().join("egress.sock");
    let taken = egress(&socket);
    let to = format!("unix:{}", socket.display());
    let store = Store::start(data.path(), &["--source-series-max", "2", "--forward", &to]);
    let onward = || {
        let (target, body) = taken.recv().unwrap();
        let mut unpacked = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let mut request = WriteRequest::default();
        request.read_remote_write(&mut unpacked).unwrap();
        (target, request.frames.len(), request.samples.clone())
    };
    let sent = |series: u64, value: u64| push(&store, "/api/v1/write", &[], &body(0, series, value)).0;
    assert_eq!(sent(5, 1), 400);
    let time = 1_700_000_001_000;
    assert_eq!(onward(), ("/api/v1/write?samples=2".into(), 2, vec![(time, 1.0), (time, 1.0)]));
    assert_eq!(sent(2, 2), 204);
    let later = (time + 1000, 2.0);
    assert_eq!(onward(), ("/api/v1/write?samples=2".into(), 2, vec![later, later]));
    // A time that no store of ours takes.
    let text = format!("m{{n=\"0\",writer=\"0\"}} 5 {}\nm{{n=\"0\",writer=\"0\"}} 6 {time}\n", i64::MAX);
    assert_eq!(push(&store, "/api/v1/import/prometheus", &[], text.as_bytes()).0, 400);
    assert_eq!(onward(), ("/api/v1/write?samples=1".into(), 1, vec![(time, 6.0)]));
    // Nothing of this is stored, so nothing goes on.
    assert_eq!(push(&store, "/api/v1/import/prometheus", &[], b"other 1\n").0, 400);
    assert_eq!(sent(1, 3), 204);
    assert_eq!(onward(), ("/api/v1/write?samples=1".into(), 1, vec![(time + 2000, 3.0)]));
}

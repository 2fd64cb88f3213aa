//! Requests as a collector sends them.

use proptest::prelude::*;

use super::*;
use crate::histogram::{Histogram, ResetHint};
use crate::ingest::body::UNPACKED_BYTES_MAX;
use crate::protobuf::{put_varint, zigzag};
use crate::samples::STALE_NAN;
use crate::series::canonical;

fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    put_varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

fn fixed(number: u8, word: u64) -> Vec<u8> {
    [&[number << 3 | 1], &word.to_le_bytes()[..]].concat()
}

fn double(number: u8, value: f64) -> Vec<u8> {
    fixed(number, value.to_bits())
}

fn int(number: u8, value: u64) -> Vec<u8> {
    let mut out = vec![number << 3];
    put_varint(value, &mut out);
    out
}

fn attribute(number: u8, key: &str, value: &str) -> Vec<u8> {
    bytes(number, &[bytes(1, key.as_bytes()), bytes(2, &bytes(1, value.as_bytes()))].concat())
}

/// One metric of a resource that is called shop/api and runs on host h.
fn request(name: &str, unit: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let resource = [
        attribute(1, "service.name", "api"),
        attribute(1, "service.namespace", "shop"),
        attribute(1, "host.name", "h"),
    ];
    let metric =
        [bytes(1, name.as_bytes()), bytes(2, b"what it is"), bytes(3, unit.as_bytes()), bytes(kind, data)];
    let scope = bytes(2, &bytes(2, &metric.concat()));
    bytes(1, &[bytes(1, &resource.concat()), scope].concat())
}

const TIME: u64 = 5_000_000_000;

fn read(body: &[u8]) -> WriteRequest {
    let mut request = WriteRequest::default();
    request.read_otlp(body, &mut Deltas::default()).unwrap();
    request
}

/// Every float with its series, in order.
fn floats(request: &WriteRequest) -> Vec<String> {
    let one = |frame: &crate::ingest::Frame| {
        let labels: crate::series::Labels =
            canonical(&request.labels(frame).unwrap()).unwrap().into_iter().collect();
        request.samples[frame.samples.clone()]
            .iter()
            .map(|(t, v)| format!("{labels} {v} {t}"))
            .collect::<Vec<_>>()
    };
    request.frames.iter().flat_map(one).collect()
}

#[test]
fn a_sum_becomes_a_counter_and_its_resource_target_info() {
    let exemplar = [fixed(2, TIME), double(3, 0.5), bytes(5, &[0xab; 16]), attribute(7, "k", "v")].concat();
    let point =
        [fixed(3, TIME), fixed(6, 7), attribute(7, "http.method", "GET"), bytes(5, &exemplar)].concat();
    let read = read(&request("http.requests", "1", 7, &[bytes(1, &point), int(2, 2), int(3, 1)].concat()));
    assert_eq!(
        floats(&read),
        [
            r#"http_requests_total{http_method="GET", job="shop/api"} 7 5000"#,
            r#"target_info{host_name="h", job="shop/api"} 1 5000"#,
        ]
    );
    let exemplar = &read.exemplars[0];
    assert_eq!((exemplar.frame, exemplar.time, exemplar.value), (0, 5000, 0.5));
    let labels = [("k".to_owned(), "v".to_owned()), ("trace_id".to_owned(), "ab".repeat(16))];
    assert_eq!(exemplar.labels, labels);
    let about = &read.metadata[0];
    assert_eq!((&*about.name, about.kind, &*about.help), ("http_requests_total", "counter", "what it is"));
}

#[test]
fn a_gauge_without_a_value_is_a_marker_of_staleness() {
    let point = [fixed(3, TIME), double(4, 1.0), int(8, 1)].concat();
    let read = read(&request("g", "By", 5, &bytes(1, &point)));
    assert_eq!(read.samples[0].1.to_bits(), STALE_NAN);
    assert!(floats(&read)[0].starts_with("g_bytes{"));
}

#[test]
fn a_histogram_with_bounds_becomes_cumulative_buckets() {
    let words = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let bounds = [0.005f64, 10.0].map(f64::to_bits);
    let point = [
        fixed(3, TIME),
        fixed(4, 6),
        double(5, 12.5),
        bytes(6, &words(&[1, 2, 3])),
        bytes(7, &words(&bounds)),
        attribute(9, "a", "b"),
    ];
    let read = read(&request("d", "s", 9, &[bytes(1, &point.concat()), int(2, 2)].concat()));
    let tail = |le: &str| format!(r#"d_seconds_bucket{{a="b", job="shop/api", le="{le}"}}"#);
    assert_eq!(
        floats(&read)[..5],
        [
            r#"d_seconds_sum{a="b", job="shop/api"} 12.5 5000"#.to_owned(),
            r#"d_seconds_count{a="b", job="shop/api"} 6 5000"#.to_owned(),
            format!("{} 1 5000", tail("0.005")),
            format!("{} 3 5000", tail("10")),
            format!("{} 6 5000", tail("+Inf")),
        ]
    );
}

#[test]
fn an_exponential_histogram_becomes_a_native_one() {
    let side = |offset: i64, counts: &[u8]| [int(1, zigzag(offset)), bytes(2, counts)].concat();
    let point = |scale: i64| {
        let parts = [
            fixed(3, TIME),
            fixed(4, 10),
            double(5, 9.0),
            int(6, zigzag(scale)),
            fixed(7, 1),
            bytes(8, &side(-1, &[2, 0, 4])),
            bytes(9, &side(0, &[3])),
        ];
        bytes(1, &parts.concat())
    };
    let read_at = |scale| read(&request("e", "", 10, &[point(scale), int(2, 2)].concat()));
    let (time, histogram) = read_at(3).histograms[0].clone();
    assert_eq!((time, histogram.schema, histogram.count, histogram.sum), (5000, 3, 10.0, 9.0));
    assert_eq!((histogram.zero_count, histogram.zero_threshold), (1.0, 1e-128));
    assert_eq!(histogram.positive.iter().collect::<Vec<_>>(), [(0, 2.0), (1, 0.0), (2, 4.0)]);
    assert_eq!(histogram.negative.iter().collect::<Vec<_>>(), [(1, 3.0)]);
    // Two scales finer than can be kept: four neighbours become one.
    let finer: Histogram = read_at(10).histograms[0].1.clone();
    assert_eq!((finer.schema, finer.positive.iter().collect::<Vec<_>>()), (8, vec![(0, 2.0), (1, 4.0)]));
    let coarse = read_at(-5);
    assert!(coarse.histograms.is_empty() && coarse.refused.1.unwrap().contains("scale -5"));
}

#[test]
fn a_summary_becomes_quantiles() {
    let quantile = bytes(6, &[double(1, 0.99), double(2, 3.5)].concat());
    let point = [fixed(3, TIME), fixed(4, 2), double(5, 4.0), quantile].concat();
    let read = read(&request("s", "", 11, &bytes(1, &point)));
    assert_eq!(
        floats(&read)[..3],
        [
            r#"s_sum{job="shop/api"} 4 5000"#,
            r#"s_count{job="shop/api"} 2 5000"#,
            r#"s{job="shop/api", quantile="0.99"} 3.5 5000"#,
        ]
    );
}

/// A point of a sum from one second to another.
fn counted(from: u64, to: u64, more: u64) -> Vec<u8> {
    let point = [fixed(2, from * 1_000_000_000), fixed(3, to * 1_000_000_000), fixed(6, more)];
    bytes(1, &point.concat())
}

#[test]
fn delta_points_add_up_across_requests_and_begin_with_a_zero() {
    let mut deltas = Deltas::default();
    let mut read = |points: &[u8], monotonic| {
        let mut read = WriteRequest::default();
        let data = [points, &int(2, 1), &int(3, monotonic)].concat();
        read.read_otlp(&request("c", "", 7, &data), &mut deltas).unwrap();
        let mut found = floats(&read);
        found.retain(|one| !one.starts_with("target_info"));
        (found, read.refused)
    };
    let total = |value, time| format!(r#"c_total{{job="shop/api"}} {value} {time}"#);
    let (found, refused) = read(&[counted(10, 20, 5), counted(20, 30, 7)].concat(), 1);
    assert_eq!((found, refused.0), (vec![total(0, 10_001), total(5, 20_000), total(12, 30_000)], 0));
    let (found, refused) = read(&[counted(20, 25, 1), counted(30, 40, 1)].concat(), 1);
    assert_eq!(found, [total(13, 40_000)]);
    assert_eq!(
        refused,
        (1, Some("metric c_total: a delta point is not newer than the one before it".into()))
    );
    // A level that may fall has no zero.
    let (found, _) = read(&counted(10, 20, 5), 0);
    assert_eq!(found, [r#"c{job="shop/api"} 5 20000"#]);
}

#[test]
fn delta_histograms_add_up_and_a_native_one_says_where_it_began() {
    let words = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let classic = |from: u64, counts: &[u64]| {
        let time = [fixed(2, from * 1_000_000_000), fixed(3, (from + 1) * 1_000_000_000)].concat();
        let count = counts.iter().sum();
        let parts = [time, fixed(4, count), double(5, 0.5), bytes(6, &words(counts))];
        bytes(1, &[parts.concat(), bytes(7, &words(&[1f64.to_bits()]))].concat())
    };
    let read = read(&request("d", "", 9, &[classic(1, &[1, 2]), classic(2, &[3, 4]), int(2, 1)].concat()));
    let found = floats(&read);
    let of =
        |name: &str| found.iter().filter(|one| one.starts_with(name)).map(String::as_str).collect::<Vec<_>>();
    let sums = [
        r#"d_sum{job="shop/api"} 0 1001"#,
        r#"d_sum{job="shop/api"} 0.5 2000"#,
        r#"d_sum{job="shop/api"} 1 3000"#,
    ];
    assert_eq!(of("d_sum"), sums);
    let bucket = |le: &str, value, time| format!(r#"d_bucket{{job="shop/api", le="{le}"}} {value} {time}"#);
    let expected = [
        ("1", 0, 1001),
        ("1", 1, 2000),
        ("+Inf", 0, 1001),
        ("+Inf", 3, 2000),
        ("1", 4, 3000),
        ("+Inf", 10, 3000),
    ];
    assert_eq!(of("d_bucket"), expected.map(|(le, value, time)| bucket(le, value, time)));

    let native = |from: u64, counts: &[u8]| {
        let time = [fixed(2, from * 1_000_000_000), fixed(3, (from + 1) * 1_000_000_000)].concat();
        let count = counts.iter().map(|count| u64::from(*count)).sum();
        let side = [int(1, zigzag(0)), bytes(2, counts)].concat();
        bytes(1, &[time, fixed(4, count), double(5, 2.0), bytes(8, &side)].concat())
    };
    let request = request("e", "", 10, &[native(1, &[1, 2]), native(2, &[0, 0, 4]), int(2, 1)].concat());
    let read = self::read(&request);
    let told = |(time, histogram): &(i64, Histogram)| {
        (*time, histogram.count, histogram.sum, histogram.reset_hint, histogram.integer)
    };
    let expected = [(2000, 3.0, 2.0, ResetHint::Reset, true), (3000, 7.0, 4.0, ResetHint::Unknown, true)];
    assert_eq!(read.histograms.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn a_temporality_that_is_none_is_counted_and_named() {
    let point = bytes(1, &[fixed(3, TIME), fixed(6, 7)].concat());
    let read = read(&request("c", "", 7, &[point.clone(), point, int(2, 3), int(3, 1)].concat()));
    assert_eq!((read.frames.len(), read.refused.0), (0, 2));
    assert!(read.refused.1.unwrap().contains("c_total: temporality 3 is neither delta nor cumulative"));
}

/// As the examples of opentelemetry-proto have it: scopes, snake case nowhere, integers as numbers and as text.
const EXAMPLE: &str = r#"{"resourceMetrics": [{
  "resource": {"attributes": [
    {"key": "service.name", "value": {"stringValue": "api"}},
    {"key": "service.namespace", "value": {"stringValue": "shop"}},
    {"key": "host.name", "value": {"stringValue": "h"}}], "droppedAttributesCount": 0},
  "scopeMetrics": [{
    "scope": {"name": "my.library", "version": "1.0.0", "attributes": [{"key": "a", "value": {"boolValue": true}}]},
    "schemaUrl": "x",
    "metrics": [METRIC]
  }]
}], "more": [{"unknown": [1, {"x": null}]}]}"#;

fn read_json(metric: &str) -> WriteRequest {
    let mut request = WriteRequest::default();
    let body = EXAMPLE.replace("METRIC", metric);
    request.read_otlp_json(body.as_bytes(), &mut Deltas::default()).unwrap();
    request
}

/// Reads the same metric in both forms; they must be the same.
fn check_same(json: &str, protobuf: &[u8]) {
    let (json, protobuf) = (read_json(json), read(protobuf));
    assert_eq!(floats(&json), floats(&protobuf));
    assert_eq!(json.histograms, protobuf.histograms);
    assert_eq!((json.metadata, json.exemplars), (protobuf.metadata, protobuf.exemplars));
    assert_eq!(json.refused, protobuf.refused);
}

#[test]
fn a_sum_in_json_is_the_sum_in_protobuf() {
    let exemplar =
        [fixed(2, TIME), double(3, 0.5), bytes(4, &[1, 0xab]), bytes(5, &[0xab; 16]), attribute(7, "k", "v")];
    let any = |content: &[u8]| bytes(7, &[bytes(1, b"list"), bytes(2, content)].concat());
    let list = bytes(5, &[bytes(1, &int(3, 7)), bytes(1, &bytes(7, b"foob")), bytes(1, &int(2, 1))].concat());
    let point =
        [fixed(2, TIME - 5), fixed(3, TIME), fixed(6, (-7i64).cast_unsigned()), attribute(7, "a", "GET")];
    let point = [point.concat(), any(&list), bytes(5, &exemplar.concat())].concat();
    let json = r#"{"name": "http.requests", "unit": "1", "description": "what it is", "sum": {
        "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{
          "asInt": "-7", "startTimeUnixNano": "4999999995", "timeUnixNano": 5000000000,
          "attributes": [{"key": "a", "value": {"stringValue": "GET"}},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "7"}, {"bytesValue": "Zm9vYg=="}, {"boolValue": true}]}}}],
          "exemplars": [{"timeUnixNano": "5000000000", "asDouble": 0.5, "spanId": "01AB", "traceId": "abababababababababababababababab",
            "filteredAttributes": [{"key": "k", "value": {"stringValue": "v"}}]}]
        }]}}"#;
    check_same(json, &request("http.requests", "1", 7, &[bytes(1, &point), int(2, 2), int(3, 1)].concat()));
    let deltas = json.replace(r#""aggregationTemporality": 2"#, r#""aggregationTemporality": 1"#);
    check_same(
        &deltas,
        &request("http.requests", "1", 7, &[bytes(1, &point), int(2, 1), int(3, 1)].concat()),
    );
}

#[test]
fn other_metrics_in_json_are_those_in_protobuf() {
    let point = [fixed(3, TIME), double(4, 10.0), int(8, 1)].concat();
    let json = r#"{"name": "g", "unit": "By", "description": "what it is", "gauge": {"dataPoints": [
        {"asDouble": 10, "timeUnixNano": "5000000000", "flags": 1, "attributes": null}]}}"#;
    let (json, protobuf) = (read_json(json), read(&request("g", "By", 5, &bytes(1, &point))));
    assert_eq!(json.samples[0].1.to_bits(), protobuf.samples[0].1.to_bits());

    let words = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let bounds = [-0.5f64, 10.0].map(f64::to_bits);
    let point = [
        fixed(3, TIME),
        fixed(4, 6),
        double(5, 12.5),
        bytes(6, &words(&[1, 2, 3])),
        bytes(7, &words(&bounds)),
    ];
    let json = r#"{"name": "d", "unit": "s", "description": "what it is", "histogram": {"aggregationTemporality": 2, "dataPoints": [
        {"timeUnixNano": "5000000000", "count": "6", "sum": "12.5", "bucketCounts": ["1", 2, "3"], "explicitBounds": [-5e-1, 10], "min": 1}]}}"#;
    check_same(json, &request("d", "s", 9, &[bytes(1, &point.concat()), int(2, 2)].concat()));

    let side = |offset: i64, counts: &[u8]| [int(1, zigzag(offset)), bytes(2, counts)].concat();
    let point = [
        fixed(3, TIME),
        fixed(4, 10),
        double(5, 9.0),
        int(6, zigzag(3)),
        fixed(7, 1),
        bytes(8, &side(-1, &[2, 0, 4])),
        bytes(9, &side(0, &[3])),
        double(14, 0.25),
    ];
    let json = r#"{"name": "e", "description": "what it is", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
        {"timeUnixNano": "5000000000", "count": "10", "sum": 9.0, "scale": 3, "zeroCount": "1", "zeroThreshold": 0.25,
         "positive": {"offset": -1, "bucketCounts": ["2", "0", 4]}, "negative": {"offset": 0, "bucketCounts": [3]}}]}}"#;
    check_same(json, &request("e", "", 10, &[bytes(1, &point.concat()), int(2, 2)].concat()));

    let quantile = bytes(6, &[double(1, 0.99), double(2, f64::INFINITY)].concat());
    let point = [fixed(3, TIME), fixed(4, 2), double(5, 4.0), quantile].concat();
    let json = r#"{"name": "s", "description": "what it is", "summary": {"dataPoints": [{"timeUnixNano": "5000000000", "count": 2,
        "sum": 4, "quantileValues": [{"quantile": 0.99, "value": "Infinity"}]}]}}"#;
    check_same(json, &request("s", "", 11, &bytes(1, &point)));
}

#[test]
fn what_is_wrong_with_a_body_in_json_is_told_with_its_place() {
    let check = |body: &str, expected: &str| {
        let mut request = WriteRequest::default();
        let said = request.read_otlp_json(body.as_bytes(), &mut Deltas::default()).unwrap_err().to_string();
        assert!(
            said.starts_with("body is no OTLP metrics request in JSON: ") && said.contains(expected),
            "{said}"
        );
    };
    check("", "EOF");
    check("[]", "expected an object");
    check("{} {}", "trailing characters at line 1 column 4");
    check(r#"{"resourceMetrics": {}}"#, "an object is no value of resourceMetrics");
    let point =
        |point: &str| EXAMPLE.replace("METRIC", &format!(r#"{{"gauge": {{"dataPoints": [{point}]}}}}"#));
    check(&point(r#"{"asInt": 1.5}"#), "1.5 is no value of asInt");
    check(&point(r#"{"asInt": "9223372036854775808"}"#), "9223372036854775808 is no value of asInt");
    check(&point(r#"{"timeUnixNano": -1}"#), "-1 is no value of timeUnixNano");
    check(&point(r#"{"asDouble": "inf"}"#), "\"inf\" is no value of asDouble");
    check(&point(r#"{"asDouble": [1]}"#), "an array is no value of asDouble");
    check(&point(r#"{"exemplars": [{"traceId": "xy"}]}"#), "\"xy\" is no value of traceId");
    check(&point(r#"{"attributes": [{"key": 5}]}"#), "5 is no value of key");
    let deep = r#"{"arrayValue": {"values": ["#.repeat(200);
    check(&point(&format!(r#"{{"attributes": [{{"value": {deep}"#)), "recursion limit exceeded");
    // Two bytes each become nine.
    let many =
        format!(r#"{{"histogram": {{"dataPoints": [{{"bucketCounts": [{}1]}}]}}}}"#, "1,".repeat(4 << 20));
    check(&EXAMPLE.replace("METRIC", &many), "bytes as protobuf; send it in parts");
}

#[test]
fn what_a_small_body_unfolds_to_is_bounded() {
    // One attribute of 1 MiB, which each of 100 points would have.
    let long = "x".repeat(1 << 20);
    let point = bytes(1, &[fixed(3, TIME), attribute(7, "a", &long)].concat());
    let body = request("g", "", 5, &point.repeat(40));
    assert!(body.len() > UNPACKED_BYTES_MAX);
    let said = WriteRequest::default().read_otlp(&body, &mut Deltas::default()).unwrap_err().to_string();
    assert!(said.contains("bytes of labels"), "{said}");
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(raw: Vec<u8>, kind in prop::sample::select(vec![5u8, 7, 9, 10, 11]), delta in 1u64..3) {
        let mut deltas = Deltas::default();
        let mut read = |body: &[u8]| drop(WriteRequest::default().read_otlp(body, &mut deltas));
        read(&raw);
        read(&request("m", "s", kind, &raw));
        read(&request("m", "s", kind, &[bytes(1, &raw), int(2, delta)].concat()));
        let _ = WriteRequest::default().read_otlp_json(&raw, &mut Deltas::default());
    }
}

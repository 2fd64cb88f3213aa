//! Requests as a collector sends them.

use proptest::prelude::*;

use super::*;
use crate::histogram::Histogram;
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
    request.read_otlp(body).unwrap();
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

#[test]
fn delta_points_are_counted_and_named() {
    let point = bytes(1, &[fixed(3, TIME), fixed(6, 7)].concat());
    let read = read(&request("c", "", 7, &[point.clone(), point, int(2, 1), int(3, 1)].concat()));
    assert_eq!((read.frames.len(), read.refused.0), (0, 2));
    assert!(read.refused.1.unwrap().contains("c_total is not of cumulative temporality"));
}

#[test]
fn what_a_small_body_unfolds_to_is_bounded() {
    // One attribute of 1 MiB, which each of 100 points would have.
    let long = "x".repeat(1 << 20);
    let point = bytes(1, &[fixed(3, TIME), attribute(7, "a", &long)].concat());
    let body = request("g", "", 5, &point.repeat(40));
    assert!(body.len() > UNPACKED_BYTES_MAX);
    let said = WriteRequest::default().read_otlp(&body).unwrap_err().to_string();
    assert!(said.contains("bytes of labels"), "{said}");
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(raw: Vec<u8>, kind in prop::sample::select(vec![5u8, 7, 9, 10, 11])) {
        let _ = WriteRequest::default().read_otlp(&raw);
        let _ = WriteRequest::default().read_otlp(&request("m", "s", kind, &raw));
        let _ = WriteRequest::default().read_otlp(&request("m", "s", kind, &[bytes(1, &raw), int(2, 2)].concat()));
    }
}

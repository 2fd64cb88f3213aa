//! What a store must live through, by the real program: a flood of series that never come again.
//!
//! `VAKT_TEST_LONG` (`make test-long`) floods with 1,200,000 series against the default limit of a million.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use store::{Store, number, post};
use vakt_wire::remote_write::{TimeSeries, encode};

/// Series of a request of the flood.
const EACH: u64 = 2_000;

/// Memory that a series may take besides what the program has anyway: 200 bytes of key, 140 of tables, 100 of a hot sample, and
/// what the allocator and growing tables leave empty.
const SERIES_BYTES_MAX: u64 = 1_100;

/// Memory of the program without series: itself, two windows, buffers.
const BASE_BYTES_MAX: u64 = 64 << 20;

fn main() -> ExitCode {
    let flood =
        Trial::test("a flood of series ends at the limit in bounded memory and nobody else feels it", || {
            match std::env::var_os("VAKT_TEST_LONG") {
                Some(_) => flood(1_200_000, 1_000_000),
                None => flood(30_000, 10_000),
            }
            Ok(())
        });
    libtest_mimic::run(&Arguments::from_args(), vec![flood]).exit_code()
}

fn label(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

const BEGIN_MS: i64 = 1_700_000_000_000;

/// One sample of the series that goes on through everything; whether it was acknowledged.
fn calm(store: &Store, n: i64) -> bool {
    let labels = vec![label("__name__", "calm")];
    let one = TimeSeries { labels, samples: vec![(n as f64, BEGIN_MS + n * 1000)] };
    post(store.port, "/api/v1/write", &encode(&[one]).unwrap()).is_ok_and(|answer| answer.status == 204)
}

fn flood(series: u64, limit: u64) {
    let data = tempfile::tempdir().unwrap();
    let max = limit.to_string();
    let flags = ["--series-max", &max, "--source-series-max", &max, "--source-rate-max", "100000000"];
    let flags = [&flags[..], &["--web.enable-admin-api"]].concat();
    let mut store = Store::start(data.path(), &flags);
    assert!(calm(&store, 0));
    let (mut refused, mut said) = (0, String::new());
    for request in 0..series / EACH {
        let one = |n: u64| {
            let id = request * EACH + n;
            let labels = vec![
                label("__name__", "attack"),
                label("address", format!("10.{}.{}.{}", id >> 16 & 255, id >> 8 & 255, id & 255)),
                label("id", format!("{:016x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
                label("instance", format!("host-{}", id % 97)),
                label("job", "flood"),
                label("path", format!("/some/path/of/a/user/{}", id % 4099)),
            ];
            TimeSeries { labels, samples: vec![(1.0, BEGIN_MS + request as i64)] }
        };
        let body = encode(&(0..EACH).map(one).collect::<Vec<_>>()).unwrap();
        let answer = loop {
            let answer = post(store.port, "/api/v1/write", &body).unwrap();
            // Blocks cannot be written as fast as a flood fills memory: it is told to come again.
            if answer.status != 503 {
                break answer;
            }
            std::thread::yield_now();
        };
        refused += u64::from(answer.status == 400);
        said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(calm(&store, request as i64 + 1), "request {request}");
    }
    let calm_count = series / EACH + 1;
    assert!(refused > 0 && said.contains("its limit of"), "{refused} refused: {said}");
    assert_eq!(number(&store, "vakt_store_series"), limit);
    let peak = store.peak_rss_bytes();
    let bound = BASE_BYTES_MAX + limit * SERIES_BYTES_MAX;
    eprintln!("{limit} of {series} series: {} MiB at the most, bound {} MiB", peak >> 20, bound >> 20);
    assert!(peak <= bound, "{peak} bytes, more than {bound}");
    store.kill();
    let store = Store::start(data.path(), &flags);
    assert_eq!(store.vector("count_over_time(calm[100y])"), [calm_count as f64]);
    // Deleting the flood makes room at once.
    let path = "/api/v1/admin/tsdb/delete_series?match[]=attack";
    assert_eq!(post(store.port, path, b"").unwrap().status, 204);
    assert_eq!(number(&store, "vakt_store_series"), 1);
    let after = TimeSeries { labels: vec![label("__name__", "after")], samples: vec![(1.0, BEGIN_MS)] };
    assert_eq!(post(store.port, "/api/v1/write", &encode(&[after]).unwrap()).unwrap().status, 204);
}

//! The real binary on the real machine.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

fn once(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vakt-collector")).arg("once").args(arguments).output().unwrap()
}

/// Reads an exposition strictly by the rules of OpenMetrics 1.0, and returns each sample's value.
fn openmetrics(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF and a line end");
    let (mut samples, mut families, mut current) =
        (BTreeMap::new(), BTreeSet::new(), (String::new(), String::new()));
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram", "unknown"].contains(&kind), "{line}");
            assert!(families.insert(name.to_owned()), "family {name} stands twice");
            current = (name.to_owned(), kind.to_owned());
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(&format!("{} ", current.0)), "{line} is not below its type");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let suffix =
            name.strip_prefix(&current.0).unwrap_or_else(|| panic!("{line} is not of family {}", current.0));
        let allowed: &[&str] = match current.1.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "{line}: a {} has no {suffix:?}", current.1);
        check_labels(labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}")));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} stands twice");
    }
    samples
}

/// `name="value",…` with names of letters, digits and `_`, and quotes, backslashes and line ends escaped.
fn check_labels(text: &str) {
    let (mut rest, mut seen) = (text, BTreeSet::new());
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty(), "{text}");
        assert!(seen.insert(name), "{text}: {name} twice");
        let mut end = 0;
        let bytes = after.as_bytes();
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn printed(output: Output) -> BTreeMap<String, f64> {
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    openmetrics(&text)
}

#[test]
fn everything_is_printed_as_openmetrics() {
    let samples = printed(once(&[]));
    for source in ["cpu", "loadavg", "meminfo", "netdev", "stat", "time", "uname", "vmstat"] {
        let success = format!("node_scrape_collector_success{{collector=\"{source}\"}}");
        assert_eq!(samples.get(&success), Some(&1.0), "{source}");
    }
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(samples["node_memory_MemTotal_bytes"], total * 1024.0);
    assert!(samples["node_context_switches_total"] > 0.0);
}

#[test]
fn only_the_families_that_were_asked_for_are_printed() {
    let samples = printed(once(&["--families", "loadavg,uname"]));
    let others: Vec<_> = samples
        .keys()
        .filter(|name| {
            !["node_load", "node_uname_info", "node_scrape_collector"].iter().any(|own| name.starts_with(own))
        })
        .collect();
    assert!(others.is_empty() && samples.contains_key("node_load1"), "{others:?}");
    let refused = once(&["--families", "stranger"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there are arp, bcache"));
}

#[test]
fn ebpf_is_printed_or_the_reason_is_given_and_nothing_stays_behind() {
    let before = programs();
    // A connection and a synced file while it measures.
    let provoking = std::thread::spawn(|| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        while std::time::Instant::now() < until {
            let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop((listener.accept().unwrap(), stream));
            let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("provoked");
            std::fs::write(&path, "x").unwrap();
            std::fs::File::open(&path).unwrap().sync_all().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    let output = once(&["--families", "time", "--ebpf", "1s"]);
    provoking.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let samples = printed(output);
    for (group, metric) in [
        ("runqlat", "vakt_runqueue_latency_seconds_count"),
        ("blkio", "vakt_disk_latency_seconds_count"),
        ("tcp", "vakt_tcp_connect_seconds_count"),
        ("process", "vakt_process_starts_total"),
        ("irq", "vakt_interrupts_total"),
    ] {
        let values: Vec<f64> =
            samples.iter().filter(|(name, _)| name.starts_with(metric)).map(|(_, value)| *value).collect();
        match samples[&format!("vakt_ebpf_available{{group=\"{group}\"}}")] {
            1.0 if group == "process" => assert_eq!(values.len(), 1, "{metric}"),
            1.0 => assert!(values.iter().sum::<f64>() > 0.0, "{metric}: {values:?}"),
            _ => assert!(said.contains(&format!("ebpf/{group}: unavailable: cannot ")), "{said}"),
        }
    }
    if let Some(count) = samples.get("vakt_runqueue_latency_seconds_count") {
        assert_eq!(samples["vakt_runqueue_latency_seconds_bucket{le=\"+Inf\"}"], *count);
    }
    if samples["vakt_ebpf_available{group=\"tcp\"}"] == 1.0 {
        // Other programs of this machine may connect between the two readings.
        assert!(samples["vakt_tcp_connections_difference"].abs() <= 5.0, "{samples:?}");
    }
    // Another collector on this machine may come and go meanwhile; ours must not stay.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let left: Vec<u32> = programs().difference(&before).copied().collect();
        if left.is_empty() {
            break;
        }
        assert!(std::time::Instant::now() < until, "programs stay behind: {left:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// Ids of the eBPF programs in the kernel that have a name of ours; none where we may not ask.
fn programs() -> BTreeSet<u32> {
    let ours = ["on_switch", "on_issue", "on_state", "on_fork", "on_soft_entry"];
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name_as_str().is_some_and(|name| ours.contains(&name)))
        .map(|program| program.id())
        .collect()
}

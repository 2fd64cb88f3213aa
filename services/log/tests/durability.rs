//! What is acknowledged survives; what is not is lost only within the stated bound.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::{Log, insert};
use vakt_log::gate::IN_FLIGHT_BYTES_MAX;

/// Numbers of the rows that are there, from their field `n`.
async fn numbers(log: &Log, query: &str) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    // A page holds at most 10,000 rows.
    for page in 0.. {
        let rows = log.query(&format!("{query} | fields n | offset {} | limit 5000", page * 5000)).await;
        let numbers: Vec<u64> = rows.iter().map(|row| row["n"].as_str().unwrap().parse().unwrap()).collect();
        if numbers.is_empty() || page * 5000 >= 10_000 {
            break;
        }
        all.extend(numbers);
    }
    all
}

#[tokio::test]
async fn every_acknowledged_insert_is_there_after_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sent, mut acknowledged) = (0_u64, BTreeSet::new());
    for round in 0..3 {
        let log = Log::start(dir.path());
        let client = log.client();
        let (stop_at, mut tasks) = (40 + round * 17, tokio::task::JoinSet::new());
        let acks = Arc::new(AtomicU64::new(0));
        for _ in 0..4 {
            let (client, acks, first) = (client.clone(), acks.clone(), sent);
            sent += 100_000;
            tasks.spawn(async move {
                let mut acknowledged = Vec::new();
                for batch in 0.. {
                    let numbers: Vec<u64> = (0..7).map(|i| first + batch * 7 + i).collect();
                    let lines: String =
                        numbers.iter().map(|n| format!("{{\"_msg\":\"row {n}\",\"n\":{n}}}\n")).collect();
                    match insert(&client, &lines).await {
                        Ok(answer) => assert_eq!(answer["accepted"], 7),
                        Err(_) => break,
                    }
                    acknowledged.extend(numbers);
                    acks.fetch_add(1, Ordering::SeqCst);
                }
                acknowledged
            });
        }
        while acks.load(Ordering::SeqCst) < stop_at {
            tokio::task::yield_now().await;
        }
        log.kill();
        while let Some(task) = tasks.join_next().await {
            acknowledged.extend(task.unwrap());
        }
    }
    let log = Log::start(dir.path());
    let present = numbers(&log, "row").await;
    let lost: Vec<_> = acknowledged.difference(&present).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged rows are lost", lost.len(), acknowledged.len());
    assert_eq!(log.count("row").await as usize, present.len(), "no row is there twice");
    println!("{} rows acknowledged over three kills, {} present, 0 lost", acknowledged.len(), present.len());
}

#[tokio::test]
async fn syslog_lost_at_a_kill_is_within_the_stated_size() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(dir.path());
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    socket.connect(log.syslog()).unwrap();
    let padding = "x".repeat(900);
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let sender = std::thread::spawn(move || {
        for n in 0_u64.. {
            let message = format!("<14>1 - h app - - [m n=\"{n}\"] {padding}");
            if socket.send(message.as_bytes()).is_err() {
                break;
            }
            counter.store(n + 1, Ordering::SeqCst);
        }
    });
    while sent.load(Ordering::SeqCst) < 20_000 {
        tokio::task::yield_now().await;
    }
    log.kill();
    sender.join().unwrap();
    let sent = sent.load(Ordering::SeqCst);

    let log = Log::start(dir.path());
    let present = log.count("app_name:=app").await;
    // What stood in the kernel's queue for the socket goes with the socket; it holds at most
    // net.unix.max_dgram_qlen messages.
    let queue: u64 =
        std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap().trim().parse().unwrap();
    let lost_bytes = (sent - present).saturating_sub(queue + 1) * 940;
    println!("sent {sent}, present {present}, lost {} messages of 0.9 KiB", sent - present);
    assert!(lost_bytes <= IN_FLIGHT_BYTES_MAX as u64, "{lost_bytes} bytes lost");
    // One sender, one order: what is there is a beginning of what was sent, without holes.
    let newest = &log.query("app_name:=app | sort by (_time desc) | limit 1").await[0]["m.n"];
    assert_eq!(newest.as_str().unwrap().parse::<u64>().unwrap() + 1, present);
}

#[tokio::test]
async fn term_under_load_drains_and_exits_zero_with_everything_accepted_present() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(dir.path());
    let client = log.client();
    let acks = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4_u64 {
        let (client, acks) = (client.clone(), acks.clone());
        tasks.spawn(async move {
            let mut acknowledged = BTreeSet::new();
            for n in (0..).map(|n| task * 1_000_000 + n) {
                if insert(&client, &format!("{{\"_msg\":\"row\",\"n\":{n}}}\n")).await.is_err() {
                    break;
                }
                acknowledged.insert(n);
                acks.fetch_add(1, Ordering::SeqCst);
            }
            acknowledged
        });
    }
    let mut syslog = std::net::TcpStream::connect(log.tcp).unwrap();
    for n in 0..2000 {
        syslog.write_all(format!("<14>1 - h tcp - - - message {n}\n").as_bytes()).unwrap();
    }
    // Once the last of the sender's messages was received, all of them are accepted.
    while log.metric("vakt_log_received_tcp_total").await < 2000 || acks.load(Ordering::SeqCst) < 50 {
        tokio::task::yield_now().await;
    }
    log.terminate();
    let status = tokio::task::spawn_blocking(|| log.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let mut acknowledged = BTreeSet::new();
    while let Some(task) = tasks.join_next().await {
        acknowledged.extend(task.unwrap());
    }
    let log = Log::start(dir.path());
    assert_eq!(log.count("app_name:=tcp").await, 2000);
    let present = numbers(&log, "row").await;
    assert!(acknowledged.is_subset(&present));
    println!("{} inserts acknowledged under TERM, all present", acknowledged.len());
}

#[tokio::test]
async fn a_second_process_is_refused_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(dir.path());
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_vakt-log"))
        .arg("serve")
        .arg("--data")
        .arg(log.data())
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process uses this directory"));
}

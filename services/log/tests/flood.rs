//! A flood of very short syslog lines does not keep an HTTP insert from its acknowledgement.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use support::{Log, insert};
use vakt_log::gate::{IN_FLIGHT_BYTES_MAX, MESSAGE_COST_MIN};

/// Callers that insert at the same time, and how often each does.
const CALLERS: u64 = 4;
const INSERTS: u64 = 25;
/// Rows of an insert; the last caller's take more than a turn of their lane.
const ROWS: [u64; CALLERS as usize] = [1, 5, 5, 2000];

/// A fifth of what callers have by default. Seen on a loaded builder: 0.06 s; with one queue for all, 3 s to 60 s.
const DEADLINE: Duration = Duration::from_secs(2);

/// Sends lines of ten bytes until the service is gone, `lines` of them at a time.
fn flood(to: SocketAddr, lines: usize) -> std::thread::JoinHandle<()> {
    let lines = b"<13>aaaaa\n".repeat(lines);
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        while stream.write_all(&lines).is_ok() {}
    })
}

#[tokio::test]
async fn inserts_are_acknowledged_in_time_and_kept_under_a_flood_of_short_lines() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(dir.path());
    let senders = [1, 1, 1000].map(|lines| flood(log.tcp, lines));
    // More than may be in flight, so that the senders wait for room from now on.
    let received = "vakt_log_received_tcp_total";
    while log.metric(received).await < 2 * (IN_FLIGHT_BYTES_MAX / MESSAGE_COST_MIN) as u64 {
        tokio::task::yield_now().await;
    }
    let before = log.metric(received).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        // An answer after the deadline is an error.
        let client = log.client().within(DEADLINE);
        callers.spawn(async move {
            let (rows, mut longest) = (ROWS[caller as usize], Duration::ZERO);
            for n in 0..INSERTS {
                let row = |i| format!("{{\"_msg\":\"kept\",\"n\":\"{caller}-{n}-{i}\"}}\n");
                let begun = std::time::Instant::now();
                let answer = insert(&client, &(0..rows).map(row).collect::<String>()).await.unwrap();
                assert_eq!(answer["accepted"], rows, "{answer}");
                longest = longest.max(begun.elapsed());
            }
            (caller, longest)
        });
    }
    while let Some(ended) = callers.join_next().await {
        let (caller, longest) = ended.unwrap();
        println!("caller {caller}: every insert acknowledged, the slowest after {longest:?}");
    }
    let meanwhile = log.metric(received).await - before;
    assert!(meanwhile > 0, "the flood went on");
    println!("{meanwhile} short lines were received meanwhile");

    log.kill();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let log = Log::start(dir.path());
    assert_eq!(log.count("_msg:=kept").await, ROWS.iter().sum::<u64>() * INSERTS);
}

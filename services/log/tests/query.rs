//! Queries against the real service, over hot rows and over blocks.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod support;

use std::io::Write;

use support::{Log, blocks};

const LINES: &str = r#"{"_time":"2026-11-20T10:00:00Z","_msg":"connection refused by db1","level":"error","app":"api","took":"12"}
{"_time":"2026-11-20T11:00:00Z","_msg":"connection accepted","level":"info","app":"api","took":"3"}
{"_time":"2026-11-21T09:00:00.5Z","_msg":"GET /api/v1/users","level":"info","app":"web","http":{"status":200}}
{"_time":"2026-11-21T09:00:01Z","_msg":"GET /login","level":"warning","app":"web","http":{"status":302}}
"#;

/// Messages of a query's rows, in order.
async fn messages(log: &Log, query: &str, arguments: &str) -> Vec<String> {
    let rows = log.query_with(query, arguments).await;
    rows.iter().map(|row| row["_msg"].as_str().unwrap_or("-").to_owned()).collect()
}

async fn check(log: &Log, query: &str, arguments: &str, expected: &[&str]) {
    assert_eq!(messages(log, query, arguments).await, expected, "{query} {arguments}");
}

async fn check_all(log: &Log) {
    let (refused, accepted) = ("connection refused by db1", "connection accepted");
    let (users, login) = ("GET /api/v1/users", "GET /login");
    check(log, "*", "", &[login, users, accepted, refused]).await;
    check(log, "*", "&limit=2", &[login, users]).await;
    check(log, "* | sort by (_time) | limit 1", "", &[refused]).await;
    check(log, "connection", "", &[accepted, refused]).await;
    check(log, "connection !accepted", "", &[refused]).await;
    check(log, "\"refused by\"", "", &[refused]).await;
    check(log, "accept*", "", &[accepted]).await;
    check(log, "level:error or http.status:302", "", &[login, refused]).await;
    check(log, "app:=web level:in(info)", "", &[users]).await;
    check(log, "took:>5", "", &[refused]).await;
    check(log, "took:\"\"", "", &[login, users]).await;
    check(log, "\"/api/v1\"", "", &[users]).await;
    check(log, "_time:2026-11-20", "", &[accepted, refused]).await;
    check(log, "_time:[2026-11-20T11, 2026-11-21T09:00:00Z]", "", &[users, accepted]).await;
    check(log, "*", "&start=2026-11-20T10:30:00Z&end=2026-11-20", &[accepted]).await;
    check(log, "{app=\"web\"}", "", &[login, users]).await;
    check(log, "nothing", "", &[]).await;
    let counts = log.query("* | stats by (app) count() n").await;
    assert_eq!(serde_json::to_string(&counts).unwrap(), r#"[{"app":"api","n":"2"},{"app":"web","n":"2"}]"#);
    let path = "/select/logsql/hits?query=*&step=1d&field=level&start=2026-11-21";
    let hits: serde_json::Value = log.client().get(path).await.unwrap();
    assert_eq!(hits["hits"][0]["fields"]["level"], "info");
    assert_eq!(hits["hits"][0]["timestamps"][0], "2026-11-21T00:00:00Z");
    assert_eq!((&hits["hits"][0]["values"][0], &hits["hits"][1]["total"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn hot_rows_and_blocks_answer_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(dir.path());
    let client = log.client();
    let path = "/insert/jsonline?_stream_fields=app";
    let answer = client.call(hyper::Method::POST, path, "", LINES).await.unwrap();
    assert_eq!(&answer[..], br#"{"accepted":4,"quarantined":0}"#);
    check_all(&log).await;
    log.kill();
    // A restart turns the append log into blocks, one a day.
    let log = Log::start(dir.path());
    assert_eq!(blocks(&log.data()).len(), 2);
    check_all(&log).await;
    let skipped = log.metric("vakt_log_blocks_skipped_total").await;
    assert!(skipped > 10, "time ranges and token filters skipped {skipped} blocks");
}

#[tokio::test]
async fn a_query_that_is_wrong_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(dir.path());
    let client = log.client();
    let refused = |query: &str| {
        let (client, path) =
            (client.clone(), format!("/select/logsql/query?query={}", support::escape(query)));
        async move { client.call(hyper::Method::GET, &path, "", "").await.unwrap_err().to_string() }
    };
    let error = refused("a:~\"x\"").await;
    assert!(error.contains("400 Bad Request") && error.contains("column 3: regular expressions"), "{error}");
    assert!(refused("").await.contains("argument query: missing"));
    let sorted = refused("* | top 3").await;
    assert!(sorted.contains("column 5"), "{sorted}");
}

#[tokio::test]
async fn what_does_not_parse_is_found_in_the_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(dir.path());
    let answer = log.insert("{\"_msg\":\"good\"}\nnot json\n").await.unwrap();
    assert_eq!((&answer["accepted"], &answer["quarantined"]), (&1.into(), &1.into()));
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    socket.send_to(b"<13>1 - - - - - [broken", log.syslog()).unwrap();
    let mut stream = std::net::TcpStream::connect(log.tcp).unwrap();
    stream.write_all(b"<999>bad priority\n<13>Nov 22 09:00:00 h a: last line without end").unwrap();
    drop(stream);
    while log.count("*").await < 5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.count("stream:quarantine").await, 3);
    let row = &log.query("{stream=\"quarantine\",input=\"syslog-tcp\"}").await[0];
    assert_eq!(row["reason"], "priority \"999\" is not a number from 0 to 191");
    assert_eq!(log.count("\"last line without end\"").await, 1);
}

#[tokio::test]
async fn a_damaged_block_is_set_aside_with_its_reason_and_the_rest_serves() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(dir.path());
    log.insert(LINES).await.unwrap();
    log.kill();
    // Blocks are made at the next start; then one loses a bit in a column, another its end.
    Log::start(dir.path()).kill();
    let files = blocks(&dir.path().join("data"));
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    let log = Log::start(dir.path());
    assert_eq!(log.query("*").await.len(), 2);
    assert_eq!(log.metric("vakt_log_set_aside_total").await, 1);
    let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
    let reason = std::fs::read_to_string(log.data().join(format!("set-aside/{name}.reason"))).unwrap();
    assert!(reason.contains("checksum of times"), "{reason}");
    log.kill();
    let bytes = std::fs::read(&files[1]).unwrap();
    std::fs::write(&files[1], &bytes[..bytes.len() - 3]).unwrap();
    let log = Log::start(dir.path());
    assert_eq!(log.query("*").await.len(), 0);
    log.insert("{\"_msg\":\"still taking\"}").await.unwrap();
    assert_eq!(log.count("taking").await, 1);
}

//! `/insert/jsonline`: lines in, an answer when they are durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use tokio::sync::oneshot;
use vakt_wire::form;
use vakt_wire::http::{Request, Response, error, json};

use crate::intake::{Insert, Intake, Raw};
use crate::json::JsonLines;
use crate::row::VALUE_BYTES_MAX;
use crate::time;

/// Bytes of one insert's body. It is streamed, never held: the bound is on the time one caller takes.
const BODY_BYTES_MAX: usize = 1 << 30;
/// Bytes of one line; a longer one is cut, and goes to the quarantine.
const LINE_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Longest wait for the next piece of a body.
const PIECE_WITHIN: Duration = Duration::from_secs(30);

/// The arguments of VictoriaLogs, with its defaults.
fn how(query: &str) -> JsonLines {
    let list =
        |value: &str| value.split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect();
    let mut how = JsonLines::default();
    for (name, value) in form::pairs(query) {
        match name.as_str() {
            "_time_field" if !value.is_empty() => how.time_field = value,
            "_msg_field" if !value.is_empty() => how.msg_fields = list(&value),
            "_stream_fields" => how.stream_fields = list(&value),
            _ => {}
        }
    }
    how
}

/// Hands in the lines of a body and answers `{"accepted":N,"quarantined":M}` when all are durable.
/// When the body breaks off, the lines before are kept and nothing is acknowledged.
pub async fn jsonline(intake: &Intake, request: Request) -> Response {
    if let Some(coding) = request.header("content-encoding").filter(|coding| *coding != "identity") {
        let reason = format!("content-encoding {coding} is not supported; send the lines as they are");
        return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
    }
    let how = how(request.uri().query().unwrap_or_default());
    let insert = Arc::new(Insert { how, tally: Arc::default() });
    let mut body = request.body;
    let mut lines = Lines::default();
    let mut bytes = 0;
    loop {
        let frame = match tokio::time::timeout(PIECE_WITHIN, body.frame()).await {
            Err(_) => return error(StatusCode::REQUEST_TIMEOUT, "the body stands still"),
            Ok(None) => break,
            Ok(Some(Err(reason))) => {
                return error(StatusCode::BAD_REQUEST, format!("body broke off: {reason}"));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(piece) = frame.data_ref() else { continue };
        bytes += piece.len();
        if bytes > BODY_BYTES_MAX {
            let reason = format!("body is larger than {BODY_BYTES_MAX} bytes");
            return error(StatusCode::PAYLOAD_TOO_LARGE, reason);
        }
        for line in lines.feed(piece) {
            hand_in(intake, line, &insert).await;
        }
    }
    if let Some(line) = lines.finish() {
        hand_in(intake, line, &insert).await;
    }
    let (done, durable) = oneshot::channel();
    intake.deliver(Raw::Barrier(done)).await;
    if durable.await.is_err() || insert.tally.failed.load(Ordering::Acquire) {
        return error(
            StatusCode::INSUFFICIENT_STORAGE,
            "the append log refused rows; nothing is acknowledged",
        );
    }
    let (accepted, quarantined) =
        (insert.tally.accepted.load(Ordering::Acquire), insert.tally.quarantined.load(Ordering::Acquire));
    json(StatusCode::OK, &serde_json::json!({ "accepted": accepted, "quarantined": quarantined }))
}

async fn hand_in(intake: &Intake, bytes: Vec<u8>, insert: &Arc<Insert>) {
    intake.metrics.received_jsonline.add(1);
    let received_ns = time::now();
    intake.deliver(Raw::JsonLine { bytes, received_ns, insert: insert.clone() }).await;
}

/// Cuts a body into lines; holds at most one.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.add(&rest[..end]);
            lines.extend(self.take());
            rest = &rest[end + 1..];
        }
        self.add(rest);
        lines
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        self.take()
    }

    /// What is beyond the bound is not kept: cut JSON does not parse, so the line is quarantined.
    fn add(&mut self, bytes: &[u8]) {
        let room = (LINE_BYTES_MAX + 1).saturating_sub(self.pending.len());
        self.pending.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.pending);
        let trimmed = line.trim_ascii();
        match trimmed.len() {
            0 => None,
            length if length == line.len() => Some(line),
            _ => Some(trimmed.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_the_body_is_cut() {
        let body = b"{\"a\":1}\r\n\n  {\"b\":2}\n{\"c\":3}";
        for step in 1..body.len() {
            let mut lines = Lines::default();
            let mut found: Vec<Vec<u8>> = body.chunks(step).flat_map(|piece| lines.feed(piece)).collect();
            found.extend(lines.finish());
            assert_eq!(found, [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec(), b"{\"c\":3}".to_vec()]);
        }
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert!(lines.feed(&[b'x'; 10_000]).is_empty());
        }
        assert_eq!(lines.finish().unwrap().len(), LINE_BYTES_MAX + 1);
    }

    #[test]
    fn arguments_have_the_names_of_victorialogs() {
        let how = how("_stream_fields=host,app&_time_field=ts&_msg_field=log.msg,message");
        assert_eq!(how.stream_fields, ["host", "app"]);
        assert_eq!((how.time_field.as_str(), how.msg_fields.len()), ("ts", 2));
        assert_eq!(super::how("x=y"), JsonLines::default());
    }
}

//! Remote-read's streamed answer: Prometheus' chunks in frames, each with its checksum, made while they are sent.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vakt_wire::http::{Response, stream};

use super::remote_read::{Query, label_fields, message, varint};
use super::{Api, answer};
use crate::chunks::{self, Chunk};
use crate::engine::Engine;
use crate::promql::{QueryError, is_histogram_reset};
use crate::protobuf::put_varint;
use crate::series::Labels;

/// Bytes of a frame, and a chunk more (Prometheus' `storage.remote.read-max-bytes-in-frame`). A frame holds one series.
const FRAME_BYTES: usize = 1 << 20;

/// Frames that wait for the reader: 4 MiB.
const FRAMES_WAITING_MAX: usize = 4;

/// A reader that takes nothing for this long is given up: it holds one of two turns.
const PATIENCE: Duration = Duration::from_secs(30);

impl Api {
    pub(super) async fn stream_chunks(&self, queries: Vec<Query>) -> Response {
        let Ok(turn) = self.queries.clone().acquire_owned().await else {
            return answer::failure(&QueryError::Internal("the store is stopping".into()));
        };
        let (sender, body) = stream(FRAMES_WAITING_MAX);
        let (engine, runtime) = (self.engine.clone(), Handle::current());
        engine.counters().queries.add(1);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            if let Err(error) = send_all(&engine, &queries, &runtime, &sender) {
                tracing::warn!(%error, "a streamed answer breaks off");
                // A reader that is gone needs no reason.
                let _ = sender.try_send(Err(error));
            }
        });
        let mut response = hyper::Response::new(body);
        let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

fn send_all(
    engine: &Engine,
    queries: &[Query],
    runtime: &Handle,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    for (index, query) in queries.iter().enumerate() {
        let mut snapshot = engine.select(&query.matchers, query.from, query.to);
        let mut order: Vec<usize> = (0..snapshot.len()).collect();
        order.sort_by(|&a, &b| snapshot.labels(a).cmp(snapshot.labels(b)));
        for place in order {
            let samples = snapshot.read(place, query.from, query.to).map_err(io::Error::other)?;
            let mut all: Vec<Chunk> = chunks::of_floats(&samples.times, &samples.values).collect();
            if !samples.histograms.is_empty() {
                all.extend(chunks::of_histograms(&samples.histograms, is_histogram_reset));
                all.sort_by_key(|chunk| chunk.from);
            }
            for frame in frames(snapshot.labels(place), &all, index as u64) {
                match runtime.block_on(timeout(PATIENCE, sender.send(Ok(frame.into())))) {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Ok(()),
                    Err(_) => return Err(io::Error::other(format!("nothing was read for {PATIENCE:?}"))),
                }
            }
        }
    }
    Ok(())
}

/// The frames of one series; none without chunks.
fn frames<'a>(labels: &'a Labels, chunks: &'a [Chunk], query: u64) -> impl Iterator<Item = Vec<u8>> + 'a {
    let mut left = chunks;
    std::iter::from_fn(move || {
        let mut series = label_fields(labels);
        let (mut bytes, mut taken) = (series.len(), 0);
        while bytes < FRAME_BYTES
            && let Some(chunk) = left.get(taken)
        {
            let coded = of_chunk(chunk);
            message(2, &coded, &mut series);
            (bytes, taken) = (bytes + coded.len(), taken + 1);
        }
        left = &left[taken..];
        (taken > 0).then(|| frame(&series, query))
    })
}

fn of_chunk(chunk: &Chunk) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunk.data.len() + 32);
    varint(1, chunk.from.cast_unsigned(), &mut out);
    varint(2, chunk.to.cast_unsigned(), &mut out);
    varint(3, chunk.encoding as u64, &mut out);
    message(4, &chunk.data, &mut out);
    out
}

/// Length, checksum, and the message ChunkedReadResponse.
fn frame(series: &[u8], query: u64) -> Vec<u8> {
    let mut content = Vec::with_capacity(series.len() + 16);
    message(1, series, &mut content);
    if query > 0 {
        varint(2, query, &mut content);
    }
    let mut out = Vec::with_capacity(content.len() + 16);
    put_varint(content.len() as u64, &mut out);
    out.extend_from_slice(&castagnoli(&content).to_be_bytes());
    out.extend_from_slice(&content);
    out
}

/// The polynomial of CRC-32C, its bits reversed (RFC 3720, 12.1).
const CASTAGNOLI: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let (mut table, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ CASTAGNOLI } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn castagnoli(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| crc >> 8 ^ TABLE[(crc as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::Encoding;
    use crate::protobuf::{Fields, Value, varint as read_varint};

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, B.4.
        assert_eq!(castagnoli(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(castagnoli(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_series_is_cut_into_frames_that_each_name_it() {
        let labels: Labels = [("__name__", "up"), ("job", "x")].into_iter().collect();
        let chunk = |from| Chunk { from, to: from + 9, encoding: Encoding::Xor, data: vec![7; 300_000] };
        let all: Vec<Chunk> = (0..10).map(|n| chunk(n * 10)).collect();
        let (mut seen, mut count) = (Vec::new(), 0);
        for frame in frames(&labels, &all, 3) {
            let (length, head) = read_varint(&frame).unwrap();
            let (sum, content) = frame[head..].split_first_chunk::<4>().unwrap();
            assert_eq!((content.len() as u64, castagnoli(content)), (length, u32::from_be_bytes(*sum)));
            let mut fields = Fields::new(content);
            let Some((1, Value::Bytes(series))) = fields.next().unwrap() else { panic!("no series") };
            assert_eq!(fields.next().unwrap(), Some((2, Value::Varint(3))));
            let (mut fields, mut names) = (Fields::new(series), 0);
            while let Some((number, Value::Bytes(part))) = fields.next().unwrap() {
                names += usize::from(number == 1);
                if number == 2 {
                    let Some((1, Value::Varint(from))) = Fields::new(part).next().unwrap() else {
                        panic!("no time")
                    };
                    seen.push(from);
                }
            }
            assert_eq!(names, 2);
            count += 1;
        }
        assert_eq!((count, seen), (3, (0..10).map(|n| n * 10).collect()));
        assert_eq!(frames(&labels, &[], 0).count(), 0);
    }
}

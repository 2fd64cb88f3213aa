//! A store for tests: it takes remote-write and hands on what it is sent.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

/// A series as it arrived: labels as `name{a="b"}` without what every one has, and the value.
pub type Arrived = (String, f64);

/// Reads one request and answers it. Gives the head of the request and its body.
pub fn exchange<S: Read + Write>(
    mut stream: S,
    answer: impl FnOnce(&str) -> String,
) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    while bytes.len() < head_end + length {
        let count = stream.read(&mut chunk).unwrap();
        bytes.extend_from_slice(&chunk[..count]);
    }
    let _ = stream.write_all(answer(&head).as_bytes());
    let _ = stream.flush();
    Some((head, bytes[head_end..head_end + length].to_vec()))
}

/// A store that hands on what it is sent.
pub fn sink() -> (String, Receiver<Vec<Arrived>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some((_, body)) =
                exchange(stream, |_| "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n".into())
            {
                let raw = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
                let series = fields(&raw).into_iter().map(|(_, bytes)| arrived(&bytes)).collect();
                if sender.send(series).is_err() {
                    return;
                }
            }
        }
    });
    (address, receiver)
}

/// The length-delimited and fixed fields of a protobuf message, in their order.
fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((&tag, rest)) = bytes.split_first() {
        let (length, rest) = match tag & 7 {
            1 => (8, rest),
            kind => {
                let (mut value, mut at) = (0_usize, 0);
                loop {
                    value |= usize::from(rest[at] & 0x7f) << (7 * at);
                    at += 1;
                    if rest[at - 1] & 0x80 == 0 {
                        break;
                    }
                }
                if kind == 0 { (0, &rest[at..]) } else { (value, &rest[at..]) }
            }
        };
        found.push((tag >> 3, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    found
}

fn arrived(series: &[u8]) -> Arrived {
    let (mut labels, mut value) = (BTreeMap::new(), f64::NAN);
    for (field, bytes) in fields(series) {
        let parts = fields(&bytes);
        if field == 1 {
            let text = |part: usize| String::from_utf8(parts[part].1.clone()).unwrap();
            labels.insert(text(0), text(1));
        } else {
            value = f64::from_le_bytes(parts[0].1.clone().try_into().unwrap());
        }
    }
    let name = labels.remove("__name__").unwrap();
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (format!("{name}{{{}}}", labels.join(",")), value)
}

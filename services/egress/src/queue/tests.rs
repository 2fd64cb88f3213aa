//! The queue, with real files.

use std::path::Path;

use proptest::prelude::*;

use super::writer::Appender;
use super::*;

fn record(number: u64, bytes: usize) -> Record {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(bytes.max(8), number as u8);
    Record { samples: number as u32 % 7, time_ms: number as i64 * 1000, body }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn open(directory: &Path, bytes_max: u64) -> (std::sync::Arc<Queue>, Appender) {
    let queue = std::sync::Arc::new(Queue::open(directory, bytes_max).unwrap());
    (queue.clone(), start(queue).unwrap())
}

fn append(appender: &Appender, records: &[Record]) {
    runtime().block_on(async {
        for record in records {
            appender.append(record.clone()).await.unwrap();
        }
    });
}

/// Everything from `cursor` on, and what is lost on the way.
fn drain(queue: &Queue, cursor: &mut Cursor) -> (Vec<Record>, u64) {
    let (mut all, mut lost) = (Vec::new(), 0);
    loop {
        let found = queue.read(cursor, |_, bytes| bytes > 10_000).unwrap();
        if found.records.is_empty() && found.next == *cursor {
            return (all, lost);
        }
        all.extend(found.records);
        lost += found.lost;
        *cursor = found.next;
    }
}

#[test]
fn what_was_appended_is_read_in_order_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (0..40).map(|number| record(number, 400_000)).collect();
    let (queue, appender) = open(directory.path(), u64::MAX);
    append(&appender, &records[..25]);
    let mut cursor = Cursor::default();
    assert_eq!(drain(&queue, &mut cursor), (records[..25].to_vec(), 0));
    drop((queue, appender));
    let (queue, appender) = open(directory.path(), u64::MAX);
    append(&appender, &records[25..]);
    assert_eq!(drain(&queue, &mut cursor), (records[25..].to_vec(), 0));
    assert_eq!(drain(&queue, &mut Cursor::default()), (records, 0));
    assert!(queue.lock().len() > 2, "16 MB are several segments");
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_tears_and_what_follows_is_read() {
    let records: Vec<Record> = (0..3).map(|number| record(number, 30)).collect();
    let mut whole = Vec::new();
    records.iter().for_each(|record| record.encode(&mut whole));
    let two = (records[0].bytes() + records[1].bytes()) as usize;
    for cut in two..whole.len() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, appender) = open(directory.path(), u64::MAX);
        append(&appender, &records);
        drop((queue, appender));
        let path = segment::path(&directory.path().join("queue"), 1);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(segment::HEADER_BYTES + cut as u64).unwrap();
        let (queue, appender) = open(directory.path(), u64::MAX);
        append(&appender, &records[2..]);
        assert_eq!(drain(&queue, &mut Cursor::default()), (records.clone(), 0), "cut at {cut}");
    }
}

#[test]
fn a_record_that_rots_costs_the_rest_of_its_segment_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..30).map(|number| record(number, 400_000)).collect();
    let (queue, appender) = open(directory.path(), u64::MAX);
    append(&appender, &records);
    let path = segment::path(&directory.path().join("queue"), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let third = (segment::HEADER_BYTES + 2 * records[0].bytes()) as usize + 100;
    bytes[third] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (read, lost) = drain(&queue, &mut Cursor::default());
    assert_eq!(read[..2], records[..2]);
    let samples = |records: &[Record]| records.iter().map(|record| u64::from(record.samples)).sum::<u64>();
    assert_eq!(samples(&read) + lost, samples(&records));
    assert_eq!(read.last(), records.last());
}

#[test]
fn past_its_bound_the_oldest_goes_and_every_cursor_knows_what_it_lost() {
    let directory = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..60).map(|number| record(number, 400_000)).collect();
    let (queue, appender) = open(directory.path(), 10 << 20);
    append(&appender, &records);
    let (mut behind, mut ahead) = (Cursor::default(), queue.end());
    let lost = queue.trim(&mut [&mut behind, &mut ahead]).unwrap();
    assert!(queue.bytes() <= 10 << 20);
    assert_eq!(lost[1], 0);
    let (read, more) = drain(&queue, &mut behind);
    let samples = |records: &[Record]| records.iter().map(|record| u64::from(record.samples)).sum::<u64>();
    assert_eq!((samples(&read) + lost[0], more), (samples(&records), 0));
    assert_eq!(read.last(), records.last());
    assert_eq!(queue.trim(&mut [&mut behind, &mut ahead]).unwrap(), [0, 0]);
    assert_eq!(queue.lock().len(), 1, "what all have passed is removed");
}

#[test]
fn a_cursor_that_is_not_whole_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let cursor = Cursor { segment: 7, offset: 99, samples: 5 };
    cursor.store(&path).unwrap();
    assert_eq!(Cursor::load(&path), Some(cursor));
    let bytes = std::fs::read(&path).unwrap();
    for place in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[place] ^= 0x10;
        std::fs::write(&path, wrong).unwrap();
        assert_eq!(Cursor::load(&path), None, "byte {place}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_file_makes_the_queue_panic(raw in prop::collection::vec(any::<u8>(), 0..300), keep_header: bool) {
        let directory = tempfile::tempdir().unwrap();
        let queue = directory.path().join("queue");
        std::fs::create_dir_all(&queue).unwrap();
        let mut bytes = Vec::new();
        if keep_header {
            bytes.extend_from_slice(b"VAKTQUE1");
            bytes.extend_from_slice(&1u64.to_le_bytes());
        }
        bytes.extend_from_slice(&raw);
        std::fs::write(segment::path(&queue, 1), bytes).unwrap();
        let (queue, appender) = open(directory.path(), u64::MAX);
        append(&appender, &[record(5, 10)]);
        let (read, _) = drain(&queue, &mut Cursor::default());
        prop_assert_eq!(read.last(), Some(&record(5, 10)));
    }
}

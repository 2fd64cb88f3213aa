//! The thread that appends: it takes what has come, writes it, syncs once, and answers all.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use super::segment::{self, BODY_BYTES_MAX, HEADER_BYTES, Record};
use super::{Extent, Queue, QueueError, SEGMENT_BYTES};

/// Requests that wait for the disk; more wait in their connections.
const WAITING_MAX: usize = 64;

/// Bytes that are written before a sync, at most.
const BATCH_BYTES: usize = 4 << 20;

type Answer = oneshot::Sender<Result<(), QueueError>>;

/// Appends to the queue; cloned for every connection.
#[derive(Clone, Debug)]
pub struct Appender {
    jobs: mpsc::Sender<(Record, Answer)>,
    /// Rises with each sync.
    synced: watch::Receiver<u64>,
}

/// Starts the thread for a queue. It ends when the last appender is gone.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(queue: Arc<Queue>) -> io::Result<Appender> {
    let (jobs, mut waiting) = mpsc::channel(WAITING_MAX);
    let (tell, synced) = watch::channel(0);
    let mut writer = Writer { queue, open: None, buffer: Vec::new() };
    thread::Builder::new().name("queue".into()).spawn(move || {
        while let Some(first) = waiting.blocking_recv() {
            writer.turn(first, &mut waiting);
            tell.send_modify(|turns| *turns += 1);
        }
    })?;
    Ok(Appender { jobs, synced })
}

impl Appender {
    /// Appends a request. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`QueueError`]; nothing of it is in the queue then.
    pub async fn append(&self, record: Record) -> Result<(), QueueError> {
        if record.body.len() > BODY_BYTES_MAX {
            return Err(QueueError::TooLarge(record.body.len()));
        }
        let (answer, done) = oneshot::channel();
        self.jobs.send((record, answer)).await.map_err(|_| QueueError::Closed)?;
        done.await.unwrap_or(Err(QueueError::Closed))
    }

    /// Changes whenever records were added.
    pub fn synced(&self) -> watch::Receiver<u64> {
        self.synced.clone()
    }
}

struct Writer {
    queue: Arc<Queue>,
    open: Option<(u64, File)>,
    buffer: Vec<u8>,
}

impl Writer {
    fn turn(&mut self, first: (Record, Answer), waiting: &mut mpsc::Receiver<(Record, Answer)>) {
        let (mut answers, mut samples) = (Vec::new(), 0);
        self.buffer.clear();
        let mut job = Some(first);
        while let Some((record, answer)) = job {
            record.encode(&mut self.buffer);
            samples += u64::from(record.samples);
            answers.push(answer);
            job = if self.buffer.len() < BATCH_BYTES { waiting.try_recv().ok() } else { None };
        }
        match self.write(samples) {
            Ok(()) => answers.into_iter().for_each(|answer| drop(answer.send(Ok(())))),
            Err((path, error)) => {
                // What was written of it is beyond the extent, and cut off before the next record.
                self.open = None;
                for answer in answers {
                    let source = io::Error::new(error.kind(), error.to_string());
                    drop(answer.send(Err(QueueError::Io { path: path.clone(), source })));
                }
            }
        }
    }

    fn write(&mut self, samples: u64) -> Result<(), (std::path::PathBuf, io::Error)> {
        let directory = self.queue.directory.clone();
        let number = self.number();
        let path = segment::path(&directory, number);
        let fail = |error| (path.clone(), error);
        let extent = self.queue.lock().get(&number).copied();
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let file = match extent {
                None => segment::create(&directory, number).map_err(fail)?,
                Some(extent) => {
                    let file = segment::append_to(&directory, number).map_err(fail)?;
                    file.set_len(extent.bytes).map_err(fail)?;
                    file
                }
            };
            self.open = Some((number, file));
        }
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        file.write_all(&self.buffer).map_err(fail)?;
        file.sync_data().map_err(fail)?;
        let extent = extent.unwrap_or(Extent { bytes: HEADER_BYTES, samples: 0 });
        let bytes = extent.bytes + self.buffer.len() as u64;
        self.queue.lock().insert(number, Extent { bytes, samples: extent.samples + samples });
        Ok(())
    }

    /// The segment to write to: the last, until it is long enough.
    fn number(&self) -> u64 {
        match self.queue.lock().last_key_value() {
            None => 1,
            Some((number, extent)) if extent.bytes > SEGMENT_BYTES => number + 1,
            Some((number, _)) => *number,
        }
    }
}

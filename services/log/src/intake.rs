//! From received bytes to batches of rows: what the receivers hand in, and the parser's work on it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::gate::{Gate, Held, Places, Share};
use crate::json::{self, JsonLines};
use crate::kmsg;
use crate::lanes::{Lane, Lanes};
use crate::metrics::Metrics;
use crate::record::{Record, quarantined};
use crate::syslog;
use crate::time::DAY;

/// A batch is handed on when its rows take this many bytes: one frame of the append log.
pub const BATCH_BYTES: usize = 256 << 10;

/// Where a syslog message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A datagram from a network address.
    Udp(IpAddr),
    /// A stream from a network address.
    Tcp(IpAddr),
    /// A unix datagram of this machine.
    Unix,
}

impl Input {
    fn name(self) -> &'static str {
        match self {
            Input::Udp(_) => "syslog-udp",
            Input::Tcp(_) => "syslog-tcp",
            Input::Unix => "syslog-unix",
        }
    }

    fn remote(self) -> Option<IpAddr> {
        match self {
            Input::Udp(ip) | Input::Tcp(ip) => Some(ip),
            Input::Unix => None,
        }
    }
}

/// What became of the lines of one HTTP insert.
#[derive(Debug, Default)]
pub struct Tally {
    /// Lines that became rows.
    pub accepted: AtomicU64,
    /// Lines that went to the quarantine.
    pub quarantined: AtomicU64,
    /// A row could not be written: the insert must not be acknowledged.
    pub failed: AtomicBool,
}

/// One HTTP insert: how its lines are read, and what became of them.
#[derive(Debug, Default)]
pub struct Insert {
    /// The query args.
    pub how: JsonLines,
    /// Shared with the writer.
    pub tally: Arc<Tally>,
}

/// What a receiver hands in.
#[derive(Debug)]
pub enum Raw {
    /// One syslog message.
    Syslog {
        /// Its bytes, framing removed.
        bytes: Vec<u8>,
        /// When it was received.
        received_ns: i64,
        /// By which way.
        input: Input,
    },
    /// One record of /dev/kmsg.
    Kernel {
        /// As read(2) gave it.
        bytes: Vec<u8>,
    },
    /// One line of an HTTP insert.
    JsonLine {
        /// Without its newline.
        bytes: Vec<u8>,
        /// When it was received.
        received_ns: i64,
        /// Its insert.
        insert: Arc<Insert>,
    },
    /// Answered when everything handed in before it is durable.
    Barrier(oneshot::Sender<()>),
}

impl Raw {
    /// What counts for the gate.
    fn cost(&self) -> usize {
        match self {
            Raw::Syslog { bytes, .. } | Raw::Kernel { bytes } | Raw::JsonLine { bytes, .. } => {
                Gate::cost(bytes.len())
            }
            Raw::Barrier(_) => Gate::cost(0),
        }
    }

    fn lane(&self) -> Lane {
        match self {
            Raw::Syslog { .. } | Raw::Kernel { .. } => Lane::Flow,
            Raw::JsonLine { .. } | Raw::Barrier(_) => Lane::Insert,
        }
    }
}

/// A message that the gate let in.
#[derive(Debug)]
pub struct Entered {
    /// The message.
    pub raw: Raw,
    /// What it takes of the gate until it is durable.
    pub held: Held,
}

/// The front door: the gate, and behind it the lanes before the parser.
#[derive(Debug, Default)]
pub struct Intake {
    /// Received, not yet parsed.
    pub lanes: Lanes<Entered>,
    /// Received, not yet durable.
    pub gate: Gate,
    /// Counts.
    pub metrics: std::sync::Arc<Metrics>,
}

impl Intake {
    /// Hands in a message of a sender that cannot wait. It is dropped and counted when the intake is full.
    pub fn offer(&self, raw: Raw) {
        match self.gate.try_enter(raw.cost()) {
            Some(places) => self.enter(raw, Share::Datagram, places),
            None => self.metrics.shed.add(1),
        }
    }

    /// Hands in a message of a sender that can wait. After [`Intake::close`] it is dropped and counted; a
    /// barrier then is never answered. May be dropped while it waits: the message is not in then.
    pub async fn deliver(&self, raw: Raw) {
        let share = match raw.lane() {
            Lane::Insert => Share::Insert,
            Lane::Flow => Share::Patient,
        };
        match self.gate.enter(share, raw.cost()).await {
            Ok(places) => self.enter(raw, share, places),
            Err(_) => self.metrics.shed.add(1),
        }
    }

    fn enter(&self, raw: Raw, share: Share, places: Places<'_>) {
        let (lane, cost) = (raw.lane(), raw.cost());
        let mut held = Held::default();
        held.add(share, cost);
        match self.lanes.push(lane, Entered { raw, held }, cost) {
            Ok(()) => places.kept(),
            Err(_) => self.metrics.shed.add(1),
        }
    }

    /// Takes nothing any more; what is in the lanes is still parsed and written.
    pub fn close(&self) {
        self.gate.close();
        self.lanes.close();
    }
}

/// Rows on their way to the disk; the payload of one frame of the append log.
#[derive(Debug, Default)]
pub struct Batch {
    /// Encoded rows ([`crate::row`]).
    pub bytes: Vec<u8>,
    /// How many.
    pub rows: usize,
    /// What leaves the gate when the batch is durable.
    pub held: Held,
    /// The HTTP inserts that have rows in it.
    pub inserts: Vec<Arc<Tally>>,
    /// Who waits for its durability.
    pub barriers: Vec<oneshot::Sender<()>>,
}

impl Batch {
    /// Is there anything in it, a barrier included?
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.barriers.is_empty()
    }
}

/// The parser's surroundings.
#[derive(Clone, Debug)]
pub struct Parser {
    /// For kernel records.
    pub machine: kmsg::Machine,
    /// Records older than this are quarantined: their partition would be removed at once.
    pub retention_ns: i64,
}

impl Parser {
    /// Parses one message into `batch`. Whatever it is, it leaves a row (or answers as a barrier).
    pub fn parse(&self, raw: Raw, now_ns: i64, batch: &mut Batch, metrics: &Metrics) {
        match raw {
            Raw::Barrier(done) => batch.barriers.push(done),
            Raw::Syslog { bytes, received_ns, input } => {
                let parsed = syslog::parse(&bytes, received_ns).map(|mut record| {
                    if let Some(ip) = input.remote() {
                        record.push("remote_ip", ip.to_string());
                    }
                    record
                });
                self.keep(parsed, &bytes, input.name(), now_ns, batch, metrics);
            }
            Raw::Kernel { bytes } => {
                let parsed = kmsg::parse(&bytes, &self.machine);
                self.keep(parsed, &bytes, "kmsg", now_ns, batch, metrics);
            }
            Raw::JsonLine { bytes, received_ns, insert } => {
                let parsed = json::parse_line(&bytes, &insert.how, received_ns);
                let kept = self.keep(parsed, &bytes, "jsonline", now_ns, batch, metrics);
                let count = if kept { &insert.tally.accepted } else { &insert.tally.quarantined };
                count.fetch_add(1, Ordering::Relaxed);
                if !batch.inserts.last().is_some_and(|last| Arc::ptr_eq(last, &insert.tally)) {
                    batch.inserts.push(insert.tally.clone());
                }
            }
        }
    }

    /// Appends the record, or its stand-in when it may not be kept. Returns whether it was the record.
    fn keep(
        &self,
        parsed: Result<Record<'_>, String>,
        raw: &[u8],
        input: &'static str,
        now_ns: i64,
        batch: &mut Batch,
        metrics: &Metrics,
    ) -> bool {
        let checked = parsed.and_then(|record| match self.refusal(&record, now_ns) {
            Some(reason) => Err(reason),
            None => Ok(record),
        });
        batch.rows += 1;
        match checked {
            Ok(record) => {
                record.encode(&mut batch.bytes);
                true
            }
            Err(reason) => {
                metrics.quarantined.add(1);
                quarantined(now_ns, input, reason, raw).encode(&mut batch.bytes);
                false
            }
        }
    }

    fn refusal(&self, record: &Record<'_>, now_ns: i64) -> Option<String> {
        let age_ns = now_ns.saturating_sub(record.time_ns);
        if age_ns > self.retention_ns {
            return Some(format!("time lies {} days back, beyond the retention", age_ns / DAY));
        }
        if age_ns < -json::FUTURE_MAX_NS {
            return Some(format!("time lies {} days ahead", -age_ns / DAY));
        }
        record.too_big()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::IN_FLIGHT_BYTES_MAX;
    use crate::row;

    fn parser() -> Parser {
        let machine = kmsg::Machine { hostname: "h".into(), boot_id: "b".into(), booted_ns: 0 };
        Parser { machine, retention_ns: 30 * DAY }
    }

    fn check(raw: Raw, now_ns: i64, expected: &[(&str, &str)]) {
        let mut batch = Batch::default();
        parser().parse(raw, now_ns, &mut batch, &Metrics::default());
        let row = row::get_row(&batch.bytes, &mut 0).unwrap();
        for (name, value) in expected {
            assert_eq!(row.get(name), *value, "{name} of {row:?}");
        }
    }

    #[test]
    fn what_does_not_parse_is_kept_in_quarantine_with_its_reason() {
        let raw = Raw::Syslog { bytes: b"<999>x".to_vec(), received_ns: 5, input: Input::Unix };
        check(
            raw,
            5,
            &[
                ("_msg", "<999>x"),
                ("_stream", r#"{stream="quarantine",input="syslog-unix"}"#),
                ("reason", "priority \"999\" is not a number from 0 to 191"),
            ],
        );
    }

    #[test]
    fn a_time_without_a_partition_is_quarantined() {
        let line =
            |text: &str| Raw::JsonLine { bytes: text.into(), received_ns: 100 * DAY, insert: Arc::default() };
        let old = line(r#"{"_time":"1970-01-02T00:00:00Z","_msg":"x"}"#);
        check(old, 100 * DAY, &[("reason", "time lies 99 days back, beyond the retention")]);
        let ahead = line(r#"{"_time":"1971-01-02T00:00:00Z","_msg":"x"}"#);
        check(ahead, 100 * DAY, &[("reason", "time lies 266 days ahead"), ("stream", "quarantine")]);
    }

    #[test]
    fn an_insert_is_tallied_line_by_line() {
        let insert = Arc::new(Insert::default());
        let mut batch = Batch::default();
        for text in [r#"{"_msg":"a"}"#, "b", r#"{"_msg":"c"}"#] {
            let raw = Raw::JsonLine { bytes: text.into(), received_ns: 9, insert: insert.clone() };
            parser().parse(raw, 9, &mut batch, &Metrics::default());
        }
        let tally = &insert.tally;
        assert_eq!(
            (tally.accepted.load(Ordering::Relaxed), tally.quarantined.load(Ordering::Relaxed)),
            (2, 1)
        );
        assert_eq!((batch.rows, batch.inserts.len()), (3, 1));
    }

    fn message(bytes: usize) -> Raw {
        Raw::Syslog { bytes: vec![b'x'; bytes], received_ns: 0, input: Input::Unix }
    }

    #[test]
    fn a_full_intake_sheds_datagrams_and_counts_them() {
        let intake = Intake::default();
        for _ in 0..5 {
            intake.offer(message(IN_FLIGHT_BYTES_MAX / 4));
        }
        assert_eq!((intake.lanes.items(), intake.metrics.shed.get()), (4, 1));
    }

    #[tokio::test]
    async fn a_closed_intake_takes_nothing_and_answers_no_barrier() {
        let intake = Intake::default();
        intake.close();
        intake.deliver(message(10)).await;
        let (done, durable) = oneshot::channel();
        intake.deliver(Raw::Barrier(done)).await;
        assert!(durable.await.is_err());
        assert_eq!((intake.lanes.items(), intake.gate.bytes(), intake.metrics.shed.get()), (0, 0, 2));
    }
}

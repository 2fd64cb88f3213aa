//! Logs in, at rest, and queried.
//!
//! A message goes from a receiver ([`receive`]) through a gate ([`gate`]) and one of two lanes ([`lanes`]) to
//! the parser ([`intake`], with [`syslog`], [`json`], [`kmsg`]), through a ring ([`ring`]) to the writer
//! ([`stages`]) and its append log ([`append`]); full generations become immutable column blocks ([`block`],
//! [`flush`]). Queries ([`query`]) read both as one ([`shelf`]). [`recover`] puts the directory in
//! order at start; FORMAT.md has its bytes.
//!
//! It never drops a message without counting it, never keeps one that did not parse out of sight (it
//! goes to the stream `{stream="quarantine"}`), and never reaches out to the network.
//!
//! Limits:
//! - an HTTP insert is acknowledged after its rows were appended and synced; whatever syslog does, its lines
//!   wait behind at most 9,216 rows of it ([`lanes`]) and one block that is being written, and so does the
//!   barrier that follows them;
//! - syslog has no acknowledgement: at a kill of the process at most 4 MiB
//!   ([`gate::IN_FLIGHT_BYTES_MAX`]) of it are lost, at a power cut what came in the last 100 ms
//!   ([`stages::SYNC_WITHIN`]) as well, and never more than those 4 MiB in all;
//! - 64 KiB a syslog message, 256 KiB a JSON line or a field, 256 fields a row;
//! - 65,536 messages of syslog and 16,384 lines of inserts on their way to the disk; 4 MiB or 32,768 rows in memory before they become a block;
//! - 2 queries at a time, 10,000 rows and 16 MiB an answer, 30 s.

pub mod append;
pub mod block;
pub mod flush;
pub mod gate;
pub mod http;
pub mod intake;
pub mod json;
pub mod kmsg;
pub mod lanes;
pub mod metrics;
pub mod query;
pub mod receive;
pub mod record;
pub mod recover;
pub mod ring;
pub mod row;
pub mod serve;
pub mod shelf;
pub mod stages;
pub mod syslog;
pub mod words;

pub use vakt_wire::time;

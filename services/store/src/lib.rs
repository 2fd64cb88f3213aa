//! Metrics at rest: a durable time-series store that speaks Prometheus' HTTP API, and the catalog of
//! what else a box must remember.
//!
//! A write is acknowledged after its log record was synced ([`wal`]); samples then live in a hot window in memory
//! ([`hot`]) and move to immutable, checksummed blocks ([`block`]). [`engine`] holds these together,
//! [`promql`] evaluates queries over it, [`catalog`] keeps users, sessions, settings, evidence and config in redb,
//! and [`api`] is the HTTP surface of both. It reaches out to nobody.
//!
//! Samples come in by [`ingest`]; [`tiers`] are what a minute and an hour of them amount to.
//!
//! Limits, each named where it holds: 32 MiB a write request, 64 labels a series, 1,000,000 series by default, half of them a source,
//! 24 MiB of hot samples, 50 million samples read and 11,000 points a series a query, 256 KiB a catalog value.

pub mod api;
pub mod block;
pub mod catalog;
pub mod chunks;
pub mod codec;
pub mod counters;
pub mod deletions;
pub mod disk;
pub mod engine;
pub mod forward;
pub mod histogram;
pub mod hot;
pub mod ingest;
pub mod notes;
pub mod promql;
mod protobuf;
pub mod rules;
pub mod samples;
pub mod series;
pub mod tiers;
pub mod wal;

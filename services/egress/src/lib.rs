//! What leaves the box: samples to engines elsewhere, by Prometheus' remote-write, from a durable queue.
//!
//! store hands every request over before it acknowledges it ([`api`]); it is on the disk here when that is answered
//! ([`queue`]). Each place of the config has a cursor of its own and is written to in order ([`send`]); what an answer
//! means is decided in [`verdict`]. A place that is away delays no other, and nothing is dropped for it but by the queue's
//! bound, oldest first and counted.
//!
//! The other way, queries of the pages go to the engine of `[read_from]` ([`read`]).
//!
//! Sent at least once: only a power cut, or an answer that never came, sends one request again, which receivers that
//! go by time stamps take for what it is.
//!
//! Limits: 8 places, 32 MiB a request, 512 MiB or 80 % of the quota for the queue, 5,000 samples and 1 MiB unpacked a
//! request that is put together out of several.

pub mod api;
pub mod bundle;
pub mod queue;
pub mod read;
pub mod send;
pub mod serve;
pub mod verdict;

//! What Vakt's processes share, and nothing else.
//!
//! Processes talk HTTP/1.1 over unix sockets ([`http`]), get their sockets from init ([`listen`]),
//! say when they are ready and stop when asked ([`life`]), know each other by uid ([`role`]), print
//! structured lines ([`logging`]), push samples in Prometheus' remote-write form ([`remote_write`])
//! and read the one machine config ([`config`]). The clock is init's ([`clock`]). Forms ([`form`]), dates ([`time`]), sizes ([`size`]) and bounds on the heap
//! ([`heap`]) are read and set in one way by all. There is no private protocol here.
//!
//! PID 1 takes the crate without the `net` feature: no async runtime, nothing but plain code.
//!
//! This crate never opens a file of a service and never decides anything for one.

pub mod base64;
pub mod clock;
pub mod config;
pub mod form;
#[cfg(feature = "net")]
pub mod heap;
#[cfg(feature = "net")]
pub mod http;
#[cfg(feature = "net")]
pub mod life;
#[cfg(feature = "net")]
pub mod listen;
#[cfg(feature = "net")]
pub mod logging;
#[cfg(feature = "net")]
pub mod remote_write;
pub mod role;
#[cfg(feature = "net")]
pub mod size;
#[cfg(feature = "net")]
mod sys;
pub mod time;

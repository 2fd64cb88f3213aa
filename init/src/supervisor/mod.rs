//! The supervisor: who runs, who waits, who is ended, as a pure state machine.
//!
//! Events and the time go in ([`Supervisor::step`]), actions come out ([`Action`]). It knows no
//! process, file or clock; `run` carries out the actions and reports what happened. Times are
//! milliseconds of any clock that does not go backwards.
//!
//! | from | event | to |
//! |---|---|---|
//! | Waiting | each of `after` was ready once, or failed | Starting (spawn) |
//! | Starting | READY=1 | Ready |
//! | Starting | start timeout | Killing |
//! | Starting, Ready, Killing | exit | Backoff |
//! | Backoff | delay over | Starting (spawn) |
//! | Starting, Ready | restart asked | Stopping (SIGTERM) |
//! | Stopping, while the machine runs | exit | Backoff, over at once |
//! | Starting, Ready | stop asked, nobody that needs it runs | Stopping (SIGTERM) |
//! | Stopping | stop timeout | Killing (cgroup.kill) |
//! | any with a process, while going down | exit | Stopped |
//! | Waiting, Backoff | stop asked | Stopped |

mod backoff;
mod machine;
pub mod pressure;
mod state;
#[cfg(test)]
mod tests;

#[cfg(test)]
use backoff::{RESTART_DELAY_MS_MAX, STABLE_AFTER_MS};
#[cfg(test)]
use machine::STOP_TIMEOUT_MS;
pub use machine::{Action, Event, Service, Supervisor};
pub use state::{Goal, State};

//! Evidence of every step: a hash chain of signed records. The format is in EVIDENCE.md.
//!
//! [`record`] seals and checks one record, [`Verifier`] a chain of them; [`Journal`] appends to the chain in
//! the store's catalog. What cannot be recorded is not done: see [`Journal::record`].

mod canonical;
mod hex;
mod journal;
mod key;
mod memory;
pub mod record;
mod verifier;

pub(crate) use journal::listing;
pub use journal::{Journal, JournalError, PENDING_MAX, Standing};
pub use key::{KeyError, load_or_make};
pub use memory::{Memory, REPAIRS_MAX, Repair};
pub use record::{Draft, Head, Record, Step};
pub use verifier::{Broken, Verifier};

//! Signed updates: fetched or uploaded, verified, written to the slot that does not run, verified again, handed
//! to init.
//!
//! [`trust`] decides whose updates are taken (The Update Framework); [`manifest`] says what one is made of, piece by
//! piece; [`fetch`] and [`archive`] are the two ways in; [`plan`] and [`slot`] are the way to the disk; [`install`]
//! puts them in order; [`init`] is asked to take the slot off the boot menu before, and put it on again after.
//!
//! It writes to the one slot that it was handed, and to its own directory; it cannot reach the boot partition. It
//! never writes a byte to the slot that was not signed for, never installs what is not newer than what runs, never
//! ignores an expiry, never reboots.
//!
//! Limits: one install at a time; one piece of 1 MiB in memory beside 4 MiB of metadata at most; a manifest of
//! 128 KiB; a UKI of 31 MiB; 60 s for a piece, 120 s for all metadata.

pub mod api;
pub mod archive;
pub mod board;
pub mod body;
pub mod digest;
pub mod fetch;
pub mod init;
pub mod install;
pub mod manifest;
pub mod plan;
pub mod refusal;
pub mod serve;
pub mod slot;
pub mod trust;
pub mod version;

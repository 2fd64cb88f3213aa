//! The clock, by NTPv4 (RFC 5905), authenticated by NTS (RFC 8915) where a server has it.
//!
//! Every server is asked in its own rhythm ([`source`]); [`select`] finds the servers that agree with each other,
//! [`discipline`] says what is to be done with the clock, and [`wall`] has it done: the kernel's own loop is given small
//! offsets, a large one is set at once. Packets are in [`packet`], keys and their packets in [`nts`].
//!
//! It answers no other's questions about time, and holds no right over the clock on the box: init
//! does what it asks for within bounds, and where the clock is another's (in a container) it observes. At most 10 servers; 8 samples each are kept; a packet has at most 2 KiB.

pub mod api;
pub mod board;
pub mod discipline;
pub mod nts;
pub mod packet;
pub mod select;
pub mod serve;
pub mod source;
pub mod wall;

//! Writing an image to a real disk, and reading it back.
//!
//! [`disk`] reads what the kernel says of the disks; [`refusal`] decides, from that alone, whether one may be
//! written to; [`source`] is the image, compressed or not; [`write`] writes and compares. A disk that is in use is
//! refused whatever the operator says, and opened exclusively besides.

pub mod disk;
pub mod progress;
pub mod refusal;
pub mod source;
mod write;

pub use disk::{Disk, disks};
pub use refusal::{Refusal, refusal};
pub use source::Source;
pub use write::{Written, flash};

/// Bytes of an image at most: 64 times what one has today. More is not one of ours.
pub const IMAGE_BYTES_MAX: u64 = 32 << 30;

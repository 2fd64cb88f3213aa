//! Booting an image in QEMU: the machine as data ([`Machine`]), the running guest ([`Guest`]), and
//! how one knows that it is ready ([`ready`]).
//!
//! Traffic goes only through QEMU's user network with `restrict=on`: inwards by forwarded ports on
//! 127.0.0.1, outwards to named addresses on 127.0.0.1. KVM is used only where its module is loaded;
//! a /dev/kvm alone proves nothing.

mod accelerator;
mod guest;
mod machine;
mod qmp;
pub mod ready;
mod serial;

pub use accelerator::{kvm_works, processors};
pub use guest::Guest;
pub use machine::{Boot, Credential, Forward, Machine, Reach, Tap, WriteLog};
pub use serial::Serial;

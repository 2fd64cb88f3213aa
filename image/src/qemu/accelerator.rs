//! Hardware virtualisation, where it really works.

use std::path::Path;

/// Whether the kernel has KVM for this processor. A /dev/kvm without the processor's module is there
/// on some hosts and runs no ordinary guest.
pub fn kvm_works() -> bool {
    let module = ["/sys/module/kvm_intel", "/sys/module/kvm_amd"].iter().any(|path| Path::new(path).exists());
    module && std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Virtual processors of a guest: two, or one where they are emulated. Firmware that hands over to a kernel with
/// emulated processors beside its own hangs now and then (seen twice in some 150 boots of OVMF 2025.02 under load;
/// rust-osdev/bootloader, issue 400, is the same), and boots as fast with one.
pub fn processors() -> u32 {
    if kvm_works() { 2 } else { 1 }
}

/// QEMU's flags for the processor.
pub fn flags() -> Vec<String> {
    let flags: &[&str] = if kvm_works() {
        &["-machine", "q35", "-accel", "kvm", "-cpu", "host"]
    } else {
        &["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64,+rdrand,+rdtscp"]
    };
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

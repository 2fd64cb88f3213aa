//! The architectures that an image is made for: every name that differs between them, in one place.
//!
//! An image is built on a machine of its own architecture ([`Arch::HERE`]); there is no cross build.

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM with UEFI and ACPI.
    Aarch64,
}

impl Arch {
    /// The one that this program runs on.
    pub const HERE: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

    /// As uname(2) and Rust call it; in the names of images.
    pub const fn name(self) -> &'static str {
        self.pick("x86_64", "aarch64")
    }

    /// As Debian calls it.
    pub const fn debian(self) -> &'static str {
        self.pick("amd64", "arm64")
    }

    /// As the kernel's Makefile calls it (`ARCH=`).
    pub const fn kernel(self) -> &'static str {
        self.pick("x86_64", "arm64")
    }

    /// The kernel's file that the boot loader takes: its make target, and where make puts it.
    pub const fn kernel_image(self) -> (&'static str, &'static str) {
        match self {
            Arch::X86_64 => ("bzImage", "arch/x86/boot/bzImage"),
            Arch::Aarch64 => ("Image", "arch/arm64/boot/Image"),
        }
    }

    /// Where firmware without boot entries looks (UEFI 2.10, 3.5.1.1).
    pub const fn default_loader(self) -> &'static str {
        self.pick("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTAA64.EFI")
    }

    /// systemd-boot's file.
    pub const fn boot_loader(self) -> &'static str {
        self.pick("systemd-bootx64.efi", "systemd-bootaa64.efi")
    }

    /// systemd's EFI stub.
    pub const fn stub(self) -> &'static str {
        self.pick("linuxx64.efi.stub", "linuxaa64.efi.stub")
    }

    /// The kernel's name of the first serial port, as the command line takes it.
    pub const fn serial(self) -> &'static str {
        self.pick("ttyS0,115200", "ttyAMA0,115200")
    }

    /// The GPT type of a root partition (Discoverable Partitions Specification).
    pub const fn root_type(self) -> &'static str {
        self.pick("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "b921b045-1df0-41c3-af44-4c6f280d3fae")
    }

    /// QEMU's program for it.
    pub const fn qemu(self) -> &'static str {
        self.pick("qemu-system-x86_64", "qemu-system-aarch64")
    }

    /// The target that our programs are compiled for.
    pub const fn triple(self) -> &'static str {
        self.pick("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
    }

    const fn pick(self, x86_64: &'static str, aarch64: &'static str) -> &'static str {
        match self {
            Arch::X86_64 => x86_64,
            Arch::Aarch64 => aarch64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn here_is_where_this_runs() {
        assert_eq!(Arch::HERE.name(), std::env::consts::ARCH);
    }
}

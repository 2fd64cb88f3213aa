//! The list.

use std::path::Path;

use crate::arch::Arch;
use crate::process::is_there;

/// What is going to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Build the programs and the image.
    Build,
    /// Also compile the kernel.
    Kernel,
    /// Boot it.
    Run,
    /// Run all the tests.
    Test,
}

impl Need {
    /// What a command line may say.
    pub const NAMES: &str = "build|kernel|run|test";
}

impl std::str::FromStr for Need {
    type Err = String;

    fn from_str(text: &str) -> Result<Need, String> {
        let all = [Need::Build, Need::Kernel, Need::Run, Need::Test];
        let found = all.into_iter().find(|need| need.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is no task; those are {}", Need::NAMES))
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Need::Build => "build",
            Need::Kernel => "kernel",
            Need::Run => "run",
            Need::Test => "test",
        })
    }
}

/// A Debian package, and how to see that it is installed.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// A program or a file of it; or several, where its versions differ. One is enough.
    pub proof: &'static [&'static str],
    /// Whether bookworm's own is too old.
    pub from_backports: bool,
}

impl Package {
    /// Whether it is installed.
    pub fn is_there(&self) -> bool {
        self.proof
            .iter()
            .any(|proof| if proof.starts_with('/') { Path::new(proof).exists() } else { is_there(proof) })
    }
}

const fn package(name: &'static str, proof: &'static [&'static str]) -> Package {
    Package { name, proof, from_backports: false }
}

/// Bookworm's package and its backport put them into different places.
const IPXE_ROMS: &[&str] = &["/usr/share/qemu/efi-virtio.rom", "/usr/lib/ipxe/qemu/efi-virtio.rom"];

const BUILD: &[Package] = &[
    // The eBPF programs.
    package("clang", &["clang"]),
    package("libbpf-dev", &["/usr/include/bpf/bpf_helpers.h"]),
    // Root, state, and the packages that the kernel comes in.
    package("erofs-utils", &["mkfs.erofs"]),
    package("cryptsetup-bin", &["veritysetup"]),
    package("e2fsprogs", &["mkfs.ext4"]),
    package("xz-utils", &["xz"]),
    package("binutils", &["strip"]),
];

/// What Linux Documentation/process/changes.rst asks for, and pahole for BTF.
const KERNEL: &[Package] = &[
    package("gcc", &["gcc"]),
    package("make", &["make"]),
    package("bc", &["bc"]),
    package("flex", &["flex"]),
    package("bison", &["bison"]),
    package("libelf-dev", &["/usr/include/libelf.h"]),
    package("libssl-dev", &["/usr/include/openssl/ssl.h"]),
    package("dwarves", &["pahole"]),
    package("lz4", &["lz4"]),
];

const QEMU: Package = Package {
    name: match Arch::HERE {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Aarch64 => "qemu-system-arm",
    },
    proof: match Arch::HERE {
        Arch::X86_64 => &["qemu-system-x86_64"],
        Arch::Aarch64 => &["qemu-system-aarch64"],
    },
    from_backports: true,
};

const RUN: &[Package] = &[
    // qemu-img, for qcow2.
    Package { name: "qemu-utils", proof: &["qemu-img"], from_backports: true },
    // 7.2 of bookworm conflicts with newer qemu-utils, and is slower.
    QEMU,
    Package { name: "qemu-system-data", proof: &["/usr/share/qemu/keymaps"], from_backports: true },
    Package { name: "seabios", proof: &["/usr/share/seabios/bios-256k.bin"], from_backports: true },
    Package { name: "ipxe-qemu", proof: IPXE_ROMS, from_backports: true },
];

const TEST: &[Package] = &[
    // The systemd machine that is repaired.
    package("debootstrap", &["debootstrap"]),
    package("openssh-client", &["ssh-keygen"]),
    package("util-linux", &["unshare"]),
    package("iproute2", &["ip"]),
    // DHCP, DNS and router advertisements for the network's test; no daemon comes with it.
    package("dnsmasq-base", &["dnsmasq"]),
    // What chronyd is linked to, which is unpacked and not installed.
    package(
        "libgnutls30",
        &["/usr/lib/x86_64-linux-gnu/libgnutls.so.30", "/usr/lib/aarch64-linux-gnu/libgnutls.so.30"],
    ),
    package(
        "libseccomp2",
        &["/usr/lib/x86_64-linux-gnu/libseccomp.so.2", "/usr/lib/aarch64-linux-gnu/libseccomp.so.2"],
    ),
    // Keys and signatures for Secure Boot.
    package("sbsigntool", &["sbsign"]),
    package("openssl", &["openssl"]),
    // The browser that signs in.
    package("chromium", &["chromium"]),
];

/// All packages that a task needs.
pub fn packages(need: Need) -> Vec<Package> {
    let lists: &[&[Package]] = match need {
        Need::Build => &[BUILD],
        Need::Kernel => &[BUILD, KERNEL],
        Need::Run => &[BUILD, RUN],
        Need::Test => &[BUILD, RUN, TEST],
    };
    lists.concat()
}

//! The boot menu's entries for a reset.
//!
//! Each is a copy of the boot loader itself under a name of its own (image/src/build/esp.rs). It starts the slot that
//! would boot anyway, and leaves its own name in the firmware variable `LoaderImageIdentifier`, which is gone at the
//! next power-on. So the signed command line, the root hash and the boot counters are those of an ordinary boot.

use std::fs;
use std::path::Path;

use rustix::mount::MountFlags;

use super::Kind;

/// Where the kernel shows the firmware's variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// The variable, with the vendor of systemd's Boot Loader Interface.
const VARIABLE: &str = "LoaderImageIdentifier-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Which reset the boot menu was asked for. `None` on an ordinary boot, and on a machine without such firmware.
pub fn chosen() -> Option<Kind> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    // Mounted already is as good; a machine without UEFI has no such directory.
    let mounted = rustix::mount::mount("efivarfs", VARIABLES, "efivarfs", flags, c"");
    let found = fs::read(Path::new(VARIABLES).join(VARIABLE)).ok();
    if mounted.is_ok() {
        let _ = rustix::mount::unmount(VARIABLES, rustix::mount::UnmountFlags::DETACH);
    }
    kind_of(&found?)
}

/// Four bytes of attributes, then the loader's path in UTF-16.
fn kind_of(variable: &[u8]) -> Option<Kind> {
    let words: Vec<u16> =
        variable.get(4..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let path = String::from_utf16_lossy(&words).trim_end_matches('\0').to_ascii_lowercase();
    Kind::ALL.into_iter().find(|kind| path.ends_with(&format!("\\efi\\vakt\\reset-{}.efi", kind.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_entries_for_a_reset_are_one() {
        let variable = |path: &str| {
            let words = path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
            [6u8, 0, 0, 0].into_iter().chain(words).collect::<Vec<u8>>()
        };
        for (path, expected) in [
            ("\\EFI\\vakt\\reset-settings.efi", Some(Kind::Settings)),
            ("\\EFI\\VAKT\\RESET-EVERYTHING.EFI", Some(Kind::Everything)),
            ("\\EFI\\BOOT\\BOOTX64.EFI", None),
            ("\\EFI\\vakt\\reset-nothing.efi", None),
            ("", None),
        ] {
            assert_eq!(kind_of(&variable(path)), expected, "{path}");
        }
        assert_eq!(kind_of(&[]), None);
    }
}

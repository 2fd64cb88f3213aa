//! The partition layout, as data.

use crate::arch::Arch;

/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;

/// Sector size that the table is written for.
pub const SECTOR: u64 = 512;

/// A partition of the image.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// GPT name, by which init finds it.
    pub label: &'static str,
    /// GPT type.
    pub kind: Guid,
    /// Partition id, fixed for reproducibility.
    pub id: Guid,
    /// Size in MiB in the image; state is grown to the disk's end at first boot.
    pub mib: u64,
}

/// A GUID as it is written down.
pub type Guid = &'static str;

/// The disk's own id.
pub const DISK_ID: Guid = "76616b74-0000-4000-8000-000000000000";

/// EFI system partition: two UKIs of some 20 MB, and room for the one being written.
pub const ESP: Slot = Slot {
    label: "vakt-esp",
    kind: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
    id: "76616b74-0000-4000-8000-000000000001",
    mib: 96,
};

/// A root slot: erofs with its hash tree behind it.
pub const ROOT_A: Slot = Slot {
    label: "vakt-root-a",
    kind: Arch::HERE.root_type(),
    id: "76616b74-0000-4000-8000-00000000000a",
    mib: 128,
};

/// The other slot, empty until an update.
pub const ROOT_B: Slot = Slot { label: "vakt-root-b", id: "76616b74-0000-4000-8000-00000000000b", ..ROOT_A };

/// State; last, so that it can grow. Type: Linux variable data.
pub const STATE: Slot = Slot {
    label: "vakt-state",
    kind: "4d21b016-b534-45c2-a9fb-5c16e091fd2d",
    id: "76616b74-0000-4000-8000-0000000000ff",
    mib: 128,
};

/// All of them in disk order.
pub const SLOTS: [Slot; 4] = [ESP, ROOT_A, ROOT_B, STATE];

/// Where the first one begins, in MiB; also the alignment, and the room for the backup table behind
/// the last one.
pub const ALIGN_MIB: u64 = 1;

/// A GUID's bytes as GPT stores them: the first three groups little-endian.
pub fn guid_bytes(text: Guid) -> [u8; 16] {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |c: u8| (c as char).to_digit(16).unwrap_or(0) as u8;
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_efi_type_is_stored_as_uefi_says() {
        let esp =
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(guid_bytes(ESP.kind), esp);
    }
}

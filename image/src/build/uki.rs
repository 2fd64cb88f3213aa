//! The unified kernel image: systemd's EFI stub with kernel, initramfs and command line as further
//! PE sections (UAPI group's UKI specification).

use anyhow::Context;

/// Bytes of a PE section header.
const SECTION_HEADER: usize = 40;

/// IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ.
const DATA: u32 = 0x4000_0040;

/// The stub with the sections appended, in the given order.
///
/// # Errors
/// When the stub is no PE file, or has no room for the headers.
pub fn make(stub: &[u8], sections: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let mut image = Image::parse(stub)?;
    for (name, bytes) in sections {
        image.append(name, bytes)?;
    }
    Ok(image.finish())
}

/// A PE image being extended. Offsets are of the PE/COFF specification.
struct Image {
    bytes: Vec<u8>,
    /// Of the COFF header.
    coff: usize,
    /// Of the section table.
    table: usize,
    sections: usize,
    section_align: u32,
    file_align: u32,
    headers_end: usize,
    /// First free virtual address.
    next_address: u32,
}

impl Image {
    fn parse(stub: &[u8]) -> anyhow::Result<Image> {
        let at = |offset: usize| read(stub, offset);
        let coff = at(0x3C)? as usize + 4;
        anyhow::ensure!(stub.get(coff - 4..coff) == Some(b"PE\0\0"), "the EFI stub is no PE file");
        let sections = (at(coff + 2)? & 0xFFFF) as usize;
        let optional = coff + 20;
        let table = optional + (at(coff + 16)? & 0xFFFF) as usize;
        let section_align = at(optional + 32)?;
        let headers_end = at(optional + 60)? as usize;
        let (mut next_address, mut end) = (0, headers_end);
        for index in 0..sections {
            let header = table + index * SECTION_HEADER;
            next_address = next_address.max(at(header + 12)? + at(header + 8)?);
            end = end.max(at(header + 20)? as usize + at(header + 16)? as usize);
        }
        // Behind the last section lies the symbol table. It would become a gap between sections, and firmware hashes
        // gaps otherwise than sbsign does: the signature would not be good.
        let mut bytes = stub.get(..end).context("the EFI stub is cut short")?.to_vec();
        bytes[coff + 8..coff + 16].fill(0);
        Ok(Image {
            bytes,
            coff,
            table,
            sections,
            // The stub's own 512 would let the kernel's pages share one with its neighbour's.
            section_align: section_align.max(4096),
            file_align: at(optional + 36)?.max(512),
            headers_end,
            next_address,
        })
    }

    fn append(&mut self, name: &str, contents: &[u8]) -> anyhow::Result<()> {
        let header = self.table + self.sections * SECTION_HEADER;
        anyhow::ensure!(
            header + SECTION_HEADER <= self.headers_end,
            "the EFI stub has no room for section {name}"
        );
        anyhow::ensure!(name.len() <= 8, "section name {name} is too long");
        let size = u32::try_from(contents.len()).with_context(|| format!("section {name} is too large"))?;
        let address = self.next_address.next_multiple_of(self.section_align);
        self.bytes.resize(self.bytes.len().next_multiple_of(self.file_align as usize), 0);
        let raw_at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(self.file_align as usize), 0);
        let raw_size = self.bytes.len() as u32 - raw_at;

        self.bytes[header..header + SECTION_HEADER].fill(0);
        self.bytes[header..header + name.len()].copy_from_slice(name.as_bytes());
        for (offset, value) in [(8, size), (12, address), (16, raw_size), (20, raw_at), (36, DATA)] {
            self.write(header + offset, value);
        }
        self.next_address = address + size;
        self.sections += 1;
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        let count = self.sections as u16;
        self.bytes[self.coff + 2..self.coff + 4].copy_from_slice(&count.to_le_bytes());
        let optional = self.coff + 20;
        self.write(optional + 56, self.next_address.next_multiple_of(self.section_align));
        // The checksum is optional for EFI; a stale one would be wrong.
        self.write(optional + 64, 0);
        self.bytes
    }

    fn write(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

fn read(bytes: &[u8], at: usize) -> anyhow::Result<u32> {
    let four = bytes.get(at..at + 4).context("the EFI stub is cut short")?;
    Ok(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest thing that has the headers: one section, room for two more.
    fn stub() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0x3C, 0x40);
        put(0x40, u32::from_le_bytes(*b"PE\0\0"));
        put(0x44, 1 << 16 | 0x8664);
        put(0x44 + 16, 112);
        for (offset, value) in [(32, 512), (36, 512), (60, 0x44 + 20 + 112 + 3 * 40)] {
            put(0x44 + 20 + offset, value);
        }
        let table = 0x44 + 20 + 112;
        put(table + 8, 0x100);
        put(table + 12, 0x1000);
        bytes
    }

    #[test]
    fn sections_are_appended_behind_the_stub_and_read_back() {
        let uki = make(&stub(), &[(".cmdline", b"quiet"), (".linux", &[7; 600])]).unwrap();
        let table = 0x44 + 20 + 112;
        let header =
            |index: usize, offset: usize| read(&uki, table + index * SECTION_HEADER + offset).unwrap();
        assert_eq!(read(&uki, 0x46).unwrap() & 0xFFFF, 3);
        assert_eq!((header(1, 8), header(1, 12)), (5, 0x2000));
        assert_eq!((header(2, 8), header(2, 12)), (600, 0x3000));
        let raw = header(2, 20) as usize;
        assert_eq!(uki[raw..raw + 600], [7; 600]);
        assert_eq!(read(&uki, 0x44 + 20 + 56).unwrap(), 0x4000);
    }

    #[test]
    fn what_lies_behind_the_last_section_of_the_stub_is_left_out() {
        let mut stub = stub();
        let table = 0x44 + 20 + 112;
        stub[table + 16..table + 20].copy_from_slice(&512u32.to_le_bytes());
        stub[table + 20..table + 24].copy_from_slice(&512u32.to_le_bytes());
        // The COFF header's pointer to the symbol table, and the table.
        stub[0x44 + 8..0x44 + 12].copy_from_slice(&1024u32.to_le_bytes());
        stub.extend_from_slice(&[9; 700]);
        let uki = make(&stub, &[(".linux", &[7; 600])]).unwrap();
        assert_eq!(read(&uki, 0x44 + 8).unwrap(), 0);
        assert_eq!(read(&uki, table + SECTION_HEADER + 20).unwrap(), 1024);
        assert!(!uki.contains(&9));
    }

    #[test]
    fn a_stub_without_room_or_sense_is_refused() {
        let three: [(&str, &[u8]); 3] = [(".a", b""), (".b", b""), (".c", b"")];
        assert!(make(&stub(), &three).unwrap_err().to_string().contains("no room for section .c"));
        assert!(make(b"not a stub", &[]).is_err());
    }
}

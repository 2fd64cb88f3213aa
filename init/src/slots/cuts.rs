//! Power cuts: every write to the ESP is recorded, the volume is rebuilt as a cut may leave it, and each
//! time it is read by another FAT implementation.
//!
//! A cut leaves all that was written up to a sync, and of the sectors written since any subset.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use super::entry::{Entry, Slot, TRIES, Tries};
use super::esp::{Staged, Verb, carry_out};
use super::fat::{Disk, Volume};
use super::loader;

const SECTOR: usize = 512;

/// The smallest FAT32 with clusters of one sector, and some room.
const BYTES: usize = 36 << 20;

/// Subsets that are tried of the writes between two syncs.
const SUBSETS: u64 = 24;

#[derive(Clone)]
enum Op {
    Write(u64, Vec<u8>),
    Sync,
}

/// A disk in memory that keeps a record.
struct Recorder {
    bytes: Vec<u8>,
    ops: Vec<Op>,
}

impl Disk for Recorder {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let at = at as usize;
        buffer.copy_from_slice(&self.bytes[at..at + buffer.len()]);
        Ok(())
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.bytes[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        // Sectors are whole, and nothing else is.
        assert!((at as usize).is_multiple_of(SECTOR) && bytes.len().is_multiple_of(SECTOR));
        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
            self.ops.push(Op::Write(at + (index * SECTOR) as u64, sector.to_vec()));
        }
        Ok(())
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.ops.push(Op::Sync);
        Ok(())
    }
}

/// A UKI of some clusters that is like no other.
fn uki(version: &str) -> Vec<u8> {
    (0..7000u32)
        .flat_map(|word| (word ^ (version.len() as u32 * 77)).to_le_bytes())
        .chain(version.bytes())
        .collect()
}

/// An ESP as the image builder makes it, by the library, with these UKIs.
fn esp(names: &[&str]) -> Vec<u8> {
    let mut disk = Cursor::new(vec![0; BYTES]);
    let options = fatfs::FormatVolumeOptions::new().fat_type(fatfs::FatType::Fat32).bytes_per_cluster(512);
    fatfs::format_volume(&mut disk, options).unwrap();
    let volume = fatfs::FileSystem::new(&mut disk, fatfs::FsOptions::new()).unwrap();
    let root = volume.root_dir();
    for directory in ["EFI", "EFI/Linux", "EFI/BOOT"] {
        root.create_dir(directory).unwrap();
    }
    root.create_file("EFI/BOOT/BOOTX64.EFI").unwrap().write_all(b"the boot loader").unwrap();
    // Room for names, as image/src/build/esp.rs makes it.
    for number in 0..24 {
        root.create_file(&format!("EFI/Linux/room for the name number {number:02}")).unwrap();
    }
    for number in 0..24 {
        root.remove(&format!("EFI/Linux/room for the name number {number:02}")).unwrap();
    }
    for name in names {
        let mut file = root.create_file(&format!("EFI/Linux/{name}")).unwrap();
        file.write_all(&uki(&Entry::parse(name).unwrap().version)).unwrap();
    }
    drop(root);
    volume.unmount().unwrap();
    disk.into_inner()
}

/// What the library sees: names with their bytes.
fn look(bytes: &mut Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let volume = fatfs::FileSystem::new(Cursor::new(bytes), fatfs::FsOptions::new()).unwrap();
    let root = volume.root_dir();
    let mut loader = Vec::new();
    root.open_file("EFI/BOOT/BOOTX64.EFI").unwrap().read_to_end(&mut loader).unwrap();
    assert_eq!(loader, b"the boot loader");
    let directory = root.open_dir("EFI/Linux").unwrap();
    let mut found = BTreeMap::new();
    for entry in directory.iter() {
        let entry = entry.unwrap();
        if !entry.is_dir() {
            let mut contents = Vec::new();
            entry.to_file().read_to_end(&mut contents).unwrap();
            assert_eq!(contents.len() as u64, entry.len(), "{}", entry.file_name());
            found.insert(entry.file_name(), contents);
        }
    }
    found
}

fn names(found: &BTreeMap<String, Vec<u8>>) -> Vec<Entry> {
    found.keys().map(|name| Entry::parse(name).unwrap_or_else(|| panic!("{name} is there"))).collect()
}

/// A volume as a cut may leave it.
fn check(bytes: &mut Vec<u8>, verb: &Verb, before: &[Entry], after: &[Entry]) {
    let found = look(bytes);
    for (name, contents) in &found {
        let entry = Entry::parse(name).unwrap_or_else(|| panic!("{verb:?} leaves {name}"));
        assert!(before.contains(&entry) || after.contains(&entry), "{verb:?} leaves {name}");
        assert_eq!(*contents, uki(&entry.version), "{verb:?}: {name} is not what it was");
    }
    let entries = names(&found);
    assert!(entries.contains(&loader::choice(&entries).unwrap().clone()));
    // What stands on both sides of the change is never away, and a slot that keeps its UKI always has one.
    for kept in before.iter().filter(|entry| after.contains(entry)) {
        assert!(entries.contains(kept), "{verb:?} lost {kept}");
    }
    let has = |entries: &[Entry], slot| entries.iter().any(|entry| entry.slot == slot);
    let stages = matches!(verb, Verb::Stage(..));
    for slot in Slot::ALL.into_iter().filter(|slot| has(before, *slot) && has(after, *slot)) {
        assert!(
            has(&entries, slot) || (stages && slot == Slot::B),
            "{verb:?} left slot {slot} without a UKI"
        );
    }
}

/// The next boot's tidying on a volume that a cut left.
fn check_tidied(bytes: Vec<u8>, free_before: usize, verb: &Verb) {
    let mut volume = Volume::open(Recorder { bytes, ops: Vec::new() }).unwrap();
    carry_out(&mut volume, &Verb::Tidy(Slot::A, "1".into()), &[]).unwrap();
    assert_eq!(volume.mend().unwrap(), 0, "{verb:?}: tidying left clusters that belong to nobody");
    let mut bytes = volume.into_disk().bytes;
    let found = look(&mut bytes);
    let entries = names(&found);
    for slot in Slot::ALL {
        assert!(entries.iter().filter(|entry| entry.slot == slot).count() <= 1, "{verb:?}: {entries:?}");
    }
    let used: usize = found.values().map(|contents| contents.len().div_ceil(SECTOR)).sum();
    assert_eq!(free(&bytes), free_before - used, "{verb:?}");
}

/// Free clusters, by the library's count.
fn free(bytes: &[u8]) -> usize {
    let volume = fatfs::FileSystem::new(Cursor::new(bytes.to_vec()), fatfs::FsOptions::new()).unwrap();
    volume.stats().unwrap().free_clusters() as usize
}

/// Records `verb` on an ESP with `names`, and checks every cut of it. Returns what is there in the end.
fn check_every_cut(before: &[&str], verb: Verb, expected: &[&str]) {
    let base = esp(before);
    let free_before = {
        let mut bytes = base.clone();
        let used: usize = look(&mut bytes).values().map(|contents| contents.len().div_ceil(SECTOR)).sum();
        free(&base) + used
    };
    let version = if let Verb::Stage(_, staged) = &verb { staged.version.clone() } else { String::new() };
    let mut volume = Volume::open(Recorder { bytes: base.clone(), ops: Vec::new() }).unwrap();
    carry_out(&mut volume, &verb, &uki(&version)).unwrap();
    let recorder = volume.into_disk();
    let mut done = recorder.bytes.clone();
    let after = names(&look(&mut done));
    let mut sorted: Vec<String> = after.iter().map(Entry::to_string).collect();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert!(matches!(recorder.ops.last(), None | Some(Op::Sync)), "{verb:?} ends without a sync");
    let before: Vec<Entry> = before.iter().map(|name| Entry::parse(name).unwrap()).collect();

    let mut durable = base;
    let mut pending: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut seed = 1u64;
    for op in &recorder.ops {
        match op {
            Op::Write(at, bytes) => pending.push((*at, bytes.clone())),
            Op::Sync => {
                cuts_between(&durable, &pending, &mut seed, |bytes| {
                    check(bytes, &verb, &before, &after);
                });
                for (at, bytes) in pending.drain(..) {
                    durable[at as usize..at as usize + SECTOR].copy_from_slice(&bytes);
                }
                check_tidied(durable.clone(), free_before, &verb);
            }
        }
    }
}

/// Calls `check` with the volume after each prefix of `pending`, and after subsets of it.
fn cuts_between(
    durable: &[u8],
    pending: &[(u64, Vec<u8>)],
    seed: &mut u64,
    mut check: impl FnMut(&mut Vec<u8>),
) {
    let mut disk = durable.to_vec();
    for (number, (at, bytes)) in pending.iter().enumerate() {
        disk[*at as usize..*at as usize + SECTOR].copy_from_slice(bytes);
        // File contents are many sectors alike: the first, the last and every 16th stand for them.
        if number % 16 == 0 || number + 1 == pending.len() || pending.len() < 64 {
            check(&mut disk);
        }
    }
    for _ in 0..SUBSETS.min(1 << pending.len().min(20)) {
        for (at, bytes) in pending {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let from = *at as usize;
            let source = if *seed >> 63 == 1 { bytes } else { &durable[from..from + SECTOR] };
            disk[from..from + SECTOR].copy_from_slice(source);
        }
        check(&mut disk);
    }
}

#[test]
fn blessing_survives_a_cut_anywhere() {
    check_every_cut(
        &["vakt-a_1.efi", "vakt-b_2+2-1.efi"],
        Verb::Bless(Slot::B),
        &["vakt-a_1.efi", "vakt-b_2.efi"],
    );
}

#[test]
fn giving_a_try_back_survives_a_cut_anywhere() {
    check_every_cut(
        &["vakt-a_1.efi", "vakt-b_2+1-2.efi"],
        Verb::GiveBack(Slot::B),
        &["vakt-a_1.efi", "vakt-b_2+2-2.efi"],
    );
}

#[test]
fn condemning_survives_a_cut_anywhere() {
    check_every_cut(
        &["vakt-b_2+2-1.efi", "vakt-a_1.efi"],
        Verb::Condemn(Slot::B),
        &["vakt-a_1.efi", "vakt-b_2+0-1.efi"],
    );
}

#[test]
fn clearing_survives_a_cut_anywhere() {
    check_every_cut(&["vakt-a_1.efi", "vakt-b_2.efi"], Verb::Clear(Slot::B), &["vakt-a_1.efi"]);
}

#[test]
fn staging_survives_a_cut_anywhere() {
    let staged =
        Staged { version: "3".into(), from: String::new(), offset: 0, length: 0, sha256: String::new() };
    check_every_cut(
        &["vakt-a_1.efi", "vakt-b_2.efi"],
        Verb::Stage(Slot::B, staged),
        &["vakt-a_1.efi", "vakt-b_3+3-0.efi"],
    );
}

#[test]
fn what_a_cut_of_the_firmwares_own_rename_leaves_is_tidied() {
    // Two names of one file, and a file of no name.
    let base = esp(&["vakt-a_1.efi", "vakt-b_2+3-0.efi"]);
    let mut volume = Volume::open(Recorder { bytes: base, ops: Vec::new() }).unwrap();
    let items = volume.list("EFI/Linux").unwrap();
    let old = items.iter().find(|item| item.name == "vakt-b_2+3-0.efi").unwrap().clone();
    let tries = Some(Tries { left: TRIES - 1, done: 1 });
    let new = Entry { slot: Slot::B, version: "2".into(), tries };
    volume.share("EFI/Linux", &new.to_string(), &old).unwrap();
    carry_out(&mut volume, &Verb::Tidy(Slot::A, "1".into()), &[]).unwrap();
    let mut bytes = volume.into_disk().bytes;
    let found = look(&mut bytes);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["vakt-a_1.efi", "vakt-b_2+2-1.efi"]);
    assert_eq!(found["vakt-b_2+2-1.efi"], uki("2"), "the clusters that both names had were freed");
}

#[test]
fn an_entry_goes_through_a_whole_life_many_times_and_nothing_leaks() {
    let mut volume = Volume::open(Recorder { bytes: esp(&["vakt-a_1.efi"]), ops: Vec::new() }).unwrap();
    let free_at_first = free(&volume_bytes(&volume));
    for round in 2..60 {
        let version = round.to_string();
        let staged = Staged {
            version: version.clone(),
            from: String::new(),
            offset: 0,
            length: 0,
            sha256: String::new(),
        };
        for verb in [
            Verb::Stage(Slot::B, staged),
            Verb::GiveBack(Slot::B),
            Verb::Bless(Slot::B),
            Verb::Clear(Slot::B),
        ] {
            carry_out(&mut volume, &verb, &uki(&version)).unwrap();
        }
    }
    assert_eq!(free(&volume_bytes(&volume)), free_at_first);
}

fn volume_bytes(volume: &Volume<Recorder>) -> Vec<u8> {
    volume.disk().bytes.clone()
}

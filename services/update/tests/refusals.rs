//! What is refused, against real repositories: with the reason, and with both slots as they were.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod bed;

use jiff::Timestamp;
use serde_json::Value;
use tough::schema::{RoleType, Root, Signed};
use vakt_image::bundle::{Signing, Validity, keys, publish, write_archive};
use vakt_update::digest::Sha256;
use vakt_update::manifest::{Manifest, PIECE_BYTES};

use bed::repository::Fault;
use bed::{Bed, VALID, copy_directory, noise};

/// Installs and expects a refusal of `kind` that says `expected`; nothing was written, no way back was given up.
async fn refused(bed: &Bed, kind: &str, expected: &str) -> Value {
    let (slot, active) = (bed.slot(), bed.active());
    let last = bed.install().await;
    check_refused(bed, &last, kind, expected);
    assert_eq!((bed.slot(), bed.active()), (slot, active), "a slot was touched");
    assert_eq!(bed.init.cleared(), 0, "the slot was taken off the boot menu for nothing");
    last
}

fn check_refused(bed: &Bed, last: &Value, kind: &str, expected: &str) {
    let reason = last["refused"]["reason"].as_str().unwrap_or_default();
    assert_eq!(
        (last["outcome"].as_str(), last["refused"]["kind"].as_str()),
        (Some("refused"), Some(kind)),
        "{last:#}"
    );
    assert!(reason.contains(expected), "{reason:?}, expected {expected:?}");
    assert!(!bed.init.is_staged(), "a refused update was staged");
}

#[tokio::test]
async fn keys_that_the_box_does_not_know_are_refused() {
    let mut bed = Bed::new("").await;
    let others = bed.at("others");
    keys::generate(&others).await.unwrap();
    bed.publish_by(&bed.update("0.2.0"), &Signing::with(&others), VALID).await;
    bed.start().await;
    refused(&bed, "signature", "timestamp metadata has 0 valid signatures of the 1 that it needs").await;
}

#[tokio::test]
async fn a_changed_document_is_refused() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    let path = bed.at("repository/metadata/timestamp.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replacen("\"version\": 1", "\"version\": 7", 1);
    assert_ne!(text, changed);
    std::fs::write(&path, changed).unwrap();
    refused(&bed, "signature", "timestamp").await;
}

/// Someone has the keys that lie on the server and one of the three that say what an update is.
#[tokio::test]
async fn fewer_keys_than_the_threshold_are_refused() {
    let mut bed = Bed::new("").await;
    let mut lenient: Signed<Root> =
        serde_json::from_slice(&std::fs::read(bed.at("keys/root.json")).unwrap()).unwrap();
    lenient.signed.roles.get_mut(&RoleType::Targets).unwrap().threshold = std::num::NonZeroU64::MIN;
    std::fs::write(bed.at("lenient.json"), serde_json::to_vec(&lenient).unwrap()).unwrap();
    let mut stolen = keys::signing(&bed.at("keys"));
    stolen.retain(|path| !path.ends_with("targets-2.key") && !path.ends_with("targets-3.key"));
    let signing = Signing { root: bed.at("lenient.json"), keys: stolen };
    bed.publish_by(&bed.update("0.2.0"), &signing, VALID).await;
    bed.start().await;
    refused(&bed, "signature", "targets metadata has 1 valid signatures of the 2 that it needs").await;
}

#[tokio::test]
async fn expired_metadata_is_refused_and_the_clock_is_told() {
    let mut bed = Bed::new("").await;
    let over = Validity { targets_days: 365, online_days: -1 };
    bed.publish_by(&bed.update("0.2.0"), &Signing::with(&bed.at("keys")), over).await;
    bed.start().await;
    let year = Timestamp::now().to_string()[..5].to_owned();
    refused(
        &bed,
        "expired",
        &format!("timestamp metadata has expired by this box' clock, which says {year}"),
    )
    .await;

    let lapsed = Validity { targets_days: -1, online_days: 90 };
    publish(&bed.at("repository"), &[], &Signing::with(&bed.at("keys")), lapsed).await.unwrap();
    refused(&bed, "expired", "targets metadata has expired").await;
}

#[tokio::test]
async fn an_update_from_the_future_is_refused_and_the_clock_is_told() {
    let mut bed = Bed::new("").await;
    let mut update = bed.update("0.2.0");
    update.made = Timestamp::from_second(Timestamp::now().as_second() + 3600).unwrap();
    bed.publish(&update).await;
    bed.start().await;
    let year = Timestamp::now().to_string()[..5].to_owned();
    let last = refused(&bed, "clock", &format!("the clock says {year}")).await;
    assert!(last["refused"]["reason"].as_str().unwrap().ends_with("when the update was made; set the clock"));
}

#[tokio::test]
async fn older_versions_and_the_running_one_are_refused() {
    for (version, kind, expected) in [
        ("0.0.9", "older-version", "version 0.0.9 is older than 0.1.0, which runs"),
        ("0.1.0", "same-version", "version 0.1.0 runs already"),
    ] {
        let mut bed = Bed::new(version).await;
        bed.start().await;
        refused(&bed, kind, expected).await;
    }
}

#[tokio::test]
async fn another_machine_s_update_is_refused() {
    let mut bed = Bed::new("").await;
    let mut update = bed.update("0.2.0");
    update.machine = "vakt-toaster".into();
    bed.publish(&update).await;
    bed.start().await;
    refused(&bed, "wrong-machine", "the update is for vakt-toaster, this machine is vakt-").await;
}

/// The name is right and the contents are not.
#[tokio::test]
async fn a_manifest_for_another_machine_is_refused() {
    let mut bed = Bed::new("").await;
    let files = bed.write(&bed.update("0.2.0"));
    let mut manifest: Manifest = serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap();
    manifest.machine = "vakt-toaster".into();
    std::fs::write(&files[0], serde_json::to_vec(&manifest).unwrap()).unwrap();
    publish(&bed.at("repository"), &files, &Signing::with(&bed.at("keys")), VALID).await.unwrap();
    bed.start().await;
    refused(&bed, "wrong-machine", "vakt-toaster").await;
}

#[tokio::test]
async fn a_repository_without_updates_is_refused() {
    let mut bed = Bed::new("").await;
    publish(&bed.at("repository"), &[], &Signing::with(&bed.at("keys")), VALID).await.unwrap();
    bed.start().await;
    refused(&bed, "empty", "offers no update").await;
}

#[tokio::test]
async fn an_update_larger_than_the_slot_is_refused() {
    let mut bed = Bed::new("").await;
    let update = bed.sized("0.2.0", noise(3, bed::SLOT_BYTES as usize), noise(4, 4096));
    bed.publish(&update).await;
    bed.start().await;
    let needed = bed::SLOT_BYTES + 4096;
    refused(&bed, "no-room", &format!("the update needs {needed} bytes, the slot has {}", bed::SLOT_BYTES))
        .await;
}

#[tokio::test]
async fn truncated_and_oversized_files_are_refused_before_the_slot_is_given_up() {
    for (ending, change, kind) in [
        (".root", -1, "truncated"),
        (".root", 1, "oversized"),
        (".efi", -4096, "truncated"),
        (".efi", 1 << 20, "oversized"),
        (".json", -1, "truncated"),
    ] {
        let mut bed = Bed::new("0.2.0").await;
        let path = if ending == ".json" { bed.target("x86_64.json") } else { bed.target(ending) };
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len().checked_add_signed(change).unwrap()).unwrap();
        bed.start().await;
        refused(&bed, kind, path.file_name().unwrap().to_str().unwrap()).await;
    }
}

/// A manifest of one build beside the root of another, both signed.
#[tokio::test]
async fn a_mix_of_two_builds_is_refused() {
    let mut bed = Bed::new("").await;
    let files = bed.write(&bed.update("0.2.0"));
    std::fs::write(&files[1], noise(99, (5 << 20) + 3 * 4096)).unwrap();
    publish(&bed.at("repository"), &files, &Signing::with(&bed.at("keys")), VALID).await.unwrap();
    bed.start().await;
    refused(&bed, "mismatch", "the manifest describes another build of it").await;
}

/// The server gives the newest timestamp and snapshot with the targets of before.
#[tokio::test]
async fn a_mix_of_two_states_of_the_repository_is_refused() {
    let mut bed = Bed::new("0.2.0").await;
    bed.publish(&bed.update("0.3.0")).await;
    let metadata = bed.at("repository/metadata");
    std::fs::copy(metadata.join("1.targets.json"), metadata.join("2.targets.json")).unwrap();
    bed.start().await;
    let last = bed.install().await;
    assert!(["mismatch", "oversized"].contains(&last["refused"]["kind"].as_str().unwrap()), "{last:#}");
    assert!(last["refused"]["reason"].as_str().unwrap().contains("2.targets.json"), "{last:#}");
    assert_eq!(bed.init.cleared(), 0);
}

#[tokio::test]
async fn data_without_end_is_cut_off() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    // A root that is not there yet is asked for as well.
    std::fs::write(bed.at("repository/metadata/2.root.json"), "x").unwrap();
    for name in ["timestamp.json", "1.snapshot.json", "1.targets.json", "2.root.json"] {
        bed.server.misbehave(name, Fault::Endless);
        bed.server.misbehave("2.root.json", Fault::Missing);
        refused(&bed, "oversized", name).await;
        bed.server.behave();
    }
    assert!(bed.peak_memory() < 64 << 20, "{} bytes at the peak", bed.peak_memory());
}

#[tokio::test]
async fn a_file_without_end_is_cut_off() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    bed.server.misbehave(".efi", Fault::Endless);
    let last = bed.install().await;
    check_refused(&bed, &last, "mismatch", ".efi is not what was signed: piece 0 of 2");
    assert_eq!(bed.active(), Sha256::of(&noise(1, 1 << 20)));
}

#[tokio::test]
async fn a_changed_file_is_refused_at_its_first_wrong_piece_which_is_not_written() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    let path = bed.target(".root");
    let mut root = std::fs::read(&path).unwrap();
    let good = root.clone();
    root[2 * PIECE_BYTES as usize + 5] ^= 1;
    std::fs::write(&path, &root).unwrap();
    let last = bed.install().await;
    check_refused(&bed, &last, "mismatch", "piece 2 of 6 has another hash");
    let (slot, before) = (std::fs::read(bed.at("slot-b")).unwrap(), noise(2, bed::SLOT_BYTES as usize));
    let two = 2 * PIECE_BYTES as usize;
    assert!(
        slot[..two] == good[..two] && slot[two..] == before[two..],
        "more than the good pieces was written"
    );
    assert_eq!(bed.init.cleared(), 1, "what is half written must not be on the boot menu");
}

/// What was seen outlives the service; an older state of the repository is refused, and so is an archive of it.
#[tokio::test]
async fn a_rollback_of_the_repository_is_refused_after_a_restart_too() {
    let mut bed = Bed::new("").await;
    let files = bed.publish(&bed.update("0.2.0")).await;
    let (metadata, old) = (bed.at("repository/metadata"), bed.at("old"));
    copy_directory(&metadata, &old);
    write_archive(&bed.at("repository"), &files, &bed.at("old.tar")).unwrap();
    bed.publish(&bed.update("0.3.0")).await;
    bed.start().await;
    let state = bed.check().await;
    assert_eq!(state["available"]["version"], "0.3.0", "{state:#}");

    std::fs::remove_dir_all(&metadata).unwrap();
    copy_directory(&old, &metadata);
    refused(&bed, "rollback", "this box has seen newer metadata").await;
    assert_eq!(bed.check().await["available"]["version"], "0.3.0", "what was verified stays shown");
    bed.kill();
    bed.start().await;
    refused(&bed, "rollback", "this box has seen newer metadata").await;
    let (status, answer) = bed.upload(std::fs::read(bed.at("old.tar")).unwrap()).await;
    assert_eq!((status, answer["kind"].as_str()), (422, Some("rollback")), "{answer}");
}

/// A root that withdraws the old keys was seen once; withholding it afterwards does not bring them back.
#[tokio::test]
async fn withdrawn_keys_stay_withdrawn_when_the_new_root_is_withheld() {
    let mut bed = Bed::new("0.2.0").await;
    let (metadata, old) = (bed.at("repository/metadata"), bed.at("old"));
    copy_directory(&metadata, &old);
    keys::generate(&bed.at("new")).await.unwrap();
    let read = |path| serde_json::from_slice::<Signed<Root>>(&std::fs::read(path).unwrap()).unwrap().signed;
    let (first, mut second) = (read(bed.at("keys/root.json")), read(bed.at("new/root.json")));
    second.version = first.version.checked_add(1).unwrap();
    second.roles.insert(RoleType::Root, first.roles[&RoleType::Root].clone());
    second.keys.extend(first.keys.iter().map(|(id, key)| (id.clone(), key.clone())));
    let root_keys: Vec<_> = (1..=3).map(|n| keys::file(&bed.at("keys"), RoleType::Root, n)).collect();
    let one = keys::sign_root(second.clone(), &first, &root_keys[..1]).await.unwrap();
    std::fs::write(metadata.join("2.root.json"), one).unwrap();
    bed.start().await;
    refused(&bed, "signature", "root metadata has 1 valid signatures of the 2 that it needs").await;

    let signed = keys::sign_root(second, &first, &root_keys).await.unwrap();
    for file in ["timestamp.json", "1.snapshot.json", "1.targets.json"] {
        std::fs::remove_file(metadata.join(file)).unwrap();
    }
    std::fs::write(metadata.join("2.root.json"), &signed).unwrap();
    std::fs::write(bed.at("new/root.json"), &signed).unwrap();
    bed.publish_by(&bed.update("0.2.0"), &Signing::with(&bed.at("new")), VALID).await;
    let state = bed.check().await;
    assert_eq!(state["checked"]["refused"], Value::Null, "{state:#}");

    std::fs::remove_dir_all(&metadata).unwrap();
    copy_directory(&old, &metadata);
    refused(&bed, "signature", "timestamp metadata has 0 valid signatures").await;
}

#[tokio::test]
async fn redirects_and_lost_servers_are_refused() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    bed.server.misbehave("timestamp.json", Fault::Elsewhere);
    refused(&bed, "transfer", "redirects to http://127.0.0.1:1/, which is not followed").await;
    bed.kill();
    bed.config = bed.config.replace(&bed.server.url(), "http://127.0.0.1:1");
    bed.start().await;
    refused(&bed, "transfer", "127.0.0.1:1").await;
}

#[tokio::test]
async fn archives_are_refused_for_the_same_reasons() {
    let mut bed = Bed::new("").await;
    // Made once: the manifest names the second.
    let files = bed.publish(&bed.update("0.2.0")).await;
    write_archive(&bed.at("repository"), &files, &bed.at("good.tar")).unwrap();
    let good = std::fs::read(bed.at("good.tar")).unwrap();
    bed.start().await;
    let before = bed.slot();
    let check = async |archive: Vec<u8>, expected: u16, kind: &str| {
        let (status, answer) = bed.upload(archive).await;
        assert_eq!((status, answer["kind"].as_str()), (expected, Some(kind)), "{answer}");
        assert!(!bed.init.is_staged());
    };
    check(b"PK\x03\x04 no tar".repeat(100), 422, "malformed").await;
    check(Vec::new(), 422, "malformed").await;
    check(good[512..].to_vec(), 422, "malformed").await;
    check(good[..2000].to_vec(), 422, "truncated").await;
    assert_eq!((bed.slot(), bed.init.cleared()), (before, 0), "nothing is written before it is verified");

    // From here on the beginning is good, so the slot is taken into use, and is never on the boot menu.
    check(good[..good.len() / 2].to_vec(), 422, "truncated").await;
    assert_eq!(bed.init.cleared(), 1);
    let mut changed = good.clone();
    let at = good.len() - (1 << 20);
    changed[at] ^= 1;
    check(changed, 422, "mismatch").await;
    assert_eq!(bed.active(), Sha256::of(&noise(1, 1 << 20)));
}

#[tokio::test]
async fn a_slot_that_init_does_not_give_is_not_written() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    bed.init.refuse("slot a is on trial; the other one stays until it is blessed");
    refused(&bed, "init", "init: slot a is on trial; the other one stays until it is blessed").await;
}

#[tokio::test]
async fn without_a_slot_or_a_repository_or_init_there_is_no_install() {
    let mut bed = Bed::new("0.2.0").await;
    std::fs::remove_file(bed.at("slot-b")).unwrap();
    bed.start().await;
    let last = bed.install().await;
    check_refused(&bed, &last, "not-set-up", "there is no slot to write to on this machine");

    let mut bed = Bed::new("0.2.0").await;
    bed.config = "version = 1\n".into();
    bed.start().await;
    refused(&bed, "not-set-up", "write [update] repository").await;
    bed.kill();
    bed.config = format!("version = 1\n[update]\nrepository = \"{}\"\n", bed.server.url());
    std::fs::remove_file(bed.at("init.sock")).unwrap();
    bed.start().await;
    refused(&bed, "init", "init.sock").await;
}

//! Evidence moves with its box: repairs of a real machine leave records, a backup takes them and their key to a new
//! box, and the chain goes on there as if nothing had been.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vakt_qemu_tests::container::{self, Container, TOKEN, config};
use vakt_qemu_tests::systemd_peer::{self, DEMO, SystemdPeer};
use vakt_qemu_tests::{harness, programs};

const PASSPHRASE: &str = "a long passphrase for tests";

fn main() -> ExitCode {
    let missing = container::missing().or_else(systemd_peer::missing);
    harness::run(missing, &[("evidence_of_repairs_goes_on_on_the_box_that_a_backup_was_restored_to", moves)])
}

fn moves() -> Result<()> {
    let peer = SystemdPeer::start()?;
    let directory = tempfile::tempdir()?;
    let mut first = Container::start(&watching(&peer))?;
    repaired(&first, &peer, 1)?;
    let backup = directory.path().join("backup");
    vaktctl(&first, &backup, &["backup"])?;
    let (head, key) = (head(&first)?, public_key(&first)?);
    ensure!(first.stop()?.success(), "the first box did not end well");

    let mut second = Container::start(&config(""))?;
    ensure!(public_key(&second)? != key, "a new box has the first one's key");
    let told = vaktctl(&second, &backup, &["restore"])?;
    ensure!(told.contains("evidence: ") && !told.contains("the box keeps its own"), "{told}");
    // Peers and policies cut nobody off: the config is in force without a trial.
    ensure!(!told.contains("on trial"), "{told}");
    second.wait_for("the evidence's head to be the first box'", || {
        // repair begins anew with the key that came.
        Ok((self::head(&second).ok().as_ref() == Some(&head)).then_some(()))
    })?;
    ensure!(public_key(&second)? == key, "the key did not come back");
    repaired(&second, &peer, 2)?;
    let records = self::head(&second)?.0;
    ensure!(records > head.0, "no record came behind the {} that were restored", head.0);
    let told = verified(&second, &key, &format!("{}:{}", head.0, head.1))?;
    ensure!(told.contains(&records.to_string()), "{records} records are not what was verified: {told}");
    ensure!(
        verified(&second, &"0".repeat(64), &format!("{}:{}", head.0, head.1)).is_err(),
        "any key will do"
    );
    ensure!(second.stop()?.success(), "the second box did not end well");
    Ok(())
}

fn watching(peer: &SystemdPeer) -> String {
    config(&format!(
        "[ssh]\nread_key = \"\"\"\n{}\"\"\"\nrepair_key = \"\"\"\n{}\"\"\"\n[[peer]]\nname = \"db1\"\naddress = \"{}\"\n\
         host_key = \"{}\"\n[[policy]]\nname = \"restart-demo\"\nyaml = \"\"\"\nversion: 1\nname: restart-demo\n\
         match: {{unit: {DEMO}, peers: [db1], state: failed}}\nguards: {{max_per_hour: 20, cooldown: 1s}}\n\
         action: {{verb: restart, timeout: 20s}}\nverify: {{active_for: 1s}}\n\"\"\"\n",
        peer.read_key(),
        peer.repair_key(),
        peer.address(),
        peer.host_key().trim(),
    ))
}

/// Breaks the unit, and waits until the box has `count` repairs that are over.
fn repaired(container: &Container, peer: &SystemdPeer, count: usize) -> Result<()> {
    container.wait_for("the peer to be connected", || {
        let peers = container.ask("repair", "/v1/peers")?;
        Ok((peers.pointer("/peers/0/state") == Some(&Value::from("connected"))).then_some(()))
    })?;
    peer.fail_unit(DEMO)?;
    container.wait_for("the repair to be over", || {
        let repairs = container.ask("repair", "/v1/repairs?limit=100")?;
        let all = repairs["repairs"].as_array().context("no list of repairs")?;
        let over = all.iter().filter(|repair| repair["outcome"] == "held").count();
        Ok((over >= count).then_some(()))
    })
}

/// The newest record's number and hash.
fn head(container: &Container) -> Result<(u64, String)> {
    let head = container.ask("repair", "/v1/evidence/head")?;
    let hash = head["hash"].as_str().with_context(|| format!("no head: {head}"))?;
    Ok((head["seq"].as_u64().context("no number")?, hash.to_owned()))
}

fn public_key(container: &Container) -> Result<String> {
    let head = container.ask("repair", "/v1/evidence/head")?;
    Ok(head["public_key"].as_str().with_context(|| format!("no key: {head}"))?.to_owned())
}

/// What `vakt-repair verify` says of the chain in the box' store.
fn verified(container: &Container, key: &str, head: &str) -> Result<String> {
    let store = format!("/proc/{}/root/run/vakt/store/http.sock", container.pid);
    let output = Command::new(programs::path("vakt-repair")?)
        .args(["verify", "--store", &store, "--public-key", key, "--head", head])
        .output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

/// `vaktctl WORDS`; backup and restore get the file and the passphrase too.
fn vaktctl(container: &Container, backup: &Path, words: &[&str]) -> Result<String> {
    let at = |name: &str| backup.with_file_name(name);
    std::fs::write(at("token"), TOKEN)?;
    std::fs::write(at("passphrase"), PASSPHRASE)?;
    let mut command = Command::new(programs::directory()?.join("vaktctl"));
    command.args(["--box", &container.https.to_string(), "--fingerprint", &container.fingerprint]);
    command.arg("--token-file").arg(at("token")).args(words);
    if matches!(words, ["backup" | "restore"]) {
        command.arg(backup).arg("--passphrase-file").arg(at("passphrase"));
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "vaktctl {words:?}: {said}");
    Ok(said)
}

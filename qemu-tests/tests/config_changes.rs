//! The machine config of a running appliance, changed with vaktctl: checked, applied, on trial, undone by
//! itself, confirmed, and there after a restart.

use std::process::{ExitCode, Output};
use std::time::Duration;

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};
use vakt_qemu_tests::container::{self, Container, config};
use vakt_qemu_tests::harness;
use vakt_qemu_tests::programs;

/// A token that may change the config.
const CTL_TOKEN: &str = "another token for tests";

/// The shortest trial there is, as vaktctl takes it.
const TRIAL: &str = "10s";

fn main() -> ExitCode {
    harness::run(
        container::missing(),
        &[("a_change_is_checked_tried_undone_by_itself_confirmed_and_kept", changes)],
    )
}

fn with_token(more: &str) -> String {
    let hash: String = Sha256::digest(CTL_TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    config(&format!(
        "[[token]]\nname = \"ctl\"\nsha256 = \"{hash}\"\nscopes = [\"config:read\", \"config:write\"]\n{more}"
    ))
}

fn vaktctl(container: &Container, words: &[&str]) -> Result<Output> {
    let token = container.state.join("../token");
    std::fs::write(&token, CTL_TOKEN)?;
    let words = [&["config"], words].concat();
    programs::vaktctl(container.https, &container.fingerprint, &token, &words)
}

fn good(container: &Container, words: &[&str]) -> Result<String> {
    let ran = vaktctl(container, words)?;
    ensure!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    Ok(String::from_utf8(ran.stdout)?)
}

fn refused(container: &Container, words: &[&str]) -> Result<String> {
    let ran = vaktctl(container, words)?;
    ensure!(!ran.status.success(), "{words:?} was not refused: {}", String::from_utf8_lossy(&ran.stdout));
    Ok(String::from_utf8(ran.stderr)?)
}

fn changes() -> Result<()> {
    let first = with_token("");
    let mut container = Container::start(&first)?;
    ensure!(good(&container, &["get"])? == first, "the document is not what was given");

    // What concerns nobody's way in is in force at once, and only its service begins anew.
    let file = container.state.join("../new.toml");
    let path = file.to_string_lossy().into_owned();
    std::fs::write(&file, first.replace("interval = \"1s\"", "interval = \"2s\""))?;
    let said = good(&container, &["validate", &path])?;
    ensure!(said == "valid; restarts collector, probe\n", "validate said {said}");
    let said = good(&container, &["diff", &path])?;
    ensure!(said.contains("-interval = \"1s\"\n+interval = \"2s\"\n"), "diff said {said}");
    let said = good(&container, &["apply", &path, "--why", "half the load"])?;
    ensure!(said.ends_with("is in force; restarts collector, probe\n"), "apply said {said}");
    container.console.wait_for("by token ctl is in force", Duration::from_secs(10))?;
    container.eventually("/api/v1/query?query=up", |text| text.contains("success").then_some(()))?;

    // A wrong one is refused with the place, and nothing changes.
    std::fs::write(&file, first.replace("interval = \"1s\"", "interval = \"99s\""))?;
    let said = refused(&container, &["apply", &path])?;
    ensure!(said.contains("scrape.interval: 99s is longer"), "apply said {said}");
    let said = refused(&container, &["apply", &path, "--base", "1"])?;
    ensure!(said.contains("scrape.interval"), "apply said {said}");

    // One that takes the token of its own author away is on trial, and nobody is left to confirm it.
    std::fs::write(&file, config("# locked out\n"))?;
    let said = good(&container, &["apply", &path, "--confirm-within", TRIAL])?;
    ensure!(said.contains("on trial; restarts collector, web"), "apply said {said}");
    container.console.wait_for("was not confirmed within 10 s and is undone", Duration::from_secs(30))?;
    container.wait_for("the token works again", || {
        Ok(vaktctl(&container, &["get"])?.status.success().then_some(()))
    })?;
    ensure!(good(&container, &["get"])?.contains("interval = \"2s\""), "the one before is not in force");

    // One that is confirmed stays, and the history says who and why; the catalog has a copy.
    std::fs::write(&file, with_token("# kept\n").replace("\"guard\"", "\"watch\""))?;
    good(&container, &["apply", &path, "--confirm-within", "5m"])?;
    container
        .wait_for("web is back", || Ok(vaktctl(&container, &["get"])?.status.success().then_some(())))?;
    let said = refused(&container, &["apply", &path])?;
    ensure!(said.contains("waits for its confirmation"), "apply said {said}");
    let said = good(&container, &["confirm"])?;
    ensure!(said.ends_with("is kept\n"), "confirm said {said}");
    let history = good(&container, &["history"])?;
    for part in ["token ctl; half the load", "not confirmed within 10 s", "*     5  "] {
        ensure!(history.contains(part), "the history lacks {part:?}:\n{history}");
    }
    let catalog = container.wait_for("the catalog's copy", || {
        let answer = container.ask("store", "/catalog/v1/config")?.to_string();
        Ok(answer.contains("half the load").then_some(answer))
    })?;
    ensure!(catalog.contains("0000000004"), "the undone revision is not copied: {catalog}");

    // It is there after a restart, though the disk's document (which stays in the box) says otherwise.
    container.restart()?;
    ensure!(good(&container, &["get"])?.contains("# kept"), "the confirmed config is lost");
    let said = good(&container, &["rollback", "3", "--confirm-within", "5m"])?;
    ensure!(said.contains("on trial"), "rollback said {said}");
    container
        .wait_for("web is back", || Ok(vaktctl(&container, &["get"])?.status.success().then_some(())))?;
    let said = good(&container, &["take-back"])?;
    ensure!(said.starts_with("undone"), "take-back said {said}");
    ensure!(container.stop()?.success(), "the container did not end well");
    Ok(())
}

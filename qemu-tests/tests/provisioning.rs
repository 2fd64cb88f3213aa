//! A box from its first visitor to its resets: the set-up code and the steps after it, backup and restore, the reset of
//! the settings and that of everything.

use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use vakt_qemu_tests::container::{self, Container, TOKEN, config};
use vakt_qemu_tests::programs;
use vakt_qemu_tests::visitor::Visitor;

const PASSWORD: &str = "correct horse battery";

/// A line of the console, on a builder that is busy.
const SAID_WITHIN: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Some(reason) = container::missing() {
        let trial = Trial::test(format!("skipped: {reason}"), || Ok(())).with_ignored_flag(true);
        return libtest_mimic::run(&arguments, vec![trial]).exit_code();
    }
    let trial = Trial::test("a_box_is_set_up_and_reset_and_knows_what_stays", || {
        life().map_err(|error| Failed::from(format!("{error:#}")))
    });
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn life() -> Result<()> {
    let mut container = Container::start(&config(""))?;
    let first = identity(&container)?;
    let mut visitor = set_up(&container)?;
    let line = b"{\"_msg\":\"kept across a reset of the settings\"}\n";
    let answer = container.post("/insert/jsonline", "Content-Type: application/x-ndjson\r\n", line)?;
    ensure!(answer.status == 200, "the insert was refused: {}", answer.text());

    settings_are_reset(&mut container, &mut visitor)?;
    ensure!(identity(&container)? == first, "a reset of the settings has changed the identity");
    logged(&container, "kept across a reset of the settings", true)?;

    everything_is_reset(&mut container)?;
    let second = identity(&container)?;
    for (before, after) in first.iter().zip(&second) {
        ensure!(before != after, "{before} has outlived a reset of everything");
    }
    logged(&container, "kept across a reset of the settings", false)?;
    ensure!(container.stop()?.success(), "the container did not end well");
    Ok(())
}

/// Certificate, machine id, public SSH keys, evidence's key.
fn identity(container: &Container) -> Result<Vec<String>> {
    let machine = container.ask("init", "/v1/machine")?;
    let mut all = vec![container.fingerprint.clone()];
    all.push(machine["machine_id"].as_str().context("no machine id")?.to_owned());
    for purpose in ["read", "repair"] {
        all.push(machine["ssh_public_keys"][purpose].as_str().context("no SSH key")?.to_owned());
    }
    all.push(format!("{:?}", std::fs::read(container.state.join("init/evidence.key"))?));
    Ok(all)
}

/// The first visitor, with the code on the console.
fn set_up(container: &Container) -> Result<Visitor> {
    let code = container.console.wait_for("vakt: setup code ", SAID_WITHIN)?;
    let mut visitor = Visitor::new(container.https);
    visitor.open("/")?;
    ensure!(visitor.page().contains("Set up this box"), "no set-up form:\n{}", visitor.page());
    let fields = [("user", "admin"), ("password", PASSWORD), ("password_again", PASSWORD)];
    let answer = visitor.send("/set-up", &[&fields[..], &[("code", "AAAA-AAAA")]].concat())?;
    visitor.expect(&answer, 403)?;
    let answer = visitor.send("/set-up", &[&fields[..], &[("code", code.as_str())]].concat())?;
    visitor.expect(&answer, 200)?;
    container.console.wait_for("vakt: set up by admin", SAID_WITHIN)?;
    Ok(visitor)
}

fn settings_are_reset(container: &mut Container, visitor: &mut Visitor) -> Result<()> {
    let answer = visitor.open("/box")?;
    visitor.expect(&answer, 200)?;
    let answer = visitor.send("/box/reset", &[("kind", "settings"), ("name", "another box")])?;
    visitor.expect(&answer, 422)?;
    ensure!(visitor.page().contains("the box is called guard"), "no reason given:\n{}", visitor.page());
    let answer = visitor.send("/box/reset", &[("kind", "settings"), ("name", "guard")])?;
    visitor.expect(&answer, 202)?;
    container.console.wait_for("vakt: admin asks to reset settings", SAID_WITHIN)?;
    container.restart()?;
    container.console.wait_for("vakt: reset done: settings, as admin asked", SAID_WITHIN)?;
    // Nobody can sign in any more: not with the old session, and a new code is there.
    container.console.wait_for("vakt: setup code ", SAID_WITHIN)?;
    visitor.open("/box")?;
    ensure!(visitor.page().contains("Set up this box"), "the old session is still good:\n{}", visitor.page());
    container.eventually("/select/logsql/query?query=%22reset%20done%22&limit=5", |text| {
        text.contains("settings, as admin asked").then_some(())
    })
}

fn everything_is_reset(container: &mut Container) -> Result<()> {
    let ran = vaktctl(container, &["reset", "everything", "--name", "another"])?;
    ensure!(!ran.status.success(), "a reset of another box was taken");
    let ran = vaktctl(container, &["reset", "everything", "--name", "guard"])?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    container.restart()?;
    container.console.wait_for("vakt: reset done: everything, as token tests asked", SAID_WITHIN)?;
    let users = container.ask("store", "/catalog/v1/users")?;
    ensure!(users["items"] == Value::Array(Vec::new()), "users have outlived a reset of everything: {users}");
    Ok(())
}

fn logged(container: &Container, line: &str, is_there: bool) -> Result<()> {
    let encoded: String = format!("\"{line}\"").bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/select/logsql/query?query={encoded}&limit=5");
    if is_there {
        return container.eventually(&path, |text| text.contains(line).then_some(()));
    }
    let answer = container.get(&path)?;
    ensure!(answer.status == 200 && !answer.text().contains(line), "{line:?} is still there");
    Ok(())
}

fn vaktctl(container: &Container, words: &[&str]) -> Result<Output> {
    let token = container.state.join("../token");
    std::fs::write(&token, TOKEN)?;
    Ok(Command::new(programs::directory()?.join("vaktctl"))
        .args(["--box", &container.https.to_string(), "--fingerprint", &container.fingerprint])
        .arg("--token-file")
        .arg(&token)
        .args(words)
        .output()?)
}

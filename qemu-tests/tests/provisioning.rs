//! A box from its first visitor to its resets: the set-up code and the steps after it, backup and restore, the reset of
//! the settings and that of everything.

use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vakt_qemu_tests::container::{self, Container, TOKEN, config};
use vakt_qemu_tests::visitor::Visitor;
use vakt_qemu_tests::{harness, programs};

const PASSWORD: &str = "correct horse battery";
const PASSPHRASE: &str = "a long passphrase for tests";

/// A line of the console, on a builder that is busy.
const SAID_WITHIN: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    harness::run(
        container::missing(),
        &[("a_box_is_set_up_backed_up_reset_and_restored_and_knows_what_stays", life)],
    )
}

fn life() -> Result<()> {
    let mut container = Container::start(&config(""))?;
    let first = identity(&container)?;
    let mut visitor = set_up(&container, "admin")?;
    the_steps_after_it(&container, &mut visitor)?;
    let line = b"{\"_msg\":\"kept across a reset of the settings\"}\n";
    let answer = container.post("/insert/jsonline", "Content-Type: application/x-ndjson\r\n", line)?;
    ensure!(answer.status == 200, "the insert was refused: {}", answer.text());
    let read_key = read_key(&container)?;
    let backup = taken_and_refused(&container)?;

    settings_are_reset(&mut container, &mut visitor)?;
    ensure!(identity(&container)? == first, "a reset of the settings has changed the identity");
    logged(&container, "kept across a reset of the settings", true)?;

    everything_is_reset(&mut container)?;
    let second = identity(&container)?;
    for (before, after) in first.iter().zip(&second) {
        ensure!(before != after, "{before} has outlived a reset of everything");
    }
    logged(&container, "kept across a reset of the settings", false)?;

    restored(&container, &backup)?;
    ensure!(self::read_key(&container)? == read_key, "the SSH key did not come back");
    ensure!(container.stop()?.success(), "the container did not end well");
    Ok(())
}

/// Name, network and first peer, as somebody without JavaScript goes through them.
fn the_steps_after_it(container: &Container, visitor: &mut Visitor) -> Result<()> {
    ensure!(visitor.page().contains("1 of 3"), "no first step:\n{}", visitor.page());
    let answer = visitor.send("/welcome", &[("verb", "apply"), ("hostname", "not a name")])?;
    visitor.expect(&answer, 422)?;
    let apply = |visitor: &mut Visitor, fields: &[(&str, &str)], mark: &str| {
        let before = web_restarts(container)?;
        // The way on from the form's answer may meet the old life's end.
        let _ = visitor.send("/welcome", &[&[("verb", "apply")], fields].concat());
        web_is_back(container, before)?;
        container.wait_for(mark, || {
            let opened = visitor.open("/welcome").is_ok();
            Ok((opened && visitor.page().contains(mark)).then_some(()))
        })
    };
    apply(visitor, &[("hostname", "watch")], "2 of 3")?;
    let fixed =
        [("how", "static"), ("interface", "eth0"), ("address", "192.0.2.9/24"), ("gateway", ""), ("dns", "")];
    let answer = visitor.send("/welcome", &[&[("verb", "apply")], &fixed[..]].concat())?;
    visitor.expect(&answer, 200)?;
    for part in ["on trial", "https://192.0.2.9/welcome"] {
        ensure!(visitor.page().contains(part), "{part:?} is not on the page:\n{}", visitor.page());
    }
    visitor.send("/welcome", &[("verb", "undo")])?;
    ensure!(visitor.page().contains("2 of 3"), "not back at the network:\n{}", visitor.page());
    visitor.send("/welcome", &[("verb", "skip")])?;
    let peer = [("name", "db1"), ("address", "192.0.2.7:22"), ("host_key", "ssh-ed25519 AAAAC3")];
    apply(visitor, &peer, "3 of 3")?;
    let answer = visitor.send("/welcome", &[("verb", "end")])?;
    visitor.expect(&answer, 200)?;
    ensure!(!visitor.page().contains("go on"), "the steps have no end:\n{}", visitor.page());
    let answer = container.get("/api/vakt/v1/config")?.text();
    ensure!(answer.contains("watch") && answer.contains("db1"), "the config lacks what was typed: {answer}");
    Ok(())
}

/// How often web has begun anew, once it is ready.
fn web_restarts(container: &Container) -> Result<u64> {
    container.wait_for("web to be ready", || {
        let services = container.ask("init", "/v1/services")?;
        let web = services.as_array().into_iter().flatten().find(|service| service["name"] == "web");
        let web = web.context("no web among the services")?;
        Ok((web["state"] == "ready").then(|| web["restarts"].as_u64()).flatten())
    })
}

/// A change of its slice of the config has restarted web.
fn web_is_back(container: &Container, before: u64) -> Result<()> {
    container.wait_for("web to begin anew", || Ok((web_restarts(container)? > before).then_some(())))
}

/// The SSH key that the collector signs in with.
fn read_key(container: &Container) -> Result<String> {
    let slice = format!("/proc/{}/root/run/vakt/config/collector.toml", container.pid);
    let config = vakt_wire::config::parse(&std::fs::read_to_string(slice)?)?;
    Ok(config.ssh.read_key.context("no key in the collector's slice")?.as_str().to_owned())
}

/// A backup by vaktctl; and what a restore does not take.
fn taken_and_refused(container: &Container) -> Result<Vec<u8>> {
    let at = |name: &str| container.directory().join(name);
    let words = |file: &str, passphrase: &str| -> Result<Vec<String>> {
        std::fs::write(at("passphrase"), passphrase)?;
        let file = at(file).to_string_lossy().into_owned();
        Ok(vec![file, "--passphrase-file".into(), at("passphrase").to_string_lossy().into_owned()])
    };
    let run = |verb: &str, words: Vec<String>| {
        let words: Vec<&str> = [verb].into_iter().chain(words.iter().map(String::as_str)).collect();
        vaktctl(container, &words)
    };
    let refused = |ran: Output, reason: &str| -> Result<()> {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        ensure!(
            !ran.status.success() && said.contains(reason),
            "{reason:?} is not why it was refused: {said}"
        );
        Ok(())
    };
    refused(run("backup", words("short", "too short")?)?, "at least 12 characters")?;
    let ran = run("backup", words("backup", PASSPHRASE)?)?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let backup = std::fs::read(at("backup"))?;
    let clear = String::from_utf8_lossy(&backup).into_owned();
    ensure!(!clear.contains("PRIVATE KEY") && !clear.contains("watch"), "the backup is not encrypted");

    refused(run("restore", words("backup", "another passphrase")?)?, "the passphrase is wrong")?;
    std::fs::write(at("cut"), &backup[..backup.len() - 1])?;
    refused(run("restore", words("cut", PASSPHRASE)?)?, "cut off")?;
    std::fs::write(at("other"), "hello")?;
    refused(run("restore", words("other", PASSPHRASE)?)?, "no backup")?;
    Ok(backup)
}

/// On a new box, by the page: config and keys are back, the user of the backup stands beside the one who restores.
fn restored(container: &Container, backup: &[u8]) -> Result<()> {
    let mut visitor = set_up(container, "somebody")?;
    visitor.open("/box")?;
    let answer = visitor.upload("/box/restore", &[("passphrase", "another passphrase")], backup)?;
    visitor.expect(&answer, 422)?;
    ensure!(visitor.page().contains("the passphrase is wrong"), "no reason given:\n{}", visitor.page());
    let before = web_restarts(container)?;
    let answer = visitor.upload("/box/restore", &[("passphrase", PASSPHRASE)], backup)?;
    visitor.expect(&answer, 200)?;
    web_is_back(container, before)?;
    ensure!(visitor.page().contains("1 users were added; 0 were here"), "{}", visitor.page());
    container.eventually("/api/vakt/v1/config", |text| {
        (text.contains("watch") && text.contains("db1") && text.contains("(kept)")).then_some(())
    })?;
    let mut again = Visitor::new(container.https);
    again.open("/sign-in")?;
    let answer = again.send("/sign-in", &[("user", "admin"), ("password", PASSWORD), ("next", "")])?;
    again.expect(&answer, 200)?;
    ensure!(again.page().contains("watch"), "the backup's user cannot sign in:\n{}", again.page());
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
fn set_up(container: &Container, user: &str) -> Result<Visitor> {
    let code = container.console.wait_for("vakt: setup code ", SAID_WITHIN)?;
    let mut visitor = Visitor::new(container.https);
    visitor.open("/")?;
    ensure!(visitor.page().contains("Set up this box"), "no set-up form:\n{}", visitor.page());
    let fields = [("user", user), ("password", PASSWORD), ("password_again", PASSWORD)];
    let answer = visitor.send("/set-up", &[&fields[..], &[("code", "AAAA-AAAA")]].concat())?;
    visitor.expect(&answer, 403)?;
    let answer = visitor.send("/set-up", &[&fields[..], &[("code", code.as_str())]].concat())?;
    visitor.expect(&answer, 200)?;
    container.console.wait_for(&format!("vakt: set up by {user}"), SAID_WITHIN)?;
    Ok(visitor)
}

fn settings_are_reset(container: &mut Container, visitor: &mut Visitor) -> Result<()> {
    let answer = visitor.open("/box")?;
    visitor.expect(&answer, 200)?;
    let answer = visitor.send("/box/reset", &[("kind", "settings"), ("name", "another box")])?;
    visitor.expect(&answer, 422)?;
    ensure!(visitor.page().contains("the box is called watch"), "no reason given:\n{}", visitor.page());
    let answer = visitor.send("/box/reset", &[("kind", "settings"), ("name", "watch")])?;
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

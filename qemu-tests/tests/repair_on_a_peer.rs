//! Units of a real systemd machine are made to fail, and are seen repaired, or left alone where they must be.
//!
//! Everything is the real thing: sshd, systemd, D-Bus and polkit on the peer; vakt-store and vakt-repair here.
//! Needs root for the peer's namespaces: without, every test here is reported as ignored.
#![expect(clippy::unwrap_used, reason = "a test: a wrong value ends it")]

#[path = "repair_on_a_peer/bed.rs"]
mod bed;
#[path = "repair_on_a_peer/session.rs"]
mod session;

use std::process::ExitCode;

use anyhow::Result;
use bed::{Bed, Policy, policy, steps};
use serde_json::Value;
use vakt_qemu_tests::harness::{self, Test};
use vakt_qemu_tests::systemd_peer::{self, DEMO, KeyPair, OTHER, SystemdPeer};

const TESTS: [Test; 12] = [
    ("a_failed_unit_is_restarted_verified_and_evidenced", a_failed_unit_is_restarted_verified_and_evidenced),
    ("tampered_or_cut_evidence_is_refused", tampered_or_cut_evidence_is_refused),
    ("a_unit_that_polkit_does_not_grant_is_left_alone", a_unit_that_polkit_does_not_grant_is_left_alone),
    ("another_host_key_is_refused_and_shown", another_host_key_is_refused_and_shown),
    ("a_bad_policy_is_shown_and_the_good_one_works", a_bad_policy_is_shown_and_the_good_one_works),
    ("nothing_is_done_without_evidence", nothing_is_done_without_evidence),
    (
        "a_unit_that_stays_broken_is_given_up_within_its_rate",
        a_unit_that_stays_broken_is_given_up_within_its_rate,
    ),
    ("a_lost_connection_is_made_again", a_lost_connection_is_made_again),
    ("a_stop_in_the_middle_is_recorded_and_the_guards_remember", a_stop_in_the_middle_is_recorded),
    ("a_session_does_what_it_may_and_nothing_else", session::a_session_does_what_it_may_and_nothing_else),
    ("commands_are_bounded_in_output_and_time", session::commands_are_bounded_in_output_and_time),
    ("without_socket_forwarding_the_bus_is_reached_by_the_bridge", session::the_bridge_is_the_fallback),
];

fn main() -> ExitCode {
    harness::run_together(&[(systemd_peer::missing(), &TESTS)])
}

const EASY: &str = "max_per_hour: 5, cooldown: 1s";

const WHOLE: [&str; 5] = ["seen", "decided true", "called", "answered done", "verified true"];

fn a_failed_unit_is_restarted_verified_and_evidenced() -> Result<()> {
    let bed = Bed::start(&[policy("restart-demo", DEMO, EASY)])?;
    bed.peer.fail_unit(DEMO)?;
    let repair = bed.repair_that_ended("held")?;
    assert_eq!(bed.peer.unit_state(DEMO)?, "active");
    assert_eq!(steps(&repair), WHOLE);
    assert_eq!(repair["records"][0]["detail"]["result"], "signal", "killed: {repair}");
    assert_eq!(bed.get("/v1/policies")?.pointer("/policies/0/standing/db1/phase"), Some(&"healthy".into()));

    let store = bed.path("store.sock").display().to_string();
    let head = bed.get("/v1/evidence/head")?;
    let noted = format!("{}:{}", head["seq"], head["hash"].as_str().unwrap());
    let key = head["public_key"].as_str().unwrap().to_owned();
    let (good, said) =
        bed.run_repair(&["verify", "--store", &store, "--head", &noted, "--public-key", &key])?;
    assert!(good && said.contains("evidence is good: 5 records"), "{said}");
    let (good, said) = bed.run_repair(&["verify", "--store", &store, "--public-key", &"0".repeat(64)])?;
    assert!(!good && said.contains("signed by"), "{said}");
    Ok(())
}

fn tampered_or_cut_evidence_is_refused() -> Result<()> {
    let bed = Bed::start(&[policy("restart-demo", DEMO, EASY)])?;
    bed.peer.fail_unit(DEMO)?;
    bed.repair_that_ended("held")?;
    let (_, chain) = bed.run_repair(&["export", "--store", &bed.path("store.sock").display().to_string()])?;
    let lines: Vec<_> = chain.lines().collect();
    assert_eq!(lines.len(), 5, "{chain}");
    let head: Value = serde_json::from_str(lines[4])?;
    let head = format!("5:{}", head["hash"].as_str().unwrap());
    let file = bed.path("chain").display().to_string();
    let check = |text: &str, more: &[&str], expected: &str| -> anyhow::Result<()> {
        std::fs::write(&file, text)?;
        let (_, said) = bed.run_repair(&[&["verify", &file], more].concat())?;
        assert!(said.contains(expected), "said {said:?}, expected {expected:?}");
        Ok(())
    };
    check(&chain, &["--head", &head], "evidence is good: 5 records")?;
    check(&chain.replace("\"db1\"", "\"db2\""), &[], "record 1: content does not match its hash")?;
    check(&[lines[0], lines[2]].join("\n"), &[], "record 2 is missing")?;
    check(&lines[..4].join("\n"), &[], "a cut at the end shows only against a noted head")?;
    check(&lines[..4].join("\n"), &["--head", &head], "the rest was cut off")?;
    Ok(())
}

fn a_unit_that_polkit_does_not_grant_is_left_alone() -> Result<()> {
    let bed = Bed::start(&[policy("restart-other", OTHER, EASY)])?;
    bed.peer.fail_unit(OTHER)?;
    let repair = bed.repair_that_ended("refused")?;
    assert_eq!(bed.peer.unit_state(OTHER)?, "failed");
    assert_eq!(steps(&repair)[..4], ["seen", "decided true", "called", "answered refused"]);
    let reason = repair["records"][3]["detail"]["reason"].as_str().unwrap();
    assert!(reason.contains("restart other.service is refused by the peer's polkit"), "{reason}");
    Ok(())
}

fn another_host_key_is_refused_and_shown() -> Result<()> {
    let mut bed = Bed::without_repair(SystemdPeer::start()?)?;
    bed.start_store()?;
    bed.start_repair(&KeyPair::random()?.public, &[policy("restart-demo", DEMO, EASY)])?;
    bed.peer.fail_unit(DEMO)?;
    bed.wait_for("the mismatch to be shown", |bed| {
        let peers = bed.get("/v1/peers")?;
        let error = peers.pointer("/peers/0/error").and_then(Value::as_str).unwrap_or_default();
        Ok(error.contains("host key mismatch") && error.matches("SHA256:").count() == 2)
    })?;
    assert_eq!(bed.peer.unit_state(DEMO)?, "failed");
    assert_eq!(bed.get("/v1/repairs")?["repairs"], serde_json::json!([]));
    Ok(())
}

fn a_bad_policy_is_shown_and_the_good_one_works() -> Result<()> {
    let bad = Policy("bad", "version: 1\nname: bad\nmatch:\n  unit: demo\n".into());
    let bed = Bed::start(&[bad, policy("restart-demo", DEMO, EASY)])?;
    let refused = bed.get("/v1/policies")?["refused"][0].take();
    assert_eq!((refused["name"].as_str(), refused["line"].as_u64()), (Some("bad"), Some(4)), "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("\"demo\" is no unit name"), "{refused}");
    let file = bed.path("bad.yaml");
    std::fs::write(&file, "version: 1\nname: bad\nmatch:\n  unit: demo\n")?;
    let (good, said) = bed.run_repair(&["check", &file.display().to_string()])?;
    assert!(!good && said.contains(&format!("{}:4:9: \"demo\" is no unit name", file.display())), "{said}");

    bed.peer.fail_unit(DEMO)?;
    bed.repair_that_ended("held")?;
    Ok(())
}

fn nothing_is_done_without_evidence() -> Result<()> {
    let mut bed = Bed::start(&[policy("restart-demo", DEMO, EASY)])?;
    bed.kill_store()?;
    bed.peer.fail_unit(DEMO)?;
    bed.wait_for("the refusal to act", |bed| {
        let policies = bed.get("/v1/policies")?;
        let reason = policies.pointer("/policies/0/standing/db1/reason").and_then(Value::as_str);
        Ok(reason.is_some_and(|reason| reason.contains("evidence cannot be recorded")))
    })?;
    assert_eq!(bed.peer.unit_state(DEMO)?, "failed");
    assert!(bed.get("/health").is_err(), "repair is not healthy without the store");
    bed.start_store()?;
    let repair = bed.repair_that_ended("held")?;
    assert_eq!(steps(&repair), WHOLE);
    assert_eq!(bed.peer.unit_state(DEMO)?, "active");
    Ok(())
}

fn a_unit_that_stays_broken_is_given_up_within_its_rate() -> Result<()> {
    let bed = Bed::start(&[policy("restart-demo", DEMO, "max_per_hour: 2, cooldown: 1s")])?;
    bed.peer.break_unit(DEMO)?;
    bed.peer.fail_unit(DEMO)?;
    let repair = bed.repair_that_ended("withheld")?;
    let reason = repair["records"][1]["detail"]["reason"].as_str().unwrap();
    assert!(reason.contains("rate limit: 2 an hour are used up"), "{reason}");
    let all = bed.get("/v1/repairs")?["repairs"].take();
    let failed = ["seen", "decided true", "called", "answered failed", "escalated"];
    let tries: Vec<_> =
        all.as_array().unwrap().iter().filter(|repair| repair["outcome"] == "failed").collect();
    assert_eq!(tries.len(), 2, "{all}");
    tries.iter().for_each(|repair| assert_eq!(steps(repair), failed));
    Ok(())
}

fn a_lost_connection_is_made_again() -> Result<()> {
    let bed = Bed::start(&[policy("restart-demo", DEMO, EASY)])?;
    bed.peer.cut_connections();
    bed.wait_for("the loss to be seen", |bed| {
        Ok(bed.get("/v1/peers")?.pointer("/peers/0/state") != Some(&"connected".into()))
    })?;
    bed.peer.fail_unit(DEMO)?;
    bed.repair_that_ended("held")?;
    Ok(())
}

fn a_stop_in_the_middle_is_recorded() -> Result<()> {
    let slow = || {
        let Policy(name, yaml) = policy("restart-demo", DEMO, "max_per_hour: 1, cooldown: 1s");
        Policy(name, yaml.replace("active_for: 1s", "active_for: 5m"))
    };
    let mut bed = Bed::start(&[slow()])?;
    bed.peer.fail_unit(DEMO)?;
    bed.wait_for("the verification to begin", |bed| {
        let policies = bed.get("/v1/policies")?;
        Ok(policies.pointer("/policies/0/standing/db1/phase") == Some(&"verifying".into()))
    })?;
    let status = bed.stop_repair()?;
    assert!(status.success(), "{status}");

    let host_key = bed.peer.host_key().to_owned();
    bed.start_repair(&host_key, &[slow()])?;
    let repair = bed.repair_that_ended("interrupted")?;
    assert_eq!(steps(&repair), ["seen", "decided true", "called", "answered done", "interrupted"]);
    bed.peer.fail_unit(DEMO)?;
    let repair = bed.repair_that_ended("withheld")?;
    assert_eq!(steps(&repair), ["seen", "decided false"]);
    assert_eq!(bed.peer.unit_state(DEMO)?, "failed");
    let store = bed.path("store.sock").display().to_string();
    let (good, said) = bed.run_repair(&["verify", "--store", &store])?;
    assert!(good && said.contains("7 records"), "{said}");
    Ok(())
}

//! `systemd-analyze security` on the unit that each service's room is equivalent to: each is less exposed than the best
//! of systemd's own services. What the units claim is tried in `sandbox_escapes`, and of network in `network`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use vakt_qemu_tests::container::workspace;
use vakt_qemu_tests::{harness, programs, systemd_peer};

/// Where systemd keeps its own.
const SYSTEMS_OWN: &str = "usr/lib/systemd/system";

fn main() -> ExitCode {
    harness::run(
        systemd_peer::missing(),
        &[("every_service_is_less_exposed_than_the_best_of_systemds_own", compare)],
    )
}

fn compare() -> Result<()> {
    let tree = systemd_peer::tree()?;
    let own: Vec<String> = fs::read_dir(tree.join(SYSTEMS_OWN))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("systemd-") && name.ends_with(".service") && !name.contains('@'))
        .map(|name| format!("/{SYSTEMS_OWN}/{name}"))
        .collect();
    let theirs = scores(&tree, &own)?;
    let (name, bound) = theirs.iter().min_by(|a, b| a.1.total_cmp(b.1)).context("systemd has no services")?;
    println!("the best of {} of systemd's own: {name} {bound}", theirs.len());

    let directory = tempfile::Builder::new().prefix("vakt-exposure").tempdir_in(tree.join("tmp"))?;
    let inside = Path::new("/tmp").join(directory.path().file_name().context("no name")?);
    let manifests = workspace().join("buildroot-overlay/board/vakt/rootfs_overlay/usr/lib/vakt/services");
    let mut units = Vec::new();
    for entry in fs::read_dir(&manifests)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("no name")?.to_owned();
        let unit = Command::new(programs::path("vakt-init")?)
            .args(["exposure", "--unit", &name, "--services"])
            .arg(&manifests)
            .output()?;
        ensure!(unit.status.success(), "{name}: {}", String::from_utf8_lossy(&unit.stderr));
        let file = format!("vakt-{name}.service");
        fs::write(directory.path().join(&file), unit.stdout)?;
        units.push(inside.join(&file).to_string_lossy().into_owned());
    }
    let ours = scores(&tree, &units)?;
    ensure!(
        ours.len() == units.len() && !ours.is_empty(),
        "{} of {} units were judged",
        ours.len(),
        units.len()
    );
    for (name, score) in &ours {
        println!("{name} {score}, to be below {bound}");
        ensure!(score.total_cmp(bound).is_lt(), "{name} has {score}, not below {bound}");
    }
    Ok(())
}

/// The exposure of each unit, 0 to 10, as systemd-analyze in the tree judges it.
fn scores(tree: &Path, units: &[String]) -> Result<BTreeMap<String, f64>> {
    let output = Command::new("chroot")
        .arg(tree)
        .args(["systemd-analyze", "security", "--offline=yes", "--no-pager"])
        .args(units)
        .env("LC_ALL", "C.UTF-8")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut scores = BTreeMap::new();
    for line in said.lines() {
        let Some((_, rest)) = line.split_once("Overall exposure level for ") else { continue };
        let (name, score) = rest.split_once(": ").with_context(|| line.to_owned())?;
        let score = score.split_whitespace().next().and_then(|score| score.parse().ok());
        scores.insert(name.to_owned(), score.with_context(|| line.to_owned())?);
    }
    ensure!(!scores.is_empty(), "systemd-analyze said {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(scores)
}

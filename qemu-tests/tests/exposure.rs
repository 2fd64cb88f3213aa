//! `systemd-analyze security` on the unit that each service's room is equivalent to: one without a network is less
//! exposed than the best of systemd's own services, one with a network than the best of systemd's own with a
//! network. What the units claim is tried in `sandbox_escapes`.

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
        &[("every_service_is_less_exposed_than_the_best_of_systemds_own_of_its_kind", compare)],
    )
}

fn compare() -> Result<()> {
    let tree = systemd_peer::tree()?;
    let own: Vec<String> = fs::read_dir(tree.join(SYSTEMS_OWN))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("systemd-") && name.ends_with(".service") && !name.contains('@'))
        .map(|name| format!("/{SYSTEMS_OWN}/{name}"))
        .collect();
    let text = |unit: &String| fs::read_to_string(tree.join(unit.trim_start_matches('/')));
    let (apart, networked): (Vec<String>, Vec<String>) =
        own.into_iter().partition(|unit| text(unit).is_ok_and(|text| is_without_network(&text)));
    let best = |units: &[String]| -> Result<f64> {
        let scores = scores(&tree, units)?;
        let (name, best) =
            scores.iter().min_by(|a, b| a.1.total_cmp(b.1)).context("systemd has no services")?;
        println!("the best of {} of systemd's own: {name} {best}", scores.len());
        Ok(*best)
    };
    let (best_apart, best_networked) = (best(&apart)?, best(&networked)?);

    let directory = tempfile::Builder::new().prefix("vakt-exposure").tempdir_in(tree.join("tmp"))?;
    let inside = Path::new("/tmp").join(directory.path().file_name().context("no name")?);
    let manifests = workspace().join("buildroot-overlay/board/vakt/rootfs_overlay/usr/lib/vakt/services");
    let (mut units, mut bounds) = (Vec::new(), BTreeMap::new());
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
        let bound = if is_without_network(&String::from_utf8_lossy(&unit.stdout)) {
            best_apart
        } else {
            best_networked
        };
        bounds.insert(file.clone(), bound);
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
        let bound = bounds.get(name).with_context(|| format!("{name} was not asked for"))?;
        println!("{name} {score}, to be below {bound}");
        ensure!(score.total_cmp(bound).is_lt(), "{name} has {score}, not below {bound}");
    }
    Ok(())
}

fn is_without_network(unit: &str) -> bool {
    let has = |wanted: &str| unit.lines().any(|line| line.starts_with(wanted));
    has("PrivateNetwork=yes") || (has("IPAddressDeny=any") && !has("IPAddressAllow="))
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

//! The bill of materials: CycloneDX 1.6 in JSON (ECMA-424). Our programs, the crates that are compiled into them,
//! the Debian packages beside them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::build::{Manifest, PROGRAMS};
use crate::process::run;

/// A crate that is compiled in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    license: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The document for `image`.
///
/// # Errors
/// When cargo or Cargo.lock cannot tell what went in.
pub fn make(workspace: &Path, image: &Manifest, made: Timestamp) -> anyhow::Result<Vec<u8>> {
    let lock = std::fs::read_to_string(workspace.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let lock: Lock = toml::from_str(&lock).context("Cargo.lock is not readable")?;
    let mut components = programs(image);
    components.extend(crates(workspace)?.iter().map(|one| library(one, &lock)));
    components.extend(image.packages.iter().filter_map(|line| debian(line)));
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": made,
            "component": { "type": "firmware", "name": "vakt", "version": image.version },
        },
        "components": components,
    });
    serde_json::to_vec_pretty(&document).context("cannot write the bill of materials")
}

fn programs(image: &Manifest) -> Vec<Value> {
    let program = |name: &&str| json!({ "type": "application", "name": name, "version": image.version });
    PROGRAMS.iter().map(program).collect()
}

/// The crates that the programs are compiled from, without what only tests, build scripts and macros need.
/// By `cargo tree`, which resolves features as the build does: `cargo metadata` names crates that no feature
/// turns on.
fn crates(workspace: &Path) -> anyhow::Result<BTreeSet<Crate>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["tree", "--locked", "--edges", "normal,no-proc-macro"]);
    command.args(["--prefix", "none", "--format", "{p}|{l}", "--target", &triple]);
    command.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
    let output = run(&mut command)?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(compiled).collect())
}

/// From `name v1.2.3|MIT`, with ` (*)` where it was shown before; `None` for our own, which have a path.
fn compiled(line: &str) -> Option<Crate> {
    let (package, license) = line.split_once('|')?;
    let (name, version) = package.split_once(" v")?;
    let license = license.trim_end_matches(" (*)").to_owned();
    (!version.contains(' ')).then(|| Crate { name: name.into(), version: version.into(), license })
}

fn library(package: &Crate, lock: &Lock) -> Value {
    let mut component = json!({
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": format!("pkg:cargo/{}@{}", package.name, escaped(&package.version)),
    });
    if !package.license.is_empty() {
        // Cargo's old way of saying OR.
        component["licenses"] = json!([{ "expression": package.license.replace('/', " OR ") }]);
    }
    let locked = lock.package.iter().find(|l| l.name == package.name && l.version == package.version);
    if let Some(checksum) = locked.and_then(|locked| locked.checksum.as_ref()) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// From the image's `name version sha256`.
fn debian(line: &str) -> Option<Value> {
    let mut words = line.split(' ');
    let (name, version, hash) = (words.next()?, words.next()?, words.next()?);
    Some(json!({
        "type": "library",
        "name": name,
        "version": version,
        "purl": format!("pkg:deb/debian/{}@{}", escaped(name), escaped(version)),
        "hashes": [{ "alg": "SHA-256", "content": hash }],
    }))
}

/// As a part of a package URL: what is not a letter, a digit or one of `.-_~` is percent-encoded.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_names_what_is_compiled_in_and_not_what_tests_need() {
        let image = Manifest {
            version: "0.2.0".into(),
            root_hash: String::new(),
            kernel: String::new(),
            cmdline: String::new(),
            root_bytes: 0,
            uki_bytes: 0,
            disk_bytes: 0,
            disk_sha256: String::new(),
            packages: vec!["linux-image-6.12+deb12 6.12.1-1~deb12u1 00ff".into()],
        };
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = make(&workspace, &image, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
        let bill: Value = serde_json::from_slice(&text).unwrap();
        let components = bill["components"].as_array().unwrap();
        let find = |name: &str| components.iter().find(|component| component["name"] == name);
        let tough = find("tough").unwrap();
        assert!(tough["purl"].as_str().unwrap().starts_with("pkg:cargo/tough@"));
        assert_eq!(tough["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(tough["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert_eq!(find("vakt-update").unwrap()["type"], "application");
        let kernel = find("linux-image-6.12+deb12").unwrap();
        assert_eq!(kernel["purl"], "pkg:deb/debian/linux-image-6.12%2Bdeb12@6.12.1-1~deb12u1");
        for absent in ["proptest", "libtest-mimic", "ring", "serde_derive", "vakt-wire"] {
            assert!(find(absent).is_none(), "{absent}");
        }
    }
}

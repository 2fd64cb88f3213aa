//! The bill of materials: CycloneDX 1.6 in JSON (ECMA-424). Our programs, the crates that are compiled into them,
//! the packages beside them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::build::{BILL, PROGRAMS};
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

/// The document for `version`, made beside `packages`: each a line of an image's manifest (`name version sha256`, of
/// Debian), or a package URL. There is no time in it, so that the same inputs give the same bytes.
///
/// # Errors
/// When cargo or Cargo.lock cannot tell what went in.
pub fn make(workspace: &Path, version: &str, packages: &[String]) -> anyhow::Result<Vec<u8>> {
    let lock = std::fs::read_to_string(workspace.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let lock: Lock = toml::from_str(&lock).context("Cargo.lock is not readable")?;
    let mut components = programs(version);
    components.extend(crates(workspace)?.iter().map(|one| library(one, &lock)));
    components.extend(packages.iter().filter_map(|line| part(line)));
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": { "type": "firmware", "bom-ref": "vakt", "name": "vakt", "version": version },
        },
        "components": components,
    });
    serde_json::to_vec(&document).context("cannot write the bill of materials")
}

/// Puts the document into a staged root tree.
///
/// # Errors
/// When it cannot be written.
pub fn stage(document: &[u8], root_tree: &Path) -> anyhow::Result<()> {
    let path = root_tree.join(BILL);
    let writing = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(root_tree)).with_context(writing)?;
    std::fs::write(&path, document).with_context(writing)
}

fn programs(version: &str) -> Vec<Value> {
    let program = |name: &&str| {
        let reference = format!("program:{name}");
        json!({ "type": "application", "bom-ref": reference, "name": name, "version": version })
    };
    PROGRAMS.iter().map(program).collect()
}

/// The crates that the programs are compiled from, without what only tests, build scripts and macros need.
/// By `cargo tree`, which resolves features as the build does: `cargo metadata` names crates that no feature
/// turns on.
fn crates(workspace: &Path) -> anyhow::Result<BTreeSet<Crate>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["tree", "--locked", "--edges", "normal,no-proc-macro"]);
    command.args(["--prefix", "none", "--format", "{p}|{l}", "--target", Arch::HERE.triple()]);
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
    let purl = format!("pkg:cargo/{}@{}", package.name, escaped(&package.version));
    let mut component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
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

/// What is not ours and no crate: a package URL as it is, or Debian's package of a manifest's line.
fn part(line: &str) -> Option<Value> {
    if let Some(rest) = line.strip_prefix("pkg:") {
        let (name, version) = rest.rsplit('/').next()?.split_once('@')?;
        return Some(
            json!({ "type": "library", "bom-ref": line, "name": name, "version": version, "purl": line }),
        );
    }
    let mut words = line.split(' ');
    let (name, version, hash) = (words.next()?, words.next()?, words.next()?);
    let purl = format!("pkg:deb/debian/{}@{}", escaped(name), escaped(version));
    Some(json!({
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
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
        let packages = [
            "linux-image-6.12+deb12 6.12.1-1~deb12u1 00ff".to_owned(),
            "pkg:generic/linux@6.12.104".to_owned(),
        ];
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = make(&workspace, "0.2.0", &packages).unwrap();
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
        assert_eq!(find("linux").unwrap()["version"], "6.12.104");
        let mut references: Vec<&str> = components.iter().map(|c| c["bom-ref"].as_str().unwrap()).collect();
        references.sort_unstable();
        references.dedup();
        assert_eq!(references.len(), components.len(), "two components have one bom-ref");
        for absent in ["proptest", "libtest-mimic", "ring", "serde_derive", "vakt-wire"] {
            assert!(find(absent).is_none(), "{absent}");
        }
    }
}

//! Kernel modules: a list in load order, made by the image builder.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::sys;

/// Loads what `order` in `directory` lists, one file name a line, and returns a line for each that the
/// kernel refused: a driver of a bus that is not there must not stop a boot, and without a driver that
/// is needed no root is found. A module whose hardware is absent (ENODEV), or that is loaded already,
/// is no refusal.
///
/// # Errors
/// When the list or a module cannot be read.
pub fn load_all(directory: &str) -> anyhow::Result<Vec<String>> {
    let mut refused = Vec::new();
    let directory = Path::new(directory);
    let order = fs::read_to_string(directory.join("order")).context("cannot read the module list")?;
    for name in order.lines() {
        let path = directory.join(name);
        let image = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        match sys::init_module(&image) {
            Ok(()) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::ENODEV)) => {}
            Err(error) => refused.push(format!("cannot load {name}: {error}")),
        }
    }
    Ok(refused)
}

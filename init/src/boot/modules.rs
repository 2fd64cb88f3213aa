//! Kernel modules: a list in load order, made by the image builder.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::sys;

/// Loads what `order` in `directory` lists, one file name a line. A module whose hardware is absent
/// (ENODEV) is passed over; a module that is loaded already too.
///
/// # Errors
/// When the list or a module cannot be read, or the kernel refuses one.
pub fn load_all(directory: &str) -> anyhow::Result<()> {
    let directory = Path::new(directory);
    let order = fs::read_to_string(directory.join("order")).context("cannot read the module list")?;
    for name in order.lines() {
        let path = directory.join(name);
        let image = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        match sys::init_module(&image) {
            Ok(()) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::ENODEV)) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot load the module {name}")),
        }
    }
    Ok(())
}

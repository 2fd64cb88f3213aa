//! Into the room, layer by layer.

use anyhow::Context;

use super::plan::Plan;
use super::{landlock, privileges, root, seccomp};
use crate::sys;

/// Closes every layer around this process, which was made by [`sys::fork_into`] with the plan's
/// namespaces. Only exec may follow.
///
/// # Errors
/// At the first layer that does not close. The caller must exit then: the process is half-way in.
pub fn enter(plan: &Plan) -> anyhow::Result<()> {
    let filters = seccomp::compile(plan).context("cannot compile the seccomp filter")?;
    root::build_and_enter(plan)?;
    sys::reset_signals();
    privileges::drop_to(plan)?;
    landlock::restrict(plan)?;
    seccomp::install(&filters).context("cannot install the seccomp filter")
}

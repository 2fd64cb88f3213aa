//! Uid, capabilities and rlimits.

use anyhow::Context;
use caps::{CapSet, CapsHashSet};

use super::plan::Plan;
use crate::sys;

/// Drops to the plan's uid with only its capabilities, in every set and in the bounding set.
///
/// # Errors
/// When the kernel refuses any step; nothing is left half done, for the caller exits.
pub fn drop_to(plan: &Plan) -> anyhow::Result<()> {
    sys::set_rlimit(libc::RLIMIT_NOFILE, plan.nofile_max.into()).context("cannot bound open files")?;
    sys::set_rlimit(libc::RLIMIT_CORE, 0).context("cannot forbid core files")?;
    // What a service makes is its own.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let keep: CapsHashSet = plan.capabilities.iter().copied().collect();
    for capability in caps::read(None, CapSet::Bounding)? {
        if !keep.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability)
                .with_context(|| format!("cannot drop {capability} from the bounding set"))?;
        }
    }
    sys::become_user(plan.uid).with_context(|| format!("cannot become uid {}", plan.uid))?;
    caps::set(None, CapSet::Permitted, &keep).context("cannot set the permitted capabilities")?;
    caps::set(None, CapSet::Effective, &keep).context("cannot set the effective capabilities")?;
    caps::set(None, CapSet::Inheritable, &keep).context("cannot set the inheritable capabilities")?;
    // Ambient: the program is no setuid file, so this is how it gets them through exec.
    caps::set(None, CapSet::Ambient, &keep).context("cannot set the ambient capabilities")?;
    sys::no_new_privileges().context("cannot set no_new_privs")
}

//! Landlock: the kernel's own list of what paths and ports the room may use, whatever the mounts say.

use anyhow::Context;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::plan::{Access, Plan};

/// What is required: ABI 5 for files (device ioctl), 4 for TCP, 6 for scopes. Linux 6.12 has it.
const FILES: ABI = ABI::V5;

/// Restricts this process for good.
///
/// # Errors
/// When the kernel cannot enforce all of it, or a listed path is missing.
pub fn restrict(plan: &Plan) -> anyhow::Result<()> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(FILES))
        .and_then(|r| r.handle_access(AccessNet::BindTcp))
        .and_then(|r| r.scope(Scope::AbstractUnixSocket | Scope::Signal))
        .context("landlock ABI 6 is required (Linux 6.12)")?;
    if plan.tcp_connect.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let program = PathBeneath::new(PathFd::new(plan.program.path())?, AccessFs::Execute | AccessFs::ReadFile);
    let mut created = ruleset.create()?.add_rule(program)?;
    for shown in &plan.shown {
        let path = PathFd::new(&shown.at).with_context(|| format!("cannot open {}", shown.at.display()))?;
        let allowed = allowed(shown.access, shown.at.is_dir());
        created = created.add_rule(PathBeneath::new(path, allowed))?;
    }
    for port in plan.tcp_connect.iter().flatten() {
        created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let status = created.restrict_self()?;
    anyhow::ensure!(
        status.ruleset == RulesetStatus::FullyEnforced,
        "landlock is not fully enforced: {status:?}"
    );
    Ok(())
}

fn allowed(access: Access, directory: bool) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let flags = match access {
        Access::Read => read,
        Access::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
        Access::Sockets => read,
        // Regular files, directories and links between them; no device, socket or fifo is made.
        Access::Write => {
            read | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::MakeDir
                | AccessFs::RemoveFile
                | AccessFs::RemoveDir
                | AccessFs::Refer
        }
    };
    if directory { flags } else { flags & AccessFs::from_file(FILES) }
}

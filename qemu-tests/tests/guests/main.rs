//! The image in QEMU, where only a whole machine proves it. One program for all of them, so that as many
//! guests run at a time as there are processors: each has one emulated processor and much to wait for.

mod boot;
mod console;
mod hardships;
mod power_cut;
mod secure_boot;
mod slots;
mod update;
mod update_cuts;
mod verity;

use std::process::ExitCode;

use vakt_qemu_tests::harness;

fn main() -> ExitCode {
    // The longest begin first, so that none of them is the last and alone.
    harness::run_together(&[
        update_cuts::tests(),
        slots::tests(),
        update::tests(),
        hardships::tests(),
        console::tests(),
        power_cut::tests(),
        secure_boot::tests(),
        verity::tests(),
        boot::tests(),
        slots::by_the_api(),
    ])
}

//! PID 1 of Vakt: boots the machine, builds each service's room, and supervises.
//!
//! One static binary in several roles: as `/init` of the initramfs it verifies and enters the root
//! ([`boot`]); in the root it mounts state, adopts the config and runs the services ([`stage2`],
//! [`run`]); `container` does the same on an ordinary host; `exec` runs a program inside a service's
//! room; `network` is the network service. It never runs an async runtime and parses as little as
//! possible: it is the root of trust.

mod backup;
mod boot;
mod bpf;
mod child;
mod console;
mod container;
mod exec;
mod exposure;
mod ledger;
mod machine;
mod manifest;
mod network;
mod record;
mod reset;
mod run;
mod sandbox;
mod slots;
mod stage2;
mod supervisor;
mod sys;

use std::process::ExitCode;

const USAGE: &str = "\
usage: vakt-init container --root DIR --state DIR [--config FILE] [--map PORT=ADDR:PORT]...
                           [--esp FILE --slot FILE] [--own-network] [--record DIR]
       vakt-init exec --service NAME [--pid PID] -- PROGRAM [ARG]...
       vakt-init check FILE        checks a machine config
       vakt-init exposure [--unit NAME] [--services DIR] [--config FILE]
       vakt-init esp --esp FILE VERB...   changes the boot partition (started by init)
       vakt-init network           the network service (started by init)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first().map(String::as_str);
    let rest = arguments.get(1..).unwrap_or_default();
    let result = match first {
        Some("stage2") => stage2::main(rest),
        Some("container") => container::main(rest),
        Some("exec") => exec::main(rest),
        Some("network") => network::main(),
        Some("esp") => slots::esp::main(rest),
        Some("exposure") => exposure::main(rest),
        Some("check") => check(rest),
        Some("backup") => backup::make(),
        Some("restore") => backup::restore(),
        Some("mirror") => ledger::mirror::main(rest),
        None if rustix::process::getpid().is_init() => boot::main(),
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vakt-init: {error:#}");
            // The network service is process 1 too, of its own namespace.
            if rustix::process::getpid().is_init() && matches!(first, None | Some("stage2")) {
                boot::halt_after_failure(&format!("{error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn check(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let [path] = arguments else { anyhow::bail!("check needs one file\n{USAGE}") };
    let text = std::fs::read_to_string(path).map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    vakt_wire::config::parse(&text).map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    println!("{path}: valid");
    Ok(ExitCode::SUCCESS)
}

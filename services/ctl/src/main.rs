//! vaktctl: see `vaktctl --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vakt_ctl::box_api::Reach;
use vakt_ctl::commands::Config;

/// Operates a Vakt box over its API.
#[derive(Debug, Parser)]
#[command(name = "vaktctl", version)]
struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The machine config
    #[command(subcommand)]
    Config(Config),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Command::Config(config) = arguments.command;
    let ran = arguments.reach.open().and_then(|to| config.run(&to, &mut std::io::stdout().lock()));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vaktctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

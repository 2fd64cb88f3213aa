//! vaktctl: see `vaktctl --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vakt_ctl::backup::Backup;
use vakt_ctl::box_api::Reach;
use vakt_ctl::config::Config;
use vakt_ctl::reset::Reset;
use vakt_ctl::update::Update;

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
    /// Signed updates
    #[command(subcommand)]
    Update(Update),
    /// Take a backup, encrypted with a passphrase
    Backup(Backup),
    /// Restore a backup; what it could lock out is on trial
    Restore(Backup),
    /// Reset the box; it restarts
    Reset(Reset),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    let ran = arguments.reach.open().and_then(|to| match arguments.command {
        Command::Config(config) => config.run(&to, &mut out),
        Command::Update(update) => update.run(&to, &mut out),
        Command::Backup(backup) => backup.make(&to, &mut out),
        Command::Restore(backup) => backup.restore(&to, &mut out),
        Command::Reset(reset) => reset.run(&to, &mut out),
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vaktctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

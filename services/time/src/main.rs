//! `vakt-time`: keeps the clock right. `vakt-time serve --help` lists its flags.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use vakt_time::serve::{Options, serve};
use vakt_wire::listen::Address;

#[derive(Parser)]
#[command(name = "vakt-time", version, about = "The clock, by NTP and NTS")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM.
    Serve(Serve),
}

#[derive(clap::Args)]
struct Serve {
    /// The machine config, or this service's slice of it.
    #[arg(long)]
    config: PathBuf,
    /// A file with servers that DHCP named, one address a line; used when the config names none.
    #[arg(long, value_name = "FILE")]
    learned: Option<PathBuf>,
    /// HTTP for `GET /v1/time`: 127.0.0.1:9123 or unix:/path. May be repeated.
    #[arg(long)]
    listen: Vec<Address>,
    /// Have init touch the clock and not this process: unix:/run/vakt/init/http.sock.
    #[arg(long, value_name = "ADDR")]
    init: Option<Address>,
    /// Never touch the clock.
    #[arg(long)]
    observe: bool,
}

fn main() -> anyhow::Result<()> {
    vakt_wire::heap::bound();
    let Command::Serve(flags) = Cli::parse().command;
    vakt_wire::logging::start("time");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    runtime.block_on(serve(Options {
        config: flags.config,
        learned: flags.learned,
        listen: flags.listen,
        init: flags.init,
        observe: flags.observe,
    }))
}

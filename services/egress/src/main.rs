//! `vakt-egress`: sends samples on. `vakt-egress serve --help` lists its flags.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use vakt_egress::serve::{Options, serve};
use vakt_wire::listen::Address;
use vakt_wire::size::Size;

#[derive(Parser)]
#[command(name = "vakt-egress", version, about = "Samples to engines elsewhere, from a durable queue")]
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
    /// Where the queue is kept; created when missing.
    #[arg(long, default_value = "/state/egress", value_name = "DIR")]
    data: PathBuf,
    /// How much disk the queue may take, such as 512MiB or 80% of the file system (or of the quota, where the
    /// directory has one); past it the oldest go.
    #[arg(long, default_value = "80%", value_name = "SIZE")]
    queue_size: Size,
    /// HTTP for requests to send on: 127.0.0.1:9124 or unix:/path. May be repeated.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,
}

fn main() -> anyhow::Result<()> {
    vakt_wire::heap::bound();
    let Command::Serve(flags) = Cli::parse().command;
    vakt_wire::logging::start("egress");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    runtime.block_on(serve(Options {
        config: flags.config,
        data: flags.data,
        queue_size: flags.queue_size,
        listen: flags.listen,
    }))
}

//! `vakt-update`: takes signed updates and writes them to the slot that does not run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use vakt_update::serve::{Options, serve};
use vakt_wire::config::Seconds;
use vakt_wire::listen::Address;

/// Threads for disk and hashing: one install at a time, and tough's small files.
const BLOCKING_THREADS_MAX: usize = 2;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take updates from the configured repository, and from uploads.
    Serve {
        /// The machine config (TOML); its [update] names the repository.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Address for the API, beside inherited sockets: 127.0.0.1:PORT or unix:PATH.
        #[arg(long)]
        listen: Vec<Address>,
        /// Where what was seen of the repository is kept.
        #[arg(long)]
        data: PathBuf,
        /// A file in the place of the slot that vakt-init hands over.
        #[arg(long)]
        slot: Option<PathBuf>,
        /// init's socket.
        #[arg(long, default_value = "unix:/run/vakt/init/http.sock")]
        init: Address,
        /// The root.json that is trusted.
        #[arg(long, default_value = "/usr/lib/vakt/update/root.json")]
        root: PathBuf,
        /// When the repository is looked at first, or an interrupted install goes on: addresses and names are there by then.
        #[arg(long, default_value = "60s", value_name = "TIME", value_parser = seconds)]
        first_look: Duration,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    Seconds::try_from(text.to_owned()).map(Seconds::duration)
}

fn main() -> ExitCode {
    vakt_wire::logging::start("update");
    let Command::Serve { config, listen, data, slot, init, root, first_look } = Arguments::parse().command;
    let options = Options { config, listen, data, slot, init, root, first_look };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(serve(options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vakt-update: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `vakt-web`: pages, sign-in and the public API. `vakt-web serve --help` lists its flags.

use std::{io::Read, net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};
use vakt_web::serve::{Options, serve};
use vakt_web::{account::password, backend::Sockets};

/// Threads beside the one that serves: one hashes a password.
const BLOCKING_THREADS_MAX: usize = 2;

#[derive(Parser)]
#[command(name = "vakt-web", version, about = "Pages, sign-in and the public API")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve over TLS until SIGTERM.
    Serve(Box<Serve>),
    /// Read a password from standard input and print its hash for the machine config.
    HashPassword,
}

#[derive(clap::Args)]
struct Serve {
    /// The service's slice of the machine config; absent means defaults.
    #[arg(long, default_value = "/run/vakt/config.toml")]
    config: PathBuf,
    /// Directory of the certificate and the set-up code; created when missing.
    #[arg(long, default_value = "/state/web")]
    data: PathBuf,
    /// Serve here as well as on inherited sockets: 0.0.0.0:8443. May be repeated.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    sockets: Sockets,
}

fn main() -> anyhow::Result<()> {
    vakt_wire::heap::bound();
    let flags = match Cli::parse().command {
        Command::HashPassword => return hash_password(),
        Command::Serve(flags) => *flags,
    };
    vakt_wire::logging::start("web");
    let Serve { config, data, listen, sockets } = flags;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX);
    runtime.build()?.block_on(serve(Options { config, data, listen, sockets }))
}

fn hash_password() -> anyhow::Result<()> {
    let mut password = String::new();
    let bytes_max = password::PASSWORD_BYTES_MAX as u64;
    std::io::stdin().take(bytes_max + 1).read_to_string(&mut password)?;
    let password = password.trim_end_matches(['\n', '\r']);
    anyhow::ensure!(password.len() as u64 <= bytes_max, "password has more than {bytes_max} bytes");
    println!("{}", password::hash(password)?);
    Ok(())
}

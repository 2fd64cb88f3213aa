//! `vakt-log`: receives, keeps and answers for logs. `vakt-log serve --help` lists its flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use vakt_log::flush::Retention;
use vakt_log::serve::{Options, serve};
use vakt_log::time;
use vakt_wire::listen::Address;
use vakt_wire::size::Size;

#[derive(Parser)]
#[command(name = "vakt-log", version, about = "Logs in, at rest, and queried")]
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
    /// Directory of the append log and the blocks; created when missing.
    #[arg(long, default_value = "/state/log")]
    data: PathBuf,
    /// HTTP for inserts and queries: 127.0.0.1:9428 or unix:/path. May be repeated.
    #[arg(long)]
    listen: Vec<Address>,
    /// Syslog over TCP, such as 0.0.0.0:514.
    #[arg(long, value_name = "ADDR")]
    syslog_tcp: Vec<SocketAddr>,
    /// Syslog over UDP, such as 0.0.0.0:514.
    #[arg(long, value_name = "ADDR")]
    syslog_udp: Vec<SocketAddr>,
    /// Syslog on a unix datagram socket, such as /dev/log.
    #[arg(long, value_name = "PATH")]
    syslog_unix: Vec<PathBuf>,
    /// Read the kernel's log (/dev/kmsg unless a path is given). Needs CAP_SYSLOG.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/dev/kmsg")]
    kmsg: Option<PathBuf>,
    /// Age past which a day's logs are removed: 30d, 52w, 100y.
    #[arg(long, default_value = "30d", value_parser = retention)]
    retention: i64,
    /// How much disk the blocks may take, such as 20GB, 512MiB or 80% of the file system (or of the quota, where
    /// the directory has one); past it the oldest go. The append log needs the rest.
    #[arg(long, default_value = "80%", value_name = "SIZE")]
    retention_size: Size,
    /// The service's slice of the machine config; nothing in it concerns logs yet.
    #[arg(long, hide = true)]
    config: Option<PathBuf>,
}

fn retention(text: &str) -> Result<i64, String> {
    time::parse_duration(text).ok_or_else(|| format!("{text:?} is no age such as 30d"))
}

/// Threads for queries: as many as run at a time.
const BLOCKING_THREADS_MAX: usize = 2;

fn main() -> anyhow::Result<()> {
    vakt_wire::heap::bound();
    let Command::Serve(flags) = Cli::parse().command;
    vakt_wire::logging::start("log");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()?;
    runtime.block_on(serve(Options {
        retention: Retention::of(flags.retention, flags.retention_size, &flags.data)?,
        data: flags.data,
        listen: flags.listen,
        syslog_tcp: flags.syslog_tcp,
        syslog_udp: flags.syslog_udp,
        syslog_unix: flags.syslog_unix,
        kmsg: flags.kmsg,
    }))
}

//! The stores that are compared, and how each is started: Vakt's, VictoriaMetrics and Prometheus (Debian sid's
//! packages, unpacked below the cache directory). All keep samples of any age and take as many series as come.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use vakt_image::setup::peers;

use super::connection::Connection;
use super::process::Server;
use crate::container::free_port;
use crate::programs;

/// The newest sample is this old, so that no store waits for late ones when asked: VictoriaMetrics' answers leave out the
/// last 30 s.
pub const NEWEST_AGE_MS: i64 = 120_000;

/// How long Vakt's store keeps samples in memory before they become a block: VictoriaMetrics' own interval. With the default
/// (30 minutes) what is sent in a minute would stay in the log, and writing blocks would not be seen.
pub const WINDOW: &str = "5s";

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Vakt,
    /// VictoriaMetrics, single node.
    VictoriaMetrics,
    /// Prometheus as a receiver of remote-write.
    Prometheus,
}

/// A store that can be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// Which.
    pub kind: Kind,
    /// Its name with its version, for the table.
    pub name: String,
    file: PathBuf,
}

/// A store that runs.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub server: Server,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The newest time that a measure which begins now sends samples of, in milliseconds, on a whole step.
///
/// # Errors
/// When the clock stands before 1970.
pub fn newest_ms() -> Result<i64> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    Ok((now - NEWEST_AGE_MS) / 60_000 * 60_000)
}

impl Program {
    /// Finds a store's program.
    ///
    /// # Errors
    /// When ours was not built, or a peer cannot be fetched.
    pub fn find(kind: Kind) -> Result<Program> {
        let (package, title) = match kind {
            Kind::Vakt => {
                let file = programs::path("vakt-store")?;
                return Ok(Program { kind, name: "vakt-store".into(), file });
            }
            Kind::VictoriaMetrics => ("victoria-metrics", "VictoriaMetrics"),
            Kind::Prometheus => ("prometheus", "Prometheus"),
        };
        let peer = peers::peer(peers::SID, package, package)?;
        Ok(Program { kind, name: format!("{title} {}", peer.version), file: peer.program })
    }

    /// Starts it on its data below `room`, which may be there from before. `extra` is told to Vakt's store alone.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start(&self, room: &Path, extra: &[&str]) -> Result<Running> {
        let address = free_port()?;
        let data = self.data(room);
        let mut command = Command::new(&self.file);
        match self.kind {
            Kind::Vakt => {
                command.arg("serve").arg("--data").arg(&data).args(["--listen", &address.to_string()]);
                command.args(["--retention", "100y", "--series-max", "2000000"]);
                command.args(["--source-series-max", "2000000", "--source-rate-max", "1000000000"]);
                command.args(extra);
            }
            Kind::VictoriaMetrics => {
                command.arg(format!("-storageDataPath={}", data.display()));
                command.arg(format!("-httpListenAddr={address}")).arg("-retentionPeriod=100y");
                // It would close the connection that is measured after two minutes.
                command.arg("-http.connTimeout=1h");
            }
            Kind::Prometheus => {
                let config = room.join("prometheus.yml");
                let late = "storage:\n  tsdb:\n    out_of_order_time_window: 7d\n";
                fs::write(&config, format!("scrape_configs: []\n{late}"))?;
                command.arg(format!("--config.file={}", config.display()));
                command.arg(format!("--storage.tsdb.path={}", data.display()));
                command.arg(format!("--web.listen-address={address}"));
                command.args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y"]);
            }
        }
        let log = room.join(format!("{:?}.log", self.kind));
        let server = Server::start(&mut command, address, &log).with_context(|| self.name.clone())?;
        Ok(Running { server, address })
    }

    /// Where its data lie below `room`.
    pub fn data(&self, room: &Path) -> PathBuf {
        room.join(format!("{:?}", self.kind))
    }

    /// Bytes of the files below its data that hold samples and what finds them: without VictoriaMetrics' caches and Vakt's catalog
    /// of users and settings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn bytes_at_rest(&self, room: &Path) -> Result<u64> {
        file_bytes(&self.data(room), &["cache", "tmp", "catalog.redb", "lock", "flock.lock"])
    }
}

impl Running {
    /// A connection to it.
    ///
    /// # Errors
    /// When it does not listen any more.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.address)
    }
}

/// The lengths of the files below a directory, but for entries of these names.
fn file_bytes(path: &Path, without: &[&str]) -> Result<u64> {
    let meta = fs::symlink_metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !without.iter().any(|name| entry.file_name() == *name) {
            sum += file_bytes(&entry.path(), without)?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sample_is_not_counted() {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir_all(room.path().join("blocks/cache")).unwrap();
        for (name, bytes) in [("blocks/a", 7), ("blocks/cache/b", 11), ("catalog.redb", 13), ("wal", 3)] {
            fs::write(room.path().join(name), vec![0; bytes]).unwrap();
        }
        assert_eq!(file_bytes(room.path(), &["cache", "catalog.redb"]).unwrap(), 10);
    }
}

//! What a process costs, from /proc: CPU, peak memory, share of memory; and servers started and stopped.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// /proc counts CPU in units of 1/100 s on every architecture (USER_HZ, proc(5)).
const TICKS_PER_S: f64 = 100.0;

/// A server takes well under a second to listen; a loaded builder gets this long.
const LISTEN_WITHIN: Duration = Duration::from_secs(30);

/// A flush of millions of samples at the end may take a while; past this the server is killed.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// How long a process is looked at to call it idle, and how much CPU it may use meanwhile (2 %).
const IDLE_LOOK: Duration = Duration::from_secs(2);
const IDLE_CPU_S_MAX: f64 = 0.04;

/// Work that waits for a timer (VictoriaMetrics flushes every 5 s) has begun by then.
const SETTLE_AT_LEAST: Duration = Duration::from_secs(10);

/// Something that never gets idle is measured as it is after this time.
const SETTLE_AT_MOST: Duration = Duration::from_secs(60);

/// Pause between two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// CPU seconds of a process so far, user and system, all threads.
///
/// # Errors
/// When it is gone.
pub fn cpu_s(pid: u32) -> Result<f64> {
    ticks(&format!("/proc/{pid}/stat"), 14)
}

/// CPU seconds of this program's children that have ended and been waited for.
///
/// # Errors
/// When /proc cannot be read.
pub fn ended_children_cpu_s() -> Result<f64> {
    ticks("/proc/self/stat", 16)
}

/// The sum of two neighbouring fields of proc_pid_stat(5), counted from 1, in seconds.
fn ticks(path: &str, first: usize) -> Result<f64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    // The second field is the program's name in brackets and may hold anything.
    let rest = text.rsplit_once(") ").with_context(|| format!("{path}: {text}"))?.1;
    let fields: Vec<&str> = rest.split(' ').skip(first - 3).take(2).collect();
    let sum: u64 = fields.iter().map(|field| field.parse::<u64>()).sum::<Result<_, _>>()?;
    Ok(sum as f64 / TICKS_PER_S)
}

/// The most memory that a process ever had resident (VmHWM), in MiB.
///
/// # Errors
/// When it is gone.
pub fn peak_rss_mib(pid: u32) -> Result<f64> {
    Ok(kib(&format!("/proc/{pid}/status"), "VmHWM:")? / 1024.0)
}

/// The memory that a process has resident now, in MiB.
///
/// # Errors
/// When it is gone.
pub fn rss_mib(pid: u32) -> Result<f64> {
    Ok(kib(&format!("/proc/{pid}/status"), "VmRSS:")? / 1024.0)
}

/// A process' proportional share of memory (PSS), in MiB.
///
/// # Errors
/// When it is gone or belongs to another.
pub fn pss_mib(pid: u32) -> Result<f64> {
    Ok(kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")? / 1024.0)
}

fn kib(path: &str, key: &str) -> Result<f64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    Ok(line.with_context(|| format!("{path} has no {key}"))?.trim().trim_end_matches(" kB").parse()?)
}

/// A process and all its descendants, with their names.
///
/// # Errors
/// When the process is gone.
pub fn family(pid: u32) -> Result<Vec<(u32, String)>> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))?.trim().to_owned();
    let mut all = vec![(pid, name)];
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        for child in fs::read_to_string(task.path().join("children")).unwrap_or_default().split_whitespace() {
            // One that has just ended has no family.
            all.extend(family(child.parse()?).unwrap_or_default());
        }
    }
    Ok(all)
}

/// Bytes that the files below a directory occupy on disk, as du(1) counts.
///
/// # Errors
/// When it cannot be read.
pub fn disk_bytes(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.blocks() * 512);
    }
    fs::read_dir(path)?.map(|entry| disk_bytes(&entry?.path())).sum()
}

/// A running server of this host. Dropping it kills it.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts a program, its output in `log`, and waits until something listens on `address`.
    ///
    /// # Errors
    /// When it does not listen in time, with the end of what it said.
    pub fn start(command: &mut Command, address: SocketAddr, log: &Path) -> Result<Server> {
        let output = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        let mut server = Server(child);
        let until = Instant::now() + LISTEN_WITHIN;
        while TcpStream::connect(address).is_err() {
            let alive = server.0.try_wait()?.is_none() && Instant::now() < until;
            ensure!(alive, "nothing listens on {address}: {}", fs::read_to_string(log).unwrap_or_default());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(server)
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it does no more work by itself, within bounds.
    ///
    /// # Errors
    /// When it ended.
    pub fn settle(&self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < SETTLE_AT_MOST {
            let before = cpu_s(self.pid())?;
            std::thread::sleep(IDLE_LOOK);
            let idle = cpu_s(self.pid())? - before <= IDLE_CPU_S_MAX;
            if idle && started.elapsed() >= SETTLE_AT_LEAST {
                break;
            }
        }
        Ok(())
    }

    /// SIGTERM, and the CPU seconds of its whole life.
    ///
    /// # Errors
    /// When it does not end well in time.
    pub fn stop(mut self) -> Result<f64> {
        let before = ended_children_cpu_s()?;
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let until = Instant::now() + STOP_WITHIN;
        loop {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(ended_children_cpu_s()? - before);
            }
            ensure!(Instant::now() < until, "the server did not stop in {STOP_WITHIN:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            // It may end at this very moment.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

//! A hundred peers of one collector: real sshd processes, and others that are dead, deaf, slow or stuck.
//!
//! What is asserted is counted in rounds and not in seconds: those that are well see their rounds whatever the others do.
//! Needs root, and OpenSSH's server: the host's, or Debian's package, unpacked and not installed. Without either the test is skipped
//! and says so.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use vakt_setup::arch::Arch;

mod sink;

use sink::{Arrived, sink};

/// Where it is, installed or below the directory that its package was unpacked to.
const SSHD: &str = "usr/sbin/sshd";

/// The user that it drops its privileges to.
const SSHD_USER: &str = "sshd:x:64999:65534::/run/sshd:/usr/sbin/nologin";

/// Seconds between two rounds over a peer: the commands of sixty peers run on this machine.
const INTERVAL_S: u32 = 5;

/// Peers that answer with what one printed before, those that run the command themselves (a hundred shells a few seconds on one
/// machine would measure that machine), and peers of each other kind.
const WELL: usize = 30;
const REAL: usize = 5;
const OTHERS: usize = 7;

/// What the clock of those is ahead.
const AHEAD_S: f64 = 3600.0;

/// Rounds that every peer that is well must have, when one of them has a few more.
const ROUNDS: usize = 4;
const AHEAD_MAX: usize = 2;

/// All is over within this; a loaded builder takes its time.
const WITHIN: Duration = Duration::from_secs(300);

/// The service's bound (vakt/services/collector.toml).
const MEMORY_MAX_MIB: f64 = 96.0;

/// Prometheus' marker (model/value/value.go).
const STALE: u64 = 0x7ff0_0000_0000_0002;

fn main() {
    let arguments = Arguments::from_args();
    let missing = missing();
    if let Some(reason) = &missing {
        eprintln!("skipped: {reason}");
    }
    let trial = Trial::test("a_hundred_peers_of_which_some_are_slow_or_dead_delay_no_other", hundred);
    libtest_mimic::run(&arguments, vec![trial.with_ignored_flag(missing.is_some())]).exit();
}

fn missing() -> Option<String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Some("sshd needs root".into());
    }
    server(Path::new("/")).err().map(|error| format!("{error:#}"))
}

/// What runs OpenSSH's server: the host's own, or the one of Debian's package with what it is linked to and, in a mount namespace, its
/// user.
fn server(room: &Path) -> anyhow::Result<Command> {
    let installed = Path::new("/").join(SSHD);
    if installed.exists() {
        return Ok(Command::new(installed));
    }
    let (server, wrap) = (vakt_setup::unpacked("openssh-server")?, vakt_setup::unpacked("libwrap0")?);
    let script = "mount --bind \"$0\" /etc/passwd && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", script]).arg(room.join("passwd")).arg(server.join(SSHD));
    let libraries = |directory: &str| wrap.join(format!("{directory}/{}-linux-gnu", Arch::HERE.name()));
    let found = ["lib", "usr/lib"].map(|directory| libraries(directory).display().to_string());
    command.env("LD_LIBRARY_PATH", found.join(":"));
    Ok(command)
}

/// A process that is ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A key pair in the room; returns the private key's file.
fn key(room: &Path, name: &str) -> PathBuf {
    let file = room.join(name);
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file).status().unwrap();
    assert!(made.success());
    file
}

fn public(private: &Path) -> String {
    fs::read_to_string(private.with_extension("pub")).unwrap().trim().to_owned()
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A real sshd for root with our key; `more` are lines of its config. bash takes a shell of this level for none of a session's own,
/// and leaves alone what root's .bashrc would do.
fn sshd(room: &Path, name: &str, more: &str) -> (Process, SocketAddr) {
    let address = free();
    let config = format!(
        "ListenAddress {address}\nHostKey {host}\nAuthorizedKeysFile {room}/authorized\nStrictModes no\nPidFile none\n\
         UsePAM no\nSetEnv SHLVL=2\nPermitRootLogin prohibit-password\nMaxStartups 200\nLogLevel ERROR\n{more}\n",
        host = room.join("host").display(),
        room = room.display(),
    );
    let file = room.join(name);
    fs::write(&file, config).unwrap();
    // Where it separates its privileges; Debian's unit makes it at boot.
    fs::create_dir_all("/run/sshd").unwrap();
    let users = fs::read_to_string("/etc/passwd").unwrap();
    fs::write(room.join("passwd"), format!("{users}{SSHD_USER}\n")).unwrap();
    let child =
        server(room).unwrap().args(["-D", "-e", "-f"]).arg(&file).stderr(Stdio::null()).spawn().unwrap();
    let (process, begun) = (Process(child), Instant::now());
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "sshd does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (process, address)
}

/// A command that prints what the real one printed the first time, and a clock that is ahead.
fn answer(room: &Path) -> PathBuf {
    let file = room.join("answer");
    let script = format!(
        "#!/bin/sh\ncd {room}\n\
         if mkdir lock 2>/dev/null; then sh -c \"$SSH_ORIGINAL_COMMAND\" >new 2>/dev/null; mv new said; fi\n\
         while [ ! -f said ]; do sleep 0.1; done\n\
         cat said\necho '=vakt= @time'; echo $(($(date +%s) + {AHEAD_S})) +0000 UTC\n",
        room = room.display(),
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    file
}

/// Listens and takes no connection: its queue is full, so that the kernel drops every SYN.
fn black_hole() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    rustix::net::bind(&socket, &any).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        held.push(stream);
    }
    (listener, address, held)
}

/// Takes connections and says nothing, or a byte of its greeting now and then.
fn mute(is_slow: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if is_slow {
                std::thread::spawn(move || {
                    for byte in b"SSH-2.0-OpenSSH_9.2\r\n" {
                        if stream.write_all(&[*byte]).is_err() {
                            return;
                        }
                        std::thread::sleep(Duration::from_secs(1));
                    }
                });
            } else {
                held.push(stream);
            }
        }
    });
    address
}

/// What came of each peer: rounds that answered, rounds that did not, series that were marked as gone, the clock's skew.
#[derive(Clone, Debug, Default)]
struct Seen {
    up: usize,
    down: usize,
    stale: usize,
    skew: Option<f64>,
    series: usize,
}

type All = BTreeMap<String, Seen>;

fn take(all: &mut All, arrived: Vec<Arrived>) {
    for (series, value) in arrived {
        let Some(peer) =
            series.split_once("instance=").map(|(_, rest)| rest.split([',', '}']).next().unwrap_or_default())
        else {
            continue;
        };
        let seen = all.entry(peer.to_owned()).or_default();
        if value.to_bits() == STALE {
            seen.stale += 1;
        } else if series.starts_with("up{") {
            if value == 1.0 {
                (seen.up, seen.series) = (seen.up + 1, 0);
            } else {
                seen.down += 1;
            }
        } else if series.starts_with("vakt_peer_clock_skew_seconds{") {
            seen.skew = Some(value);
        } else {
            seen.series += 1;
        }
    }
}

/// Takes what arrives until `is_done`.
fn until(receiver: &Receiver<Vec<Arrived>>, all: &mut All, what: &str, is_done: impl Fn(&All) -> bool) {
    let begun = Instant::now();
    while !is_done(all) {
        let left = WITHIN.saturating_sub(begun.elapsed());
        match receiver.recv_timeout(left) {
            Ok(arrived) => take(all, arrived),
            Err(_) => {
                let short = |(name, seen): (&String, &Seen)| format!("{name} {}/{}", seen.up, seen.down);
                panic!(
                    "{what} did not come in time (up/down): {}",
                    all.iter().map(short).collect::<Vec<_>>().join(" ")
                )
            }
        }
    }
}

fn well(all: &All) -> impl Iterator<Item = (&String, &Seen)> {
    all.iter().filter(|(name, _)| name.starts_with("well"))
}

fn hundred() -> Result<(), Failed> {
    let room = tempfile::tempdir().unwrap();
    let (host, client) = (key(room.path(), "host"), key(room.path(), "client"));
    fs::write(room.path().join("authorized"), public(&client)).unwrap();
    let (_first, first) = sshd(room.path(), "first", "");
    let force = format!("ForceCommand {}", answer(room.path()).display());
    let (_second, second) = sshd(room.path(), "second", &force);
    let (third_server, third) = sshd(room.path(), "third", &force);
    let (_stuck, stuck) = sshd(room.path(), "stuck", "ForceCommand exec sleep 60");
    let (_hole, hole, _held) = black_hole();
    let kinds = [
        ("well-real", first, REAL),
        ("well-a", second, WELL),
        ("well-b", third, WELL),
        ("stuck", stuck, OTHERS),
        ("hole", hole, OTHERS),
        ("mute", mute(false), OTHERS),
        ("slow", mute(true), OTHERS),
        ("dead", free(), OTHERS),
    ];
    let mut config = format!(
        "version = 1\n[scrape]\nebpf = false\n[ssh]\nread_key = \"\"\"\n{}\"\"\"\n",
        fs::read_to_string(&client).unwrap()
    );
    let host_key = public(&host).split(' ').take(2).collect::<Vec<_>>().join(" ");
    for (kind, address, count) in kinds {
        for number in 0..count {
            config.push_str(&format!(
                "[[peer]]\nname = \"{kind}-{number}\"\naddress = \"{address}\"\nhost_key = \"{host_key}\"\n\
                 read_user = \"root\"\ninterval_s = {INTERVAL_S}\n"
            ));
        }
    }
    fs::write(room.path().join("config.toml"), config).unwrap();
    let (sink, receiver) = sink();
    let child = Command::new(env!("CARGO_BIN_EXE_vakt-collector"))
        .args([
            "serve",
            "--interval",
            "15s",
            "--instance",
            "own",
            "--push",
            &format!("http://{sink}"),
            "--config",
        ])
        .arg(room.path().join("config.toml"))
        .arg("--listen")
        .arg(format!("unix:{}", room.path().join("http.sock").display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let collector = Process(child);
    let mut all = All::new();
    until(&receiver, &mut all, "a few rounds of every peer that is well", |all| {
        well(all).filter(|(_, seen)| seen.up >= ROUNDS).count() == 2 * WELL + REAL
            && all.iter().filter(|(name, seen)| !name.starts_with("well") && seen.down > 0).count()
                == 5 * OTHERS
    });
    let most = well(&all).map(|(_, seen)| seen.up).max().unwrap();
    let behind: Vec<_> = well(&all).filter(|(_, seen)| seen.up + AHEAD_MAX < most || seen.down > 0).collect();
    assert!(behind.is_empty(), "the best has {most} rounds: {behind:?}");
    for (name, seen) in well(&all) {
        let skew = seen.skew.unwrap_or_else(|| panic!("{name} has no skew"));
        let expected = if name.starts_with("well-real") { 0.0 } else { AHEAD_S };
        assert!((skew - expected).abs() < 60.0 && seen.series > 100, "{name}: {seen:?}");
    }
    let others = all.iter().filter(|(name, _)| !name.starts_with("well") && *name != "own");
    assert!(others.clone().all(|(_, seen)| seen.up == 0), "{:?}", Vec::from_iter(others));
    report(collector.0.id(), &all);
    server_goes(third_server, &receiver, &mut all);
    let peak = status(collector.0.id(), "VmHWM:") / 1024.0;
    assert!(peak < MEMORY_MAX_MIB, "{peak} MiB");
    Ok(())
}

/// One of the two servers ends: its peers' series are marked as gone, the others go on.
fn server_goes(server: Process, receiver: &Receiver<Vec<Arrived>>, all: &mut All) {
    // Each connection has a process of its own, below the one that listens.
    let children =
        fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.0.id())).unwrap_or_default();
    drop(server);
    for pid in children.split_whitespace() {
        let _ = Command::new("kill").args(["-KILL", pid]).status();
    }
    let before = all.clone();
    until(receiver, all, "the end of a server", |all| {
        all.iter()
            .filter(|(name, seen)| name.starts_with("well-b") && seen.down > 0 && seen.stale > 100)
            .count()
            == WELL
            && all
                .iter()
                .filter(|(name, seen)| name.starts_with("well-a") && seen.up > before[*name].up)
                .count()
                == WELL
    });
    for (name, seen) in all.iter().filter(|(name, _)| name.starts_with("well-a")) {
        assert_eq!(seen.down, 0, "{name}: {seen:?}");
    }
}

/// What a hundred peers cost, printed for docs/metrics.md.
fn report(pid: u32, all: &All) {
    let cpu = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default() / 1e9
    };
    let rounds: usize = well(all).map(|(_, seen)| seen.up).sum();
    println!(
        "{} peers: {:.1} ms CPU a round that answered, connecting and all others included; {:.1} MiB resident, {:.1} at most",
        all.len() - 1,
        cpu(pid) * 1e3 / rounds as f64,
        status(pid, "VmRSS:") / 1024.0,
        status(pid, "VmHWM:") / 1024.0,
    );
}

/// KiB out of /proc/PID/status.
fn status(pid: u32, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

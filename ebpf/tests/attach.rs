//! The real kernel: each group is attached, its event provoked, and seen to be counted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use vakt_ebpf::Attached;

/// Events that each test provokes.
const ROUNDS: u64 = 200;

/// The group, or `None` where the kernel refuses, which is said.
fn group(name: &str) -> Option<Attached> {
    let (_, outcome) =
        vakt_ebpf::attach().into_iter().find(|(known, _)| *known == name).expect("there is such a group");
    match outcome {
        Ok(group) => Some(group),
        Err(reason) => {
            eprintln!("{name} is unavailable here: {reason}");
            assert!(reason.to_string().starts_with("cannot "), "{reason}");
            None
        }
    }
}

#[test]
fn waits_for_a_cpu_are_counted() {
    let Some(group) = group("runqlat") else { return };
    let before = group.run_queue().expect("the map is there");
    let ((ping, pinged), (pong, ponged)) = (mpsc::channel(), mpsc::channel());
    let echo = thread::spawn(move || pinged.iter().try_for_each(|round: u64| pong.send(round)));
    for round in 0..ROUNDS {
        ping.send(round).expect("the other thread listens");
        assert_eq!(ponged.recv(), Ok(round));
    }
    drop(ping);
    echo.join().expect("the other thread ends").expect("every round is answered");
    let after = group.run_queue().expect("the map is there");
    let counted = after.count() - before.count();
    assert!(counted >= ROUNDS / 10, "{counted} waits counted in {ROUNDS} rounds");
    assert!(after.sum_ns > before.sum_ns);
}

#[test]
fn a_write_that_is_synced_is_counted_with_its_disk_and_latency() {
    let Some(group) = group("blkio") else { return };
    let written = |group: &Attached| {
        let (disks, _) = group.disks().expect("the map is there");
        disks.iter().filter(|disk| disk.operation == "write").map(|disk| disk.latency.count()).sum::<u64>()
    };
    let before = written(&group);
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("synced");
    let mut file = std::fs::File::create(&path).expect("the target directory is writable");
    for _ in 0..4 {
        file.write_all(&[7; 65536]).expect("there is room");
        file.sync_all().expect("the disk answers");
    }
    std::fs::remove_file(&path).expect("it was made above");
    assert!(written(&group) >= before + 4, "{} and then {}", before, written(&group));
    let (disks, _) = group.disks().expect("the map is there");
    let numbers: Vec<String> =
        disks.iter().map(|disk| format!("{} {} ", disk.device.0, disk.device.1)).collect();
    let known = std::fs::read_to_string("/proc/diskstats").expect("procfs is there");
    let known: Vec<Vec<&str>> = known.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    for number in numbers {
        assert!(
            known.iter().any(|words| words.join(" ") + " " == number),
            "{number}is no disk of this machine"
        );
    }
    assert!(disks.iter().any(|disk| disk.latency.sum_ns > 0));
}

#[test]
fn a_connection_is_counted_timed_and_drawn_as_an_edge_on_both_sides() {
    let Some(group) = group("tcp") else { return };
    let before = group.tcp().expect("the maps are there");
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback is there");
    let address = listener.local_addr().expect("it listens");
    let served = thread::spawn(move || {
        for _ in 0..ROUNDS {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            stream.write_all(b"x").expect("it is open");
        }
    });
    for _ in 0..ROUNDS {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.read_exact(&mut [0]).expect("a byte comes");
    }
    served.join().expect("the server ends");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    let after = group.tcp().expect("the maps are there");
    assert!(after.connect.count() >= before.connect.count() + ROUNDS, "{after:?}");
    assert!(after.opened_here >= before.opened_here + 2 * ROUNDS, "both ends are here: {after:?}");
    assert!(after.lifetime.count() >= before.lifetime.count() + ROUNDS, "{after:?}");
    assert!(after.failed > before.failed, "{after:?}");
    let edges = group.edges().expect("the map is there");
    let of = |outward: bool| edges.iter().find(|edge| edge.port == address.port() && edge.outward == outward);
    let (out, inward) = (of(true).expect("an edge outward"), of(false).expect("an edge inward"));
    assert_eq!((out.opened, out.remote, out.local), (ROUNDS, address.ip(), address.ip()));
    assert_eq!((inward.opened, inward.process.as_str()), (ROUNDS, ""));
    // The thread's name, which the test harness takes from the test's.
    assert!(
        "a_connection_is_counted".starts_with(&out.process) && !out.process.is_empty(),
        "{}",
        out.process
    );
}

#[test]
fn what_is_sent_again_is_counted() {
    let Some(group) = group("tcp") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback is there");
    // Room for one that nobody accepts: the kernel drops what the next one opens with, and that one
    // tries again after a second.
    rustix::net::listen(&listener, 0).expect("it is bound");
    let address = listener.local_addr().expect("it listens");
    let _waits = TcpStream::connect(address).expect("there is room for one");
    let before = group.tcp().expect("the maps are there");
    let patience = std::time::Duration::from_millis(1500);
    let refused = TcpStream::connect_timeout(&address, patience).expect_err("there is no room for two");
    assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
    let after = group.tcp().expect("the maps are there");
    assert!(after.retransmits > before.retransmits, "{before:?} and then {after:?}");
}

#[test]
fn a_process_is_counted_when_it_starts_runs_a_program_and_ends() {
    let Some(group) = group("process") else { return };
    let before = group.processes().expect("the maps are there");
    for _ in 0..5 {
        assert!(Command::new("true").status().expect("there is /bin/true").success());
    }
    let after = group.processes().expect("the maps are there");
    for (was, is) in [(before.forks, after.forks), (before.execs, after.execs), (before.exits, after.exits)] {
        assert!(is >= was + 5, "{before:?} and then {after:?}");
    }
}

#[test]
fn time_in_interrupts_is_counted_for_the_timer_at_least() {
    let Some(group) = group("irq") else { return };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let found = group.interrupts().expect("the map is there");
        if found.iter().any(|entry| entry.kind == "TIMER" && entry.count > 0 && entry.ns > 0) {
            return;
        }
        assert!(std::time::Instant::now() < until, "no timer in ten seconds: {found:?}");
        thread::yield_now();
    }
}

#[test]
fn a_group_says_what_it_costs() {
    let Some(group) = group("process") else { return };
    assert!(
        group.map_bytes().is_some_and(|bytes| (1000..10_000_000).contains(&bytes)),
        "{:?}",
        group.map_bytes()
    );
    let Ok(measuring) = vakt_ebpf::measure_cost() else { return };
    assert!(Command::new("true").status().expect("there is /bin/true").success());
    drop(measuring);
    let costs = group.costs();
    let exec = costs.iter().find(|cost| cost.program == "on_exec").expect("the program is there");
    assert!(exec.runs >= 1 && exec.ns > 0, "{costs:?}");
}

/// A memory cgroup with a small limit, in the hierarchy that this machine has, removed at the end.
struct Cramped(std::path::PathBuf);

impl Cramped {
    fn make() -> Option<Cramped> {
        let name = format!("vakt-ebpf-test-{}", std::process::id());
        for (root, limit) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group = Cramped(std::path::Path::new(root).join(&name));
            let limit = group.0.join(limit);
            if std::fs::create_dir(&group.0).is_ok()
                && limit.exists()
                && std::fs::write(limit, "16000000").is_ok()
            {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Cramped {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_process_that_is_killed_for_memory_is_counted_with_its_name() {
    let Some(group) = group("process") else { return };
    let Some(cramped) = Cramped::make().filter(|_| group.missing().is_empty()) else {
        eprintln!("no memory cgroup can be made here: nothing is killed");
        return;
    };
    let before = group.processes().expect("the maps are there");
    // tail keeps the last line, and /dev/zero has only one.
    let script = format!("echo $$ >{}/cgroup.procs && exec tail /dev/zero", cramped.0.display());
    let status = Command::new("sh").args(["-c", &script]).status().expect("there is a shell");
    assert!(!status.success(), "{status}");
    let after = group.processes().expect("the maps are there");
    assert!(after.oom_kills > before.oom_kills, "{after:?}");
    assert!(after.victims.iter().any(|(name, kills)| name == "tail" && *kills >= 1), "{after:?}");
}

//! Ways out of a service's room, tried for real beside the running services, and refused. Each attempt
//! that must work is tried too, so that a probe which fails at everything would be noticed.

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use vakt_qemu_tests::container::{self, Container, config};
use vakt_qemu_tests::escape::is_possible;
use vakt_qemu_tests::harness;

/// (service, attempt, argument): refused.
const REFUSED: &[(&str, &str, &str)] = &[
    // Another service's directory, secrets, and the machine's own.
    ("log", "read", "/state/store"),
    ("store", "read", "/state/log"),
    ("web", "read", "/state/store"),
    ("web", "read", "/state/init"),
    ("store", "read", "/run/vakt/config"),
    ("collector", "read", "/state/store"),
    ("collector", "write", "/state/probe"),
    ("repair", "read", "/run/vakt/config"),
    ("log", "read", "/proc"),
    ("store", "read", "/sys"),
    // Sockets that are not listed: TCP, UDP, MPTCP, netlink, packet, vsock, raw.
    ("store", "socket", "2,1,0"),
    ("store", "socket", "2,2,0"),
    ("store", "socket", "2,1,262"),
    ("store", "socket", "16,3,0"),
    ("store", "socket", "17,3,768"),
    ("store", "socket", "40,1,0"),
    ("web", "socket", "2,1,0"),
    ("web", "socket", "10,2,0"),
    ("web", "socket", "16,3,0"),
    ("web", "socket", "17,3,768"),
    ("web", "socket", "40,1,0"),
    ("log", "socket", "2,1,0"),
    ("log", "socket", "16,3,15"),
    ("collector", "socket", "2,2,0"),
    ("collector", "socket", "2,1,262"),
    ("collector", "socket", "2,3,1"),
    ("collector", "socket", "16,3,0"),
    ("collector", "socket", "17,3,768"),
    ("collector", "socket", "40,1,0"),
    ("repair", "socket", "2,2,17"),
    ("repair", "socket", "38,5,0"),
    ("collector", "bind-tcp", "127.0.0.1:0"),
    ("repair", "bind-tcp", "127.0.0.1:0"),
    // Another's unix socket.
    ("log", "connect", "/run/vakt/store/http.sock"),
    ("store", "connect", "/run/vakt/log/http.sock"),
    ("repair", "connect", "/run/vakt/init/http.sock"),
    ("repair", "connect", "/run/vakt/web/http.sock"),
    ("collector", "connect", "/run/vakt/repair/http.sock"),
    // The kernel.
    ("web", "mount", ""),
    ("collector", "mount", ""),
    ("web", "module", ""),
    ("collector", "module", ""),
    ("probe", "write", "/proc/sys/kernel/hostname"),
    ("probe", "write", "/proc/sysrq-trigger"),
    ("collector", "read", "/proc"),
    ("collector", "read", "/sys"),
    ("web", "write", "/proc/sys/kernel/hostname"),
    ("web", "unshare", ""),
    ("collector", "unshare", ""),
    ("web", "clone-namespace", ""),
    ("web", "setuid", ""),
    ("web", "reboot", ""),
    ("web", "bpf", ""),
    ("store", "keyctl", ""),
    ("store", "io-uring", ""),
    ("store", "chroot", ""),
    ("store", "set-time", ""),
    ("store", "mknod", "/state/store/null"),
    // Nothing that a service writes runs with another's rights.
    ("store", "set-id-file", "/state/store/set-id"),
    ("store", "set-id-mode", "/state/store"),
    // Its own room: nothing new runs, nothing outside its directory is written.
    ("web", "write", "/escape"),
    ("web", "write", "/usr/bin/vakt-web"),
    ("web", "exec", "/usr/bin/vakt-web"),
    ("web", "exec", "/bin/sh"),
    // What fetches from the network reads nobody's state, and cannot change whom it trusts.
    ("update", "read", "/state/store"),
    ("update", "write", "/usr/lib/vakt/update/root.json"),
    ("update", "connect", "/run/vakt/store/http.sock"),
    ("update", "write", "/dev/vda"),
    ("update", "mknod", "/state/update/vda"),
    // What loads programs into the kernel speaks to no stranger, and keeps nothing.
    ("probe", "socket", "2,1,0"),
    ("probe", "socket", "2,2,0"),
    ("probe", "socket", "16,3,0"),
    ("probe", "read", "/state/store"),
    ("probe", "write", "/probe"),
    ("probe", "connect", "/run/vakt/init/http.sock"),
    // What writes to engines elsewhere has a queue and no other's data.
    ("egress", "read", "/state/store"),
    ("egress", "write", "/state/probe"),
    ("egress", "connect", "/run/vakt/store/http.sock"),
    ("egress", "socket", "2,2,0"),
    // What asks for the time changes no network, and nothing that others read.
    ("time", "set-time", ""),
    ("time", "write", "/etc/ntp-servers"),
    ("time", "read", "/state"),
    ("time", "socket", "16,3,0"),
    ("time", "socket", "2,3,1"),
];

/// Attempts on the kernel that no service may make, with those that may.
const REFUSED_TO_ALL: &[(&str, &str, &[&str])] = &[
    ("mount", "", &[]),
    ("pivot-root", "", &[]),
    ("chroot", "", &[]),
    ("module", "", &[]),
    ("kexec", "", &[]),
    ("reboot", "", &[]),
    ("swap", "", &[]),
    ("accounting", "", &[]),
    ("set-time", "", &[]),
    ("host-name", "", &[]),
    ("kernel-log", "", &[]),
    ("unshare", "", &[]),
    ("clone-namespace", "", &[]),
    ("join-namespace", "", &[]),
    ("setuid", "", &[]),
    ("keyctl", "", &[]),
    ("io-uring", "", &[]),
    ("user-fault", "", &[]),
    ("personality", "", &[]),
    ("real-time", "", &[]),
    ("map-code", "", &[]),
    ("make-code", "", &[]),
    ("mknod", "/null", &[]),
    ("read", "/home", &[]),
    ("read", "/root", &[]),
    ("write", "/sys/fs/cgroup/cgroup.procs", &[]),
    ("write", "/usr/bin/new", &[]),
    ("write", "/proc/sys/kernel/hostname", &[]),
    ("bpf", "", &["probe"]),
    ("perf", "", &[]),
];

/// The services of a container.
const SERVICES: &[&str] = &["log", "store", "collector", "repair", "web", "egress", "time", "probe"];

/// The same machinery must let the listed things through.
const POSSIBLE: &[(&str, &str, &str)] = &[
    ("store", "read", "/state/store"),
    ("web", "socket", "1,1,0"),
    ("collector", "socket", "2,1,0"),
    ("collector", "connect", "/run/vakt/probe/http.sock"),
    ("probe", "read", "/proc"),
    ("web", "connect", "/run/vakt/store/http.sock"),
    ("store", "write", "/state/store/probe"),
    ("update", "read", "/usr/lib/vakt/update"),
    ("update", "write", "/state/update/probe"),
    ("update", "socket", "2,1,0"),
    ("update", "connect", "/run/vakt/init/http.sock"),
    ("egress", "write", "/state/egress/probe"),
    ("egress", "socket", "2,1,0"),
    ("store", "connect", "/run/vakt/egress/http.sock"),
    ("time", "read", "/etc"),
    ("time", "connect", "/run/vakt/init/http.sock"),
    ("time", "socket", "2,2,0"),
];

fn main() -> ExitCode {
    harness::run(
        container::missing(),
        &[("every_listed_way_out_is_refused_and_every_listed_way_in_works", all)],
    )
}

fn all() -> Result<()> {
    // Two machines, as far as addresses go: a peer of the config, and one that it does not name.
    let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let stranger = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0))?;
    let (at, elsewhere) = (peer.local_addr()?.to_string(), stranger.local_addr()?.to_string());
    let named = format!("[[peer]]\nname = \"db1\"\naddress = \"{at}\"\nhost_key = \"ssh-ed25519 AAAA\"\n");
    let mut container = Container::start(&config(&named))?;
    let mut wrong = Vec::new();
    for (service, address, possible) in [
        ("collector", &at, true),
        ("repair", &at, true),
        ("collector", &elsewhere, false),
        ("repair", &elsewhere, false),
        ("update", &at, false),
    ] {
        if is_possible(&container, service, "connect-tcp", address)? != possible {
            wrong.push(format!("{service} and {address}: to be possible is {possible}"));
        }
    }
    stranger.set_nonblocking(true)?;
    ensure!(stranger.accept().is_err(), "a connection came through to {elsewhere}");
    // Another config, another list: the stranger is a peer now, and the peer none.
    let text = config(&named.replace(&at, &elsewhere));
    let wish = serde_json::json!({ "text": text, "by": "tests" }).to_string();
    let (status, said) = container.call("init", "POST", "/v1/config/apply", &wish)?;
    ensure!(status == 202, "the new config was not taken: {status} {said}");
    container.wait_for("repair's new list", || {
        Ok(is_possible(&container, "repair", "connect-tcp", &elsewhere)?.then_some(()))
    })?;
    if is_possible(&container, "repair", "connect-tcp", &at)? {
        wrong.push(format!("repair could still connect to {at}"));
    }
    for (service, attempt, argument) in REFUSED {
        if is_possible(&container, service, attempt, argument)? {
            wrong.push(format!("{service} could {attempt} {argument}"));
        }
    }
    for (attempt, argument, but) in REFUSED_TO_ALL {
        for service in SERVICES.iter().filter(|service| !but.contains(service)) {
            if is_possible(&container, service, attempt, argument)? {
                wrong.push(format!("{service} could {attempt} {argument}"));
            }
        }
    }
    for (service, attempt, argument) in POSSIBLE {
        if !is_possible(&container, service, attempt, argument)? {
            wrong.push(format!("{service} could not {attempt} {argument}"));
        }
    }
    told(&container, "web", "mount")?;
    // Pids of the container as its processes would name them, and as the host does.
    for (name, pid) in container.services()? {
        let inside = inside_pid(pid)?;
        for (attempt, pid) in
            [("signal", pid), ("signal", inside), ("ptrace", inside), ("process-memory", inside)]
        {
            if is_possible(&container, "web", attempt, &pid.to_string())? {
                wrong.push(format!("web could {attempt} {name} as {pid}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(container.stop()?.success(), "the container did not end well");
    Ok(())
}

/// What seccomp refuses is found in the log, by the service's name and the call's. It is tried until it is: after
/// all the attempts before, the kernel writes nothing down for a while.
fn told(container: &Container, service: &str, attempt: &str) -> Result<()> {
    let line = format!("seccomp refused {attempt}(2) to {service}");
    container.wait_for(&line, || {
        ensure!(!is_possible(container, service, attempt, "")?, "{service} could {attempt}");
        let answer = container.get("/select/logsql/query?query=%22seccomp%20refused%22&limit=1000")?;
        Ok(answer.text().contains(&line).then_some(()))
    })
}

/// The pid in the container's own namespace of a service's process, which is process 1 of its own.
fn inside_pid(pid: i32) -> Result<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).context("no NSpid")?;
    let pids: Vec<&str> = line.split_whitespace().collect();
    Ok(pids.get(pids.len().saturating_sub(2)).context("no pid")?.parse()?)
}

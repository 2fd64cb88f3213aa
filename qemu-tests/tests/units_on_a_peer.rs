//! Each service under its own shipped unit file on a real systemd: it becomes active, answers on its sockets,
//! knows its callers, and stops with status 0.
//!
//! Needs root for the peer's namespaces: without, every test here is reported as ignored.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use vakt_image::qemu::ready;
use vakt_qemu_tests::container::workspace;
use vakt_qemu_tests::harness::{self, Test};
use vakt_qemu_tests::programs;
use vakt_qemu_tests::systemd_peer::{self, SystemdPeer};
use vakt_wire::http::Client;

/// How long anything may take on a loaded builder.
const WITHIN: Duration = Duration::from_secs(60);

/// Pause between two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the units of log and collector ask for beyond an ordinary container: the kernel's log, eBPF.
const CAPABILITIES: &str = "syslog,bpf,perfmon";

const TESTS: [Test; 4] = [
    ("the_store_keeps_a_document_under_its_unit", store),
    ("the_log_takes_syslog_and_inserts_under_its_unit", log),
    ("the_collector_fills_the_store_under_its_unit", collector),
    ("web_is_known_by_the_store_under_its_unit", web),
];

fn main() -> ExitCode {
    harness::run_together(&[(systemd_peer::missing(), &TESTS)])
}

/// A peer with these services installed as their unit files say, and started in this order.
struct Bed {
    peer: SystemdPeer,
    runtime: tokio::runtime::Runtime,
}

impl Bed {
    fn start(services: &[&str]) -> Result<Bed> {
        let peer = SystemdPeer::bare(CAPABILITIES)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let bed = Bed { peer, runtime };
        for service in services {
            bed.install(service)?;
            // Type=notify: it returns when the service has said that it is ready, and fails when it has not.
            let started = bed.peer.run(&format!("systemctl enable --now vakt-{service}"));
            started.with_context(|| bed.journal(service))?;
            // Enabled, it also stays loaded after its end, with its status.
            let state = bed.peer.unit_state(&format!("vakt-{service}.service"))?;
            ensure!(state == "active", "vakt-{service} is {state}: {}", bed.journal(service));
        }
        Ok(bed)
    }

    /// What the head of the unit file tells an operator to do.
    fn install(&self, service: &str) -> Result<()> {
        let unit = workspace().join(format!("services/{service}/vakt-{service}.service"));
        let text = std::fs::read_to_string(&unit).with_context(|| unit.display().to_string())?;
        if let Some(useradd) = text.lines().find_map(|line| line.strip_prefix("#   useradd ")) {
            self.peer.run(&format!("useradd {useradd}"))?;
        }
        let program = programs::path(&format!("vakt-{service}"))?;
        let bytes = std::fs::read(&program).with_context(|| program.display().to_string())?;
        let installed = format!("/usr/local/bin/vakt-{service}");
        self.peer.write(&installed, bytes)?;
        self.peer.run(&format!("chmod 755 {installed}"))?;
        self.peer.write(&format!("/etc/systemd/system/vakt-{service}.service"), text)?;
        self.peer.run("systemctl daemon-reload").map(drop)
    }

    fn journal(&self, service: &str) -> String {
        self.peer.run(&format!("journalctl --no-pager -u vakt-{service} | tail -40")).unwrap_or_default()
    }

    /// The answer of a service's unix socket, as root.
    fn call(&self, service: &str, method: Method, path: &str, body: &str) -> Result<String> {
        let socket = self.peer.seen(&format!("/run/vakt-{service}/http.sock"));
        let body = body.to_owned();
        let called = async { Client::unix(socket).call(method, path, "application/json", body).await };
        let bytes = self.runtime.block_on(called).with_context(|| self.journal(service))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Polls until `done` finds something.
    fn wait_for<T>(&self, what: &str, mut done: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let last = match done() {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => String::from("not there"),
                Err(error) => format!("{error:#}"),
            };
            ensure!(Instant::now() < deadline, "waited {WITHIN:?} for {what}: {last}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Stops a service by systemctl: it ended by itself, with status 0, and within its time.
    fn stop(&self, service: &str) -> Result<()> {
        self.peer.run(&format!("systemctl stop vakt-{service}"))?;
        let properties = "ActiveState,Result,ExecMainCode,ExecMainStatus";
        let shown = self.peer.run(&format!("systemctl show --property={properties} vakt-{service}"))?;
        let mut lines: Vec<_> = shown.lines().collect();
        lines.sort_unstable();
        // ExecMainCode 1 is CLD_EXITED: no signal ended it.
        let expected = ["ActiveState=inactive", "ExecMainCode=1", "ExecMainStatus=0", "Result=success"];
        ensure!(lines == expected, "vakt-{service} ended as {lines:?}: {}", self.journal(service));
        Ok(())
    }
}

fn store() -> Result<()> {
    let bed = Bed::start(&["store"])?;
    bed.call("store", Method::GET, "/health", "")?;
    bed.call("store", Method::PUT, "/catalog/v1/settings/theme", "{\"dark\":true}")?;
    let kept = bed.call("store", Method::GET, "/catalog/v1/settings/theme", "")?;
    ensure!(kept.contains("\"dark\":true"), "{kept}");
    bed.stop("store")
}

fn log() -> Result<()> {
    let bed = Bed::start(&["log"])?;
    bed.call("log", Method::GET, "/health", "")?;
    let answer = bed.call("log", Method::POST, "/insert/jsonline", "{\"_msg\":\"a zebra by insert\"}\n")?;
    ensure!(answer.contains("\"accepted\":1"), "{answer}");
    let door = bed.peer.door(514)?;
    let mut stream = std::net::TcpStream::connect(door.address())?;
    std::io::Write::write_all(&mut stream, b"<13>host app: a zebra by syslog\n")?;
    bed.wait_for("both lines", || {
        let rows = bed.call("log", Method::GET, "/select/logsql/query?query=zebra", "")?;
        Ok((rows.lines().count() == 2).then_some(()))
    })?;
    let journal = bed.journal("log");
    ensure!(!journal.contains("the kernel's log is not read"), "{journal}");
    drop(stream);
    bed.stop("log")
}

fn collector() -> Result<()> {
    let bed = Bed::start(&["store", "collector"])?;
    bed.call("collector", Method::GET, "/health", "")?;
    bed.wait_for("this machine's samples in the store", || {
        let answer = bed.call("store", Method::GET, "/api/v1/query?query=node_memory_MemTotal_bytes", "")?;
        Ok(answer.contains("\"instance\":\"peer\"").then_some(()))
    })?;
    bed.stop("collector")?;
    bed.stop("store")
}

fn web() -> Result<()> {
    let bed = Bed::start(&["store", "web"])?;
    let door = bed.peer.door(443)?;
    let health = ready::get(door.address(), "/health", "")?;
    ensure!(health.status == 200, "{} {}", health.status, health.text());
    // It asks the store's catalog for users, which only web may read: the code is there when it was let in.
    bed.wait_for("the set-up code", || {
        let journal = bed.journal("web");
        Ok(journal.contains("vakt: setup code").then_some(()))
    })?;
    bed.stop("web")?;
    bed.stop("store")
}

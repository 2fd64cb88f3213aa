//! The system calls of a whole appliance, recorded while it works: none is refused to a service, and each is on the
//! list that its room lets through.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use vakt_qemu_tests::container::{self, Container, config, workspace};
use vakt_qemu_tests::harness;
use vakt_qemu_tests::programs;

/// Where the lists are.
const SERVICES: &str = "buildroot-overlay/board/vakt/rootfs_overlay/usr/lib/vakt/services";

/// Those whose calls are recorded in a container; network runs on a machine only, update writes its slot there.
const RECORDED: [&str; 5] = ["collector", "log", "repair", "store", "web"];

fn main() -> ExitCode {
    harness::run(container::missing(), &[("no_service_needs_a_call_that_its_list_has_not", all)])
}

fn all() -> Result<()> {
    let recorded = tempfile::tempdir()?;
    let flags = vec!["--record".to_owned(), recorded.path().display().to_string()];
    let mut container = Container::start_with(&config(""), |_| Ok(flags))?;
    work(&container)?;
    let answer = container.get("/select/logsql/query?query=%22seccomp%20refused%22&limit=1000")?;
    // Threads of the services; programs that other tests bring into rooms of this host have their own names.
    let own = |line: &&str| !line.contains("\"thread\":\"program\"");
    let text = answer.text();
    let refused: Vec<&str> =
        text.lines().filter(|line| line.contains("seccomp refused")).filter(own).collect();
    ensure!(
        refused.is_empty(),
        "a service was refused a call; when it is right, add its name to {SERVICES}/SERVICE.calls (and to BASE in \
         init/src/sandbox/calls.rs when it is new to all):\n{}",
        refused.join("\n")
    );
    ensure!(container.stop()?.success(), "the container did not end well");
    for service in RECORDED {
        let made = names(&recorded.path().join(format!("{service}.calls")))?;
        ensure!(made.contains("epoll_wait") && made.contains("mmap"), "{service} made only {made:?}");
        let allowed = allowed(service)?;
        let others: Vec<_> = made.difference(&allowed).collect();
        ensure!(others.is_empty(), "{service} made {others:?}, which its list has not");
        println!("{service} made {} calls; {} are let through", made.len(), allowed.len());
    }
    Ok(())
}

/// Something for each service: metrics, logs, pages, a config that restarts, a process that is killed.
fn work(container: &Container) -> Result<()> {
    container.eventually("/api/v1/query?query=node_load1", |text| text.contains("value").then_some(()))?;
    let body = b"{\"_msg\":\"a zebra\",\"level\":\"info\"}\n";
    let answer = container.post("/insert/jsonline", "Content-Type: application/x-ndjson\r\n", body)?;
    ensure!(answer.status == 200, "the insert was refused: {}", answer.text());
    container.eventually("/select/logsql/query?query=zebra", |text| text.contains("zebra").then_some(()))?;
    let text = config("").replace("interval_s = 1", "interval_s = 2");
    let wish = serde_json::json!({ "text": text, "by": "tests" }).to_string();
    let (status, said) = container.call("init", "POST", "/v1/config/apply", &wish)?;
    ensure!(status == 202, "the config was not taken: {status} {said}");
    container.wait_for("a second life of the collector", || {
        let services = container.ask("init", "/v1/services")?;
        let all = services.as_array().context("no list of services")?;
        let well = |service: &&serde_json::Value| {
            service["name"] == "collector" && service["restarts"] == 1 && service["state"] == "ready"
        };
        Ok(all.iter().find(well).map(|_| ()))
    })
}

/// What seccomp lets through to a service, as `vakt-init exposure` tells it.
fn allowed(service: &str) -> Result<BTreeSet<String>> {
    let output = Command::new(programs::path("vakt-init")?)
        .args(["exposure", "--unit", service, "--services"])
        .arg(workspace().join(SERVICES))
        .output()?;
    let unit = String::from_utf8(output.stdout)?;
    let line = unit.lines().find_map(|line| line.strip_prefix("SystemCallFilter=")).context("no filter")?;
    Ok(line.split(' ').map(str::to_owned).collect())
}

fn names(path: &Path) -> Result<BTreeSet<String>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("nothing was recorded in {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

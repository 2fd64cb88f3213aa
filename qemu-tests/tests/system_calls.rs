//! The system calls of a whole appliance, recorded while it works: none is refused to a service, and each is on the
//! list that its room lets through.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use vakt_qemu_tests::container::{self, Container, config, workspace};
use vakt_qemu_tests::harness;
use vakt_qemu_tests::programs;

/// Where the lists are.
const SERVICES: &str = "buildroot-overlay/board/vakt/rootfs_overlay/usr/lib/vakt/services";

/// Those whose calls are recorded here. network is not among them, for it runs on a network of its own: its test, and
/// every test of a guest, asks the box whether a call was refused.
const RECORDED: [&str; 9] =
    ["collector", "egress", "log", "probe", "repair", "store", "time", "update", "web"];

fn main() -> ExitCode {
    harness::run(container::missing(), &[("no_service_needs_a_call_that_its_list_has_not", all)])
}

fn all() -> Result<()> {
    let recorded = tempfile::tempdir()?;
    let flags = vec!["--record".to_owned(), recorded.path().display().to_string()];
    let forward = format!("[[forward]]\nname = \"elsewhere\"\nurl = \"http://{}/w\"\n", receiver()?);
    let config = config(&forward);
    let mut container = Container::start_with(&config, |_| Ok(flags))?;
    work(&container, &config)?;
    container.none_was_refused()?;
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
fn work(container: &Container, config: &str) -> Result<()> {
    container.eventually("/api/v1/query?query=node_load1", |text| text.contains("value").then_some(()))?;
    let body = b"{\"_msg\":\"a zebra\",\"level\":\"info\"}\n";
    let answer = container.post("/insert/jsonline", "Content-Type: application/x-ndjson\r\n", body)?;
    ensure!(answer.status == 200, "the insert was refused: {}", answer.text());
    container.eventually("/select/logsql/query?query=zebra", |text| text.contains("zebra").then_some(()))?;
    container.wait_for("samples to be sent on", || {
        let places = container.ask("egress", "/v1/forwards")?;
        Ok(places[0]["sent_samples"].as_u64().filter(|sent| *sent > 0))
    })?;
    let text = config.replace("interval = \"1s\"", "interval = \"2s\"");
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

/// A server that takes whatever is written to it, until this test ends.
fn receiver() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || take(stream));
        }
    });
    Ok(address)
}

/// Answers every request of a connection with 204.
fn take(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 0 {
        if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap_or_default();
        }
        if line == "\r\n" {
            std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
            (&stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        }
        line.clear();
    }
    Ok(())
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

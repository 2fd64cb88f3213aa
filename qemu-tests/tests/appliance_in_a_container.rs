//! The whole appliance as a container of this host: it comes up, measures this machine truly, keeps
//! logs, brings back what is killed, shows what keeps dying, and ends cleanly under load.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vakt_qemu_tests::container::{self, Container, config};
use vakt_qemu_tests::harness;

fn main() -> ExitCode {
    harness::run(
        container::missing(),
        &[
            ("its_numbers_are_those_of_this_machine", numbers),
            ("what_is_sent_to_syslog_is_found_by_a_query", syslog),
            ("a_service_that_is_killed_comes_back_and_one_that_keeps_dying_is_shown", killed),
            ("a_wrong_config_is_refused_and_shown_and_the_box_comes_up", wrong_config),
            ("under_load_every_service_drains_and_exits_with_0", drains_under_load),
        ],
    )
}

/// The value of the first series of an instant query, if there is one.
fn value(text: &str) -> Option<f64> {
    let answer: Value = serde_json::from_str(text).ok()?;
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

fn query(container: &Container, promql: &str) -> Result<f64> {
    let encoded: String = promql.bytes().map(|byte| format!("%{byte:02X}")).collect();
    container.eventually(&format!("/api/v1/query?query={encoded}"), value)
}

fn numbers() -> Result<()> {
    let mut container = Container::start(&config(""))?;
    let meminfo = std::fs::read_to_string("/proc/meminfo")?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("no MemTotal")?;
    let kib: f64 = total.trim().trim_end_matches(" kB").parse()?;
    ensure!(
        query(&container, "node_memory_MemTotal_bytes")?.total_cmp(&(kib * 1024.0)).is_eq(),
        "MemTotal differs"
    );

    let stat = std::fs::read_to_string("/proc/stat")?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime ")).context("no btime")?.parse()?;
    ensure!((query(&container, "node_boot_time_seconds")? - boot).abs() < 2.0, "the boot time differs");
    let processors = stat.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
    let counted = query(&container, "count(node_cpu_seconds_total{mode=\"idle\"})")?;
    ensure!(counted.total_cmp(&(processors as f64)).is_eq(), "{counted} processors instead of {processors}");

    // A counter lies between its values before and after.
    let switches = || -> Result<f64> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        Ok(stat.lines().find_map(|line| line.strip_prefix("ctxt ")).context("no ctxt")?.parse()?)
    };
    let before = switches()?;
    let measured = container.wait_for("a fresh scrape", || {
        let now = query(&container, "node_context_switches_total")?;
        Ok((now >= before).then_some(now))
    })?;
    ensure!(measured <= switches()?, "{measured} context switches have not happened yet");
    let rate = query(&container, "rate(node_context_switches_total[30s])")?;
    ensure!(rate > 0.0, "no context switches a second");
    ensure!(container.stop()?.success(), "the container did not end well");
    Ok(())
}

fn syslog() -> Result<()> {
    let mut container = Container::start(&config(""))?;
    let mut stream = TcpStream::connect(container.syslog)?;
    stream.write_all(
        b"<165>1 2026-11-22T10:00:00Z edge01 sshd 77 ID47 - accepted the zebra from 192.0.2.1\n",
    )?;
    stream.write_all(b"<34>Nov 22 10:00:00 edge02 su: 'su root' failed for zebra\n")?;
    drop(stream);
    let datagram = std::net::UdpSocket::bind("127.0.0.1:0")?;
    datagram.send_to(b"<13>1 2026-11-22T10:00:01Z edge03 app - - - a zebra by datagram", container.syslog)?;
    let body = b"{\"_time\":\"2026-11-22T10:00:02Z\",\"_msg\":\"a zebra as json\",\"level\":\"info\"}\n";
    let answer = container.post("/insert/jsonline", "Content-Type: application/x-ndjson\r\n", body)?;
    ensure!(answer.status == 200, "the insert was refused: {} {}", answer.status, answer.text());
    let range = "start=2020-01-01T00:00:00Z&end=2030-01-01T00:00:00Z";
    container.eventually(&format!("/select/logsql/query?query=zebra&{range}"), |text| {
        (text.lines().count() == 4 && text.contains("edge01") && text.contains("edge03")).then_some(())
    })?;
    // The services' own structured lines arrive too.
    container.eventually(
        "/select/logsql/query?query=%22app_name%22%3A%22vakt-store%22%20OR%20vakt&limit=5",
        |text| (!text.trim().is_empty()).then_some(()),
    )?;
    ensure!(container.stop()?.success(), "the container did not end well");
    Ok(())
}

fn service<'a>(services: &'a Value, name: &str) -> Result<&'a Value> {
    let all = services.as_array().context("no list of services")?;
    all.iter().find(|service| service["name"] == name).with_context(|| format!("no service {name}"))
}

fn killed() -> Result<()> {
    let mut container = Container::start(&config(""))?;
    for (name, pid) in container.services()? {
        kill(pid)?;
        container.wait_for(&format!("{name} back and ready"), || {
            let services = container.ask("init", "/v1/services")?;
            let service = service(&services, &name)?;
            Ok((service["state"] == "ready" && service["restarts"] == 1).then_some(()))
        })?;
    }
    // One that keeps dying waits longer each time, and is shown with how it ended.
    let mut failures = 0;
    while failures < 5 {
        let running = container.services()?;
        if let Some(pid) = running.get("repair") {
            kill(*pid)?;
        }
        let services = container.ask("init", "/v1/services")?;
        failures = service(&services, "repair")?["failures"].as_u64().context("no failures")?;
    }
    container.wait_for("repair backing off", || {
        let services = container.ask("init", "/v1/services")?;
        let repair = service(&services, "repair")?;
        Ok((repair["state"] == "backoff" && repair["last_exit"] == "killed by signal 9").then_some(()))
    })?;
    ensure!(container.stop()?.success(), "the container did not end well");
    Ok(())
}

fn kill(pid: i32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid).context("no pid")?;
    match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn wrong_config() -> Result<()> {
    let mut container = Container::start("version = 1\nhostnam = \"typo\"\n")?;
    let machine = container.ask("init", "/v1/machine")?;
    let refused = machine["config_refused"].as_str().context("nothing was refused")?;
    ensure!(refused.contains("line 2, column 1: hostnam: unknown field"), "{refused}");
    ensure!(refused.contains("the previous config stays in force"), "{refused}");
    ensure!(container.console.text().contains("config refused"), "the console does not say it");
    ensure!(container.stop()?.success(), "the container did not end well");
    Ok(())
}

/// Writers push metrics' and logs' bodies until they are refused; the container is stopped meanwhile.
fn drains_under_load() -> Result<()> {
    let mut container = Container::start(&config(""))?;
    let stop = AtomicBool::new(false);
    let accepted = AtomicU64::new(0);
    let (https, syslog) = (container.https, container.syslog);
    let ended = std::thread::scope(|scope| -> Result<()> {
        for writer in 0..2 {
            let (stop, accepted) = (&stop, &accepted);
            scope.spawn(move || {
                let mut count = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    let line = format!("{{\"_msg\":\"load {writer} {count}\"}}\n");
                    let headers = format!("Authorization: Bearer {}\r\n", container::TOKEN);
                    let sent =
                        vakt_image::qemu::ready::post(https, "/insert/jsonline", &headers, line.as_bytes());
                    match sent {
                        Ok(answer) if answer.status == 200 => {
                            accepted.fetch_add(1, Ordering::Relaxed);
                        }
                        // Told by the test's output when too few are accepted.
                        Ok(answer) => println!("refused: {} {}", answer.status, answer.text()),
                        Err(error) => println!("no answer: {error:#}"),
                    }
                }
            });
        }
        // Long lines fill what may be in flight by their bytes, lines of ten bytes by their number.
        for line in [format!("<13>{}\n", "load ".repeat(400)), "<13>short\n".to_owned()] {
            let stop_syslog = &stop;
            scope.spawn(move || {
                let Ok(mut stream) = TcpStream::connect(syslog) else { return };
                while !stop_syslog.load(Ordering::Relaxed) && stream.write_all(line.as_bytes()).is_ok() {}
            });
        }
        let result = container
            .wait_for("20 accepted inserts", || Ok((accepted.load(Ordering::Relaxed) > 20).then_some(())))
            .and_then(|()| container.stop())
            .and_then(|status| {
                ensure!(status.success(), "the container ended with {status}");
                Ok(())
            });
        stop.store(true, Ordering::Relaxed);
        result
    });
    ended?;
    let console = container.console.text();
    // After "asked to power off" init shows only exits that were not 0.
    let after = console.split("asked to power off").nth(1).context("no power-off")?;
    let bad: BTreeMap<usize, &str> =
        after.lines().filter(|line| line.contains("exited")).enumerate().collect();
    ensure!(bad.is_empty() && !after.contains("killed"), "not every service ended well: {after}");
    Ok(())
}

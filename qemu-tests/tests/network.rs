//! The network service against real peers: dnsmasq gives leases, advertises a router and answers names, and
//! neighbours try the ports. All of it in a network namespace that the test makes for itself.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vakt_image::process::run;
use vakt_image::qemu::{Guest, Machine, Tap, ready};
use vakt_qemu_tests::container::{self, Container, config};
use vakt_qemu_tests::escape::is_possible;
use vakt_qemu_tests::guest::{self, Image, POWER_OFF_WITHIN, READY_WITHIN};
use vakt_qemu_tests::harness;
use vakt_qemu_tests::lan::{self, BEYOND, LEASE, LEASED_NAME, Lan, MAC, MTU, SERVER, SERVER6, ip};

/// A neighbour that is not answered within this time is dropped; one that is answered, at once.
const DROPPED_AFTER: Duration = Duration::from_secs(2);

/// The box' second interface: addresses said in the config, on a cable of its own.
const FIXED: &str = "10.78.0.2";
const FIXED6: &str = "fd00:78::2";

fn main() -> ExitCode {
    let missing = container::missing().or_else(lan::missing);
    if missing.is_none() {
        match lan::enter() {
            Ok(None) => {}
            Ok(Some(code)) => return code,
            Err(error) => {
                eprintln!("{error:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    let no_guest = missing.clone().or_else(guest::missing);
    harness::run_all(&[
        (missing, &[("a_box_lives_in_its_network_and_lets_in_what_it_listens_for", lives)]),
        (no_guest, &[("a_box_with_a_dead_clock_a_bond_and_a_vlan_finds_the_time", finds_the_time)]),
    ])
}

fn machine_config() -> String {
    config(&format!(
        "[network]\nhostname_from_dhcp = true\n\
         [[network.interface]]\nname = \"eth0\"\ndhcp = true\n\
         [[network.interface]]\nname = \"eth1\"\naddress = [\"{FIXED}/24\", \"{FIXED6}/64\"]\nmtu = 1400\naccept_ra = false\n\
         [[network.interface]]\nmac = \"02:00:00:00:77:03\"\ndhcp = true\n\
         [[network.limit]]\nport = 514\nfrom = [\"10.77.0.0/24\"]\n"
    ))
}

fn lives() -> Result<()> {
    let mut lan = Lan::start()?;
    let authority = with_time(&mut lan)?;
    let lan = lan;
    let plug = |pid| {
        lan.plug(pid, "lan0", "eth0", MAC, true)?;
        lan.plug(pid, "side0", "eth1", "02:00:00:00:77:02", false)?;
        ip("address add 10.78.0.1/24 dev side0")?;
        ip("address add fd00:78::1/64 dev side0 nodad")?;
        Ok(())
    };
    let mut container = Container::start_on_network(&machine_config(), LEASE.parse()?, plug)
        .with_context(|| lan.log("dnsmasq.log"))?;
    let told = || {
        let logs = ["dnsmasq.log", "chronyd.log"].map(|name| lan.log(name)).join("\n");
        format!("console:\n{}\nservers:\n{logs}", container.console.text())
    };
    let checks = || -> Result<()> {
        addresses(&container)?;
        escapes(&container)?;
        learned(&container)?;
        ports(&container)?;
        a_new_life_keeps_what_the_kernel_made(&container)?;
        cable(&container, &lan)?;
        late(&container, &lan)?;
        time_by_dhcp(&container)?;
        time_by_nts(&container, &authority)?;
        container.none_was_refused()
    };
    checks().with_context(told)?;
    ensure!(container.stop()?.success(), "the container did not end well:\n{}", container.console.text());
    Ok(())
}

/// `ip WORDS` as the box sees it.
fn inside(container: &Container, words: &str) -> Result<String> {
    let mut command = Command::new("nsenter");
    command.args(["--net", &format!("--target={}", container.pid), "--", "ip"]).args(words.split(' '));
    Ok(String::from_utf8_lossy(&run(&mut command)?.stdout).into_owned())
}

/// The address that the box made itself from the advertised network.
fn advertised_address(container: &Container) -> Result<Option<String>> {
    let all = inside(container, "-6 -o address show dev eth0 scope global")?;
    let line = all.lines().find(|line| line.contains(" fd00:77:") && !line.contains("tentative"));
    Ok(line.and_then(|line| Some(line.split_whitespace().nth(3)?.split('/').next()?.to_owned())))
}

/// The service that parses what strangers send makes no socket that reaches them, and changes no kernel setting.
fn escapes(container: &Container) -> Result<()> {
    let refused = [
        ("socket", "2,2,0"),
        ("socket", "2,1,0"),
        ("socket", "2,3,1"),
        ("socket", "10,3,58"),
        ("socket", "17,3,768"),
        ("write", "/proc/sys/net/ipv6/conf/eth1/accept_ra"),
        ("write", "/proc/sys/kernel/hostname"),
        ("read", "/state"),
        ("connect", "/run/vakt/init/http.sock"),
        ("bpf", ""),
        ("set-time", ""),
        ("module", ""),
    ];
    let possible = [("socket", "16,3,0"), ("read", "/proc/sys/net/ipv6/conf"), ("read", "/run/vakt/etc")];
    let all = refused.map(|one| (one, false)).into_iter().chain(possible.map(|one| (one, true)));
    for ((attempt, argument), expected) in all {
        let was = is_possible(container, "network", attempt, argument)?;
        ensure!(was == expected, "network: {attempt} {argument} was possible: {was}");
    }
    Ok(())
}

fn addresses(container: &Container) -> Result<()> {
    let status = container.wait_for("a lease and a name", || {
        let machine = container.ask("init", "/v1/machine")?;
        Ok((machine["hostname"] == LEASED_NAME).then_some(machine))
    })?;
    ensure!(status["notes"].as_array().is_none_or(Vec::is_empty), "notes: {}", status["notes"]);
    container.wait_for("an address by router advertisement", || advertised_address(container))?;
    let eth1 = inside(container, "address show dev eth1")?;
    ensure!(
        eth1.contains(&format!("inet {FIXED}/24")) && eth1.contains(&format!("inet6 {FIXED6}/64")),
        "{eth1}"
    );
    ensure!(eth1.contains("mtu 1400"), "{eth1}");
    let eth0 = inside(container, "address show dev eth0")?;
    ensure!(eth0.contains(&format!("mtu {MTU}")), "{eth0}");
    let routes = inside(container, "route show default")?;
    ensure!(routes.contains(&format!("default via {SERVER} dev eth0")), "{routes}");
    let beyond = inside(container, &format!("route show {BEYOND}"))?;
    ensure!(beyond.contains(&format!("via {SERVER} dev eth0")), "{beyond}");
    Ok(())
}

/// A file of the box' /etc, as its services see it.
fn etc(container: &Container, name: &str) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{}/root/run/vakt/etc/{name}", container.pid))?)
}

fn learned(container: &Container) -> Result<()> {
    container.wait_for("name servers by DHCP and by router advertisement", || {
        let text = etc(container, "resolv.conf")?;
        let both = [SERVER, SERVER6].iter().all(|server| text.contains(&format!("nameserver {server}\n")));
        Ok(both.then_some(()))
    })?;
    let servers = etc(container, "ntp-servers")?;
    ensure!(servers == format!("{SERVER}\n"), "time servers: {servers:?}");
    ensure!(etc(container, "hosts")?.contains(LEASED_NAME));
    Ok(())
}

fn connect(address: &str, port: u16) -> Result<bool> {
    let address = SocketAddr::new(address.parse()?, port);
    match TcpStream::connect_timeout(&address, DROPPED_AFTER) {
        Ok(_) => Ok(true),
        // Refused would be an answer: the packet came in.
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
        Err(error) => Err(error).with_context(|| format!("connecting to {address}")),
    }
}

fn ports(container: &Container) -> Result<()> {
    let own = container.wait_for("its own address", || advertised_address(container))?;
    for address in [LEASE, &own, FIXED, FIXED6] {
        ensure!(connect(address, 443)?, "{address} does not answer on 443");
    }
    for address in [LEASE, &own] {
        ensure!(!connect(address, 444)?, "{address} answers on 444");
    }
    ensure!(connect(LEASE, 514)?, "514 is closed to those it is for");
    ensure!(!connect(FIXED, 514)?, "514 is open to others");
    Ok(())
}

/// The network service's status, and how often it was started anew.
fn service(container: &Container) -> Result<(String, u64)> {
    let all = container.ask("init", "/v1/services")?;
    let services = all.as_array().or_else(|| all["services"].as_array()).context("no list of services")?;
    let found = services.iter().find(|service| service["name"] == "network").context("no network service")?;
    Ok((found["status"].as_str().unwrap_or_default().to_owned(), found["restarts"].as_u64().unwrap_or(0)))
}

fn a_new_life_keeps_what_the_kernel_made(container: &Container) -> Result<()> {
    let before = container.wait_for("its own address", || advertised_address(container))?;
    let resolv = format!("/proc/{}/root/run/vakt/etc/resolv.conf", container.pid);
    let pid = *container.services()?.get("network").context("the network service has no process")?;
    // What it had learned is learned anew, by asking the routers.
    fs::write(&resolv, "")?;
    let pid = rustix::process::Pid::from_raw(pid).context("no pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    container.wait_for("another life of the network service", || {
        let (status, restarts) = service(container)?;
        Ok((restarts > 0 && status.contains(LEASE)).then_some(()))
    })?;
    learned(container)?;
    let after = advertised_address(container)?;
    ensure!(after.as_ref() == Some(&before), "the address {before} became {after:?}");
    ensure!(inside(container, "address show dev eth1")?.contains(FIXED6));
    Ok(())
}

fn cable(container: &Container, lan: &Lan) -> Result<()> {
    let asked = |lan: &Lan| lan.log("dnsmasq.log").matches(&format!("DHCPREQUEST(lan) {LEASE}")).count();
    let before = asked(lan);
    ip("link set lan0 down")?;
    container.wait_for("the cable to be out", || {
        Ok(service(container)?.0.contains("eth0 no cable").then_some(()))
    })?;
    let routes = inside(container, "route show default")?;
    ensure!(!routes.contains("eth0"), "a route without a cable: {routes}");
    ip("link set lan0 up")?;
    container.wait_for("the address to be verified", || Ok((asked(lan) > before).then_some(())))?;
    container.wait_for("the cable to be in", || {
        Ok(service(container)?.0.contains(&format!("eth0 {LEASE}/24")).then_some(()))
    })?;
    let routes = inside(container, "route show default")?;
    ensure!(routes.contains("dev eth0"), "no route: {routes}");
    ensure!(connect(LEASE, 443)?, "no answer after the cable was put back");
    Ok(())
}

fn late(container: &Container, lan: &Lan) -> Result<()> {
    lan.plug(container.pid, "late0", "whatever0", "02:00:00:00:77:03", true)?;
    container.wait_for("an interface that came later to have an address", || {
        Ok(service(container)?.0.contains("whatever0 10.77.0.").then_some(()))
    })
}

/// Starts chronyd with a certificate for `time.lan`, and returns that.
fn with_time(lan: &mut Lan) -> Result<String> {
    let made = rcgen::generate_simple_self_signed(vec!["time.lan".to_owned()])?;
    let (certificate, key) = (lan.directory().join("time.pem"), lan.directory().join("time.key"));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    let more = format!("ntsservercert {}\nntsserverkey {}\n", certificate.display(), key.display());
    lan.start_chronyd(&lan::chronyd()?, &more)?;
    Ok(made.cert.pem())
}

/// What the time service says once `found` takes it.
fn time(container: &Container, what: &str, found: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let waited = container.wait_for(what, || {
        last = container.ask("time", "/v1/time")?;
        Ok(found(&last).then(|| last.clone()))
    });
    waited.with_context(|| format!("the time service says {last}"))
}

fn time_by_dhcp(container: &Container) -> Result<()> {
    let said = time(container, "the time by DHCP's server", |said| said["synchronised"] == true)?;
    println!("time by DHCP: {said}");
    ensure!(said["source"] == SERVER && said["servers"][0]["from"] == "dhcp", "{said}");
    // Both ends have this host's clock, and it is not the container's to touch.
    ensure!(said["offset_s"].as_f64().is_some_and(|offset_s| offset_s.abs() < 0.05), "{said}");
    ensure!(said["clock"] == "observed" && said["steps"] == 0, "{said}");
    let pid = *container.services()?.get("time").context("the time service has no process")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(status.contains("CapBnd:\t0000000000000000\n"), "it could set this host's clock: {status}");
    Ok(())
}

fn time_by_nts(container: &Container, authority: &str) -> Result<()> {
    let now = container.get("/api/vakt/v1/config")?.text();
    let now: Value = serde_json::from_str(&now).with_context(|| now.clone())?;
    let text = now["text"].as_str().context("no config")?.to_owned();
    let server = "[[time.server]]\nhost = \"time.lan\"\nnts = true\nauthorities = \"\"\"\n";
    let body =
        serde_json::json!({ "text": format!("{text}{server}{authority}\"\"\"\n"), "why": "nts" }).to_string();
    let answer =
        container.post("/api/vakt/v1/config/apply", "Content-Type: application/json\r\n", body.as_bytes())?;
    ensure!(answer.status == 200, "apply: {} {}", answer.status, answer.text());
    // Its name comes from the name server that was learned.
    let said = time(container, "the time by NTS", |said| {
        said["source"] == "time.lan" && said["synchronised"] == true
    })?;
    println!("time by NTS: {said}");
    ensure!(said["servers"][0]["nts"] == true && said["servers"][0]["from"] == "config", "{said}");
    Ok(())
}

/// A machine whose battery is dead, with two cards in a bond and a third that carries a VLAN.
fn finds_the_time() -> Result<()> {
    let mut lan = Lan::start()?;
    with_time(&mut lan)?;
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let (disk, config_disk) = (directory.path().join("disk"), directory.path().join("config.disk"));
    image.copy(&disk)?;
    vakt_image::build::config_disk::make(&config_disk, machine_with_a_bond().as_bytes())?;
    let tap = |interface: &str, mac: &str| -> Result<Tap> {
        ip(&format!("tuntap add {interface} mode tap"))?;
        ip(&format!("link set {interface} up"))?;
        Ok(Tap { interface: interface.into(), mac: mac.into(), capture: None })
    };
    let mut taps =
        vec![tap("tap0", MAC)?, tap("tap1", "02:00:00:00:77:12")?, tap("tap2", "02:00:00:00:77:13")?];
    for bridged in ["tap0", "tap1"] {
        ip(&format!("link set {bridged} master {}", lan::BRIDGE))?;
    }
    let capture = directory.path().join("vlan.pcap");
    taps[2].capture = Some(capture.clone());
    let clock = Some("1970-01-01T00:00:00".to_owned());
    let config_disk = Some(config_disk);
    let machine = Machine { clock, taps, config_disk, has_network: false, ..image.by_kernel(&disk) };
    let mut guest = Guest::start(&machine, false)?;
    let logs = || ["dnsmasq.log", "chronyd.log"].map(|name| lan.log(name)).join("\n");
    let found = found_the_time(&guest, &capture);
    found.with_context(|| format!("console:\n{}\nservers:\n{}", guest.serial.text(), logs()))?;
    ensure!(guest.power_off(POWER_OFF_WITHIN)?.success());
    Ok(())
}

fn machine_with_a_bond() -> String {
    config(
        "[[network.interface]]\nname = \"bond0\"\ndhcp = true\n\
         bond = { members = [\"eth0\", \"eth1\"], primary = \"eth0\" }\n\
         [[network.interface]]\nname = \"lan20\"\naddress = [\"10.79.0.2/24\"]\ngateway = \"10.79.0.1\"\n\
         vlan = { parent = \"eth2\", id = 20 }\n",
    )
}

fn found_the_time(guest: &Guest, capture: &Path) -> Result<()> {
    let stood = guest.serial.wait_for("vakt: the clock stood at 1970-01-01T00:0", READY_WITHIN)?;
    println!("the clock stood at 1970-01-01T00:0{stood}");
    let said = guest.serial.wait_for("firewall", READY_WITHIN)?;
    ensure!(said == "lets in tcp 443, tcp 514, udp 514", "the firewall {said}");
    let https = SocketAddr::new(LEASE.parse()?, 443);
    let fingerprint = guest.serial.wait_for("vakt: fingerprint ", READY_WITHIN)?;
    ready::wait(https, &fingerprint, READY_WITHIN)?;
    // The box' own metric of its clock, against this host's.
    let seconds = || -> Result<Option<f64>> {
        let header = format!("Authorization: Bearer {}\r\n", container::TOKEN);
        let answer = ready::get(https, "/api/v1/query?query=node_time_seconds", &header)?;
        let value: Value = serde_json::from_str(&answer.text()).with_context(|| answer.text())?;
        let shown = value["data"]["result"][0]["value"][1].as_str();
        Ok(shown.and_then(|shown| shown.parse().ok()))
    };
    let off =
        |there: f64| there - SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let until = Instant::now() + READY_WITHIN;
    let left = loop {
        // A scrape is a second apart, and an answer under emulation takes its time.
        let left = seconds()?.map(off);
        match left {
            Some(left) if left.abs() < 10.0 => break left,
            _ => ensure!(Instant::now() < until, "the clock never became right; off by {left:?} s"),
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    println!("the clock became right: off by {left:.1} s, the age of the last scrape in it");
    // The first card's cable: the second carries on, with the same address.
    guest.cable(0, false)?;
    let header = format!("Authorization: Bearer {}\r\n", container::TOKEN);
    let carried_on = (0..60).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        ready::get(https, "/api/v1/query?query=node_time_seconds", &header).is_ok()
    });
    ensure!(carried_on, "the bond did not fail over");
    let tagged = tagged_frames(&fs::read(capture)?, 20);
    println!("{tagged} frames of VLAN 20");
    ensure!(tagged > 0, "no frame of VLAN 20 was seen");
    Ok(())
}

/// Frames with an 802.1Q tag of this number in a pcap file: a head of 24 bytes, then each with a head of 16.
fn tagged_frames(pcap: &[u8], id: u16) -> usize {
    let (mut count, mut rest) = (0, pcap.get(24..).unwrap_or_default());
    while let Some((head, behind)) = rest.split_at_checked(16) {
        let length = u32::from_ne_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let Some((frame, next)) = behind.split_at_checked(length) else { break };
        let tag = frame
            .get(12..16)
            .map(|tag| (u16::from_be_bytes([tag[0], tag[1]]), u16::from_be_bytes([tag[2], tag[3]])));
        count += usize::from(tag.is_some_and(|(kind, tag)| kind == 0x8100 && tag & 0xFFF == id));
        rest = next;
    }
    count
}

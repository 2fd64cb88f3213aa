//! The image in QEMU, as a real machine boots it: firmware, boot loader, verified root, services, pages.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vakt_image::qemu::{Machine, processors, ready};
use vakt_qemu_tests::container::config;
use vakt_qemu_tests::guest::{self, Appliance, DISK_BYTES, Image, POWER_OFF_WITHIN};
use vakt_qemu_tests::harness::Group;

/// The memory that the box must work with, in MiB.
const MEMORY_MIB: u32 = 256;

pub fn tests() -> Group {
    (guest::missing(), &[("it_boots_by_firmware_measures_truly_powers_off_and_keeps_its_state", boots)])
}

fn boots() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    image.copy(&disk)?;
    let machine = Machine { memory_mib: MEMORY_MIB, ..image.by_firmware(&disk)? };

    let mut first = Appliance::start(machine.clone(), Some(&config("")), directory.path())?;
    println!("first boot: ready after {:.1} s", first.ready_after.as_secs_f64());
    let fingerprint = first.get("/health")?.fingerprint;
    numbers(&image, &first)?;
    let body = b"{\"_time\":\"2026-11-22T10:00:02Z\",\"_msg\":\"kept across a restart\"}\n";
    let answer = first.post("/insert/jsonline", "Content-Type: application/x-ndjson\r\n", body)?;
    ensure!(answer.status == 200, "the insert was refused: {} {}", answer.status, answer.text());
    first.power_off()?;

    // The second boot has no config disk: what was adopted is kept.
    let mut second = Appliance::start(machine, None, directory.path())?;
    println!("second boot: ready after {:.1} s", second.ready_after.as_secs_f64());
    ensure!(second.get("/health")?.fingerprint == fingerprint, "the certificate is another");
    let range = "start=2020-01-01T00:00:00Z&end=2030-01-01T00:00:00Z";
    second.eventually(&format!("/select/logsql/query?query=%22kept%20across%22&{range}"), |text| {
        text.contains("kept across a restart").then_some(())
    })?;
    // Kernel messages are read as logs.
    second.eventually("/select/logsql/query?query=Linux&limit=5", |text| {
        (!text.trim().is_empty()).then_some(())
    })?;
    locked_out(&second)?;
    // The key combination restarts in order. QEMU runs with -no-reboot: it ends there.
    second.guest.press_keys(&["ctrl", "alt", "delete"])?;
    let status = second.guest.wait(POWER_OFF_WITHIN)?;
    let console = second.guest.serial.text();
    ensure!(console.contains("vakt: asked to reboot"), "no restart in order:\n{console}");
    ensure!(status.success(), "QEMU ended with {status}");
    Ok(())
}

/// An address that nobody reaches the box at: it is undone by itself, and the pages answer again.
fn locked_out(appliance: &Appliance) -> Result<()> {
    let text =
        format!("{}[[network.interface]]\nname = \"eth0\"\naddress = [\"192.0.2.9/24\"]\n", config(""));
    let wish = serde_json::json!({ "text": text, "confirm_within_s": 10, "why": "a typing error" });
    let headers = "Content-Type: application/json\r\n";
    let answer = appliance.post("/api/vakt/v1/config/apply", headers, wish.to_string().as_bytes())?;
    ensure!(answer.status == 200, "the change was refused: {} {}", answer.status, answer.text());
    let console = &appliance.guest.serial;
    console.wait_for("vakt: network eth0 192.0.2.9/24", POWER_OFF_WITHIN)?;
    console.wait_for("was not confirmed within 10 s and is undone", POWER_OFF_WITHIN)?;
    let fingerprint = console.wait_for("vakt: fingerprint ", POWER_OFF_WITHIN)?;
    ready::wait(appliance.https, &fingerprint, POWER_OFF_WITHIN)?;
    appliance.eventually("/api/vakt/v1/config/history", |text| text.contains("a typing error").then_some(()))
}

/// Every number here is known from outside the guest.
fn numbers(image: &Image, appliance: &Appliance) -> Result<()> {
    let console = appliance.guest.serial.text();
    ensure!(console.contains(&image.manifest.root_hash), "the console names another root hash:\n{console}");
    let cpus = value(appliance, "count(node_cpu_seconds_total{mode=\"idle\"})")?;
    ensure!(cpus.total_cmp(&f64::from(processors())).is_eq(), "{cpus} processors");
    let memory = value(appliance, "node_memory_MemTotal_bytes")? / f64::from(1 << 20);
    ensure!((150.0..f64::from(MEMORY_MIB)).contains(&memory), "{memory} MiB of memory");
    let release = series(appliance, "node_uname_info")?["metric"]["release"].clone();
    ensure!(release == image.manifest.kernel.as_str(), "the kernel is {release}");
    let boot = value(appliance, "node_boot_time_seconds")?;
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64()
        - appliance.guest.age().as_secs_f64();
    ensure!((boot - started).abs() < 30.0, "booted at {boot} instead of {started}");
    let state = value(appliance, "node_filesystem_size_bytes{mountpoint=\"/state\"}")?;
    ensure!(state > 0.6 * DISK_BYTES as f64 * 0.65, "state has {state} bytes: it was not grown");
    let sectors = value(appliance, "node_disk_reads_completed_total{device=\"vda\"}")?;
    ensure!(sectors > 0.0, "no read of the disk was counted");
    Ok(())
}

fn series(appliance: &Appliance, promql: &str) -> Result<Value> {
    let encoded: String = promql.bytes().map(|byte| format!("%{byte:02X}")).collect();
    appliance.eventually(&format!("/api/v1/query?query={encoded}"), |text| {
        let answer: Value = serde_json::from_str(text).ok()?;
        answer["data"]["result"].get(0).cloned()
    })
}

fn value(appliance: &Appliance, promql: &str) -> Result<f64> {
    let series = series(appliance, promql)?;
    Ok(series["value"][1].as_str().context("no value")?.parse()?)
}

//! NVMe controllers and software RAID.

use crate::family::{Families, Family, label};
use crate::inputs::{Files, Inputs, SourceError, content, proc};

/// What nvme reads.
pub const NVME: &[Files] = &[
    Files {
        folder: "/sys/class/nvme/nvme*",
        names: &["cntlid=", "firmware_rev=", "model=", "serial=", "state"],
    },
    Files {
        folder: "/sys/class/nvme/nvme*/nvme*",
        names: &["ana_state", "nuse", "queue/logical_block_size=", "size"],
    },
];

/// `node_nvme_*`.
///
/// # Errors
/// Absent without a controller.
pub fn nvme(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for controller in inputs.devices("/sys/class/nvme/", "nvme") {
        let device = label("device", controller.name);
        let text = |name, file| (name, controller.text(file).unwrap_or_default().to_owned());
        let labels = vec![
            text("cntlid", "cntlid"),
            device.clone(),
            text("firmware_revision", "firmware_rev"),
            text("model", "model"),
            text("serial", "serial"),
            text("state", "state"),
        ];
        let help = "Non-numeric data from /sys/class/nvme/<device>, value is always 1.";
        families.gauge("node_nvme_info", help, labels, 1.0);
        for space in controller.parts("nvme") {
            // nvme0c1n2 and nvme0n2 are both number 2.
            let Some((_, nsid)) = space.name.rsplit_once('n').filter(|(_, id)| id.parse::<u32>().is_ok())
            else {
                continue;
            };
            let nsid = label("nsid", nsid);
            let state = label("ana_state", space.text("ana_state").unwrap_or("unknown"));
            let labels = vec![state, device.clone(), nsid.clone()];
            let help = "Information about NVMe namespaces. Value is always 1";
            families.gauge("node_nvme_namespace_info", help, labels, 1.0);
            let number = |file| space.number(file).unwrap_or_default();
            let block = number("queue/logical_block_size");
            for (name, value) in [
                ("node_nvme_namespace_capacity_bytes", number("size") * block),
                ("node_nvme_namespace_logical_block_size_bytes", block),
                ("node_nvme_namespace_size_bytes", number("size") * block),
                ("node_nvme_namespace_used_bytes", number("nuse") * block),
            ] {
                families.gauge(
                    name,
                    "Of an NVMe namespace, in bytes.",
                    vec![device.clone(), nsid.clone()],
                    value,
                );
            }
        }
    }
    families.or_absent("an NVMe controller")
}

/// What mdadm reads.
pub const RAID: &[Files] =
    &[proc(&["mdstat"]), Files { folder: "/sys/block/md*/md", names: &["degraded", "level", "raid_disks"] }];

/// States of `node_md_state`, and how /proc/mdstat's line or the sync line names them.
const STATES: [(&str, &str); 5] = [
    ("active", "active"),
    ("inactive", "inactive"),
    ("recovering", "recovery"),
    ("resync", "resync"),
    ("check", "check"),
];

/// One array of /proc/mdstat.
struct Array<'a> {
    name: &'a str,
    state: &'a str,
    required: f64,
    active: f64,
    failed: f64,
    spare: f64,
    blocks: f64,
    synced: f64,
}

/// `node_md_*`.
///
/// # Errors
/// Absent without software RAID; an error when an array's lines cannot be read.
pub fn mdadm(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let text = inputs.file("mdstat").map_err(|_| SourceError::Absent("/proc/mdstat"))?;
    let mut families = Families::default();
    for array in arrays(text)? {
        let device = || label("device", array.name);
        for (name, help, value) in [
            ("node_md_blocks", "Total number of blocks on device.", array.blocks),
            ("node_md_blocks_synced", "Number of blocks synced on device.", array.synced),
            ("node_md_disks_required", "Total number of disks of device.", array.required),
        ] {
            families.gauge(name, help, vec![device()], value);
        }
        for (state, value) in [("active", array.active), ("failed", array.failed), ("spare", array.spare)] {
            let help = "Number of active/failed/spare disks of device.";
            families.gauge("node_md_disks", help, vec![device(), label("state", state)], value);
        }
        for (state, _) in STATES {
            let value = f64::from(u8::from(array.state == state));
            let labels = vec![device(), label("state", state)];
            families.gauge("node_md_state", "Indicates the state of md-device.", labels, value);
        }
    }
    for device in inputs.devices("/sys/block/", "md") {
        let of = || vec![label("device", device.name)];
        let degraded = device.number("md/degraded").unwrap_or_default();
        families.gauge("node_md_degraded", "Number of degraded disks on device.", of(), degraded);
        // "4 (3)" while it is being grown.
        let disks = device.text("md/raid_disks").and_then(|text| text.split(' ').next()?.parse().ok());
        let has_disks = !matches!(device.text("md/level"), Some("container" | "imsm" | "ddf" | "") | None);
        if let Some(disks) = disks.filter(|_| has_disks) {
            families.gauge("node_md_raid_disks", "Number of raid disks on device.", of(), disks);
        }
    }
    Ok(families.done())
}

fn arrays(text: &str) -> Result<Vec<Array<'_>>, SourceError> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let is_array = line.split_once(" : ").is_some_and(|(name, _)| !name.contains(' '));
        if !is_array || line.starts_with("Personalities") || line.starts_with("unused") {
            continue;
        }
        let below: Vec<&str> =
            lines[at + 1..].iter().take_while(|line| line.starts_with(' ')).copied().collect();
        found.push(
            array(line, &below).ok_or_else(|| content("mdstat", format_args!("cannot read {line:?}")))?,
        );
    }
    Ok(found)
}

fn array<'a>(line: &'a str, below: &[&'a str]) -> Option<Array<'a>> {
    let mut words = line.split_whitespace();
    let (name, state) = (words.next()?, words.nth(1)?);
    let counted = |mark: &str| line.matches(mark).count() as f64;
    let blocks: f64 = below.first()?.split_whitespace().next()?.parse().ok()?;
    let (required, active) = if line.contains("raid0") || line.contains("linear") {
        (counted("["), counted("["))
    } else if state == "inactive" {
        (0.0, 0.0)
    } else {
        // "… [2/1] [U_]"
        let pair = below[0].split_whitespace().find(|word| word.starts_with('[') && word.contains('/'))?;
        let (required, active) = pair.trim_matches(['[', ']']).split_once('/')?;
        (required.parse().ok()?, active.parse().ok()?)
    };
    let sync = below.iter().skip(1).find(|line| !line.contains("bitmap")).copied().unwrap_or_default();
    let doing = STATES.iter().skip(2).find(|(_, word)| sync.contains(word)).map(|(state, _)| *state);
    let doing = if sync.contains("reshape") { Some("reshaping") } else { doing };
    let synced = match doing {
        None => blocks,
        Some(_) if sync.contains("PENDING") || sync.contains("DELAYED") => 0.0,
        // "… (1123/5678) finish=…"
        Some(_) => sync.split_once('(')?.1.split_once('/')?.0.parse().ok()?,
    };
    let (failed, spare) = (counted("(F)"), counted("(S)"));
    Some(Array { name, state: doing.unwrap_or(state), required, active, failed, spare, blocks, synced })
}

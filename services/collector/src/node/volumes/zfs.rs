//! ZFS: the kernel module's counters, and each pool's I/O, datasets and state.

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Files, Inputs, SourceError, content, proc};

/// Where ZFS has its files, below /proc.
const ROOT: &str = "spl/kstat/zfs/";

/// What zfs reads.
pub const KSTATS: &[Files] = &[proc(&[
    "spl/kstat/zfs/abdstats",
    "spl/kstat/zfs/arcstats",
    "spl/kstat/zfs/dbufstats",
    "spl/kstat/zfs/dmu_tx",
    "spl/kstat/zfs/dnodestats",
    "spl/kstat/zfs/fm",
    "spl/kstat/zfs/vdev_cache_stats",
    "spl/kstat/zfs/vdev_mirror_stats",
    "spl/kstat/zfs/xuio_stats",
    "spl/kstat/zfs/zfetchstats",
    "spl/kstat/zfs/zil",
    "spl/kstat/zfs/*/io",
    "spl/kstat/zfs/*/objset-*",
    "spl/kstat/zfs/*/state",
])];

/// Start of the metrics' names, file.
const SUBSYSTEMS: [(&str, &str); 11] = [
    ("zfs_abd", "abdstats"),
    ("zfs_arc", "arcstats"),
    ("zfs_dbuf", "dbufstats"),
    ("zfs_dmu_tx", "dmu_tx"),
    ("zfs_dnode", "dnodestats"),
    ("zfs_fm", "fm"),
    ("zfs_vdev_cache", "vdev_cache_stats"),
    ("zfs_vdev_mirror", "vdev_mirror_stats"),
    ("zfs_xuio", "xuio_stats"),
    ("zfs_zfetch", "zfetchstats"),
    ("zfs_zil", "zil"),
];

/// Kinds of numbers in a kstat's second column (lib/libspl/include/sys/kstat.h).
const INT64: &str = "3";
const UINT64: &str = "4";

/// States of a pool.
const STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

/// `node_zfs_*`.
///
/// # Errors
/// Absent without ZFS; an error when a file is not as expected.
pub fn zfs(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for (subsystem, file) in SUBSYSTEMS {
        let path = format!("{ROOT}{file}");
        let Some(text) = inputs.files.get(&path) else { continue };
        for (name, kind, value) in rows(text).ok_or_else(|| content(&path, "has no table"))? {
            // A number that is not signed is read as such first, as its upper half would be lost.
            let value = match kind {
                UINT64 => value.parse::<u64>().map(|value| value as f64),
                INT64 => value.parse::<i64>().map(|value| value as f64),
                _ => continue,
            };
            let value = value.map_err(|_| content(&path, format_args!("{name} has no number")))?;
            let name = format!("node_{subsystem}_{}", metric(name));
            families.add(name, Kind::Unknown, "Counter of the ZFS module.", Vec::new(), value);
        }
    }
    for (path, text) in inputs.files.below(ROOT) {
        match path.split_once('/') {
            Some((pool, "io")) => io(&mut families, pool, text)?,
            Some((pool, "state")) => {
                let now = text.lines().next().unwrap_or_default().to_lowercase();
                for state in STATES {
                    let labels = vec![label("state", state), label("zpool", pool)];
                    let is_now = f64::from(u8::from(now == state));
                    families.gauge("node_zfs_zpool_state", "State of a ZFS pool.", labels, is_now);
                }
            }
            Some((pool, _)) => dataset(&mut families, pool, text)?,
            None => {}
        }
    }
    families.or_absent("ZFS")
}

/// Name, kind and value of each line below the heading `name type data`.
fn rows(text: &str) -> Option<impl Iterator<Item = (&str, &str, &str)>> {
    let mut lines = text.lines();
    lines.find(|line| line.split_whitespace().eq(["name", "type", "data"]))?;
    Some(lines.filter_map(|line| {
        let (name, rest) = line.trim_start().split_once(char::is_whitespace)?;
        // What comes last is a dataset's name, which may have spaces.
        let (kind, value) = rest.trim_start().split_once(char::is_whitespace)?;
        Some((name, kind, value.trim())).filter(|(.., value)| !value.is_empty())
    }))
}

/// A line of names, and one of numbers below it.
fn io(families: &mut Families, pool: &str, text: &str) -> Result<(), SourceError> {
    let mut lines = text.lines().skip_while(|line| line.split_whitespace().next() != Some("nread"));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else { return Ok(()) };
    for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
        let number: u64 = number
            .parse()
            .map_err(|_| content(ROOT, format_args!("io of pool {pool}: {name} has no number")))?;
        let help = "I/O of a ZFS pool.";
        let name = format!("node_zfs_zpool_{}", metric(name));
        families.add(name, Kind::Unknown, help, vec![label("zpool", pool)], number as f64);
    }
    Ok(())
}

fn dataset(families: &mut Families, pool: &str, text: &str) -> Result<(), SourceError> {
    let rows =
        || rows(text).ok_or_else(|| content(ROOT, format_args!("a dataset of pool {pool} has no table")));
    let name = rows()?.find(|(name, ..)| *name == "dataset_name").map(|(.., value)| value);
    let labels = || vec![label("dataset", name.unwrap_or_default()), label("zpool", pool)];
    for (name, kind, value) in rows()?.filter(|(name, ..)| *name != "dataset_name") {
        if kind != UINT64 {
            continue;
        }
        let value: u64 =
            value.parse().map_err(|_| content(ROOT, format_args!("{name} of pool {pool} has no number")))?;
        let name = format!("node_zfs_zpool_dataset_{}", metric(name));
        families.add(name, Kind::Unknown, "Counter of a ZFS dataset.", labels(), value as f64);
    }
    Ok(())
}

/// What is behind the last point of a name, as a metric's.
fn metric(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().replace('-', "_")
}

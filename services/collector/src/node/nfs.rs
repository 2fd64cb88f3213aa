//! NFS, both sides: calls by version and operation, packets, and what the server's caches did.

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Files, Inputs, SourceError, content, proc};

/// What nfs reads.
pub const CLIENT: &[Files] = &[proc(&["net/rpc/nfs"])];

/// What nfsd reads.
pub const SERVER: &[Files] = &[proc(&["net/rpc/nfsd"])];

/// Operations that are not shown of the server: they count nothing of interest or are not used.
const NOT_SHOWN: [&str; 6] = ["Null", "Op0Unused", "Op1Unused", "Op2Future", "PutPubFH", "PutRootFH"];

/// Operations of version 2 in the order of a `proc2` line.
const V2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create",
    "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];

/// Those of version 3, `proc3`.
const V3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];

/// What a client asks by version 4, `proc4`. Older kernels have fewer.
const V4_CLIENT: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

/// What a server does by version 4, `proc4ops`. Before 2.6 nfs-utils the last is missing.
const V4_SERVER: [&str; 40] = [
    "Op0Unused",
    "Op1Unused",
    "Op2Future",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "PutPubFH",
    "PutRootFH",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "SetClientID",
    "SetClientIDConfirm",
    "Verify",
    "Write",
    "RelLockOwner",
];

/// A line of the server's file, place in it, metric, a label, help, kind.
type Metric = (&'static str, usize, &'static str, Option<(&'static str, &'static str)>, &'static str, Kind);

const fn count(
    line: &'static str,
    place: usize,
    name: &'static str,
    of: Option<(&'static str, &'static str)>,
    help: &'static str,
) -> Metric {
    (line, place, name, of, help, Kind::Counter)
}

const PACKETS: &str = "Total NFSd network packets (sent+received) by protocol type.";

const OF_CLIENT: [Metric; 6] = [
    count("net", 1, "node_nfs_packets_total", Some(("protocol", "udp")), PACKETS),
    count("net", 2, "node_nfs_packets_total", Some(("protocol", "tcp")), PACKETS),
    count("net", 3, "node_nfs_connections_total", None, "Total number of NFSd TCP connections."),
    count("rpc", 0, "node_nfs_rpcs_total", None, "Total number of RPCs performed."),
    count("rpc", 1, "node_nfs_rpc_retransmissions_total", None, "Number of RPC transmissions performed."),
    count(
        "rpc",
        2,
        "node_nfs_rpc_authentication_refreshes_total",
        None,
        "Number of RPC authentication refreshes performed.",
    ),
];

const ERRORS: &str = "Total number of NFSd RPC errors by error type.";

const OF_SERVER: [Metric; 16] = [
    count(
        "rc",
        0,
        "node_nfsd_reply_cache_hits_total",
        None,
        "Total number of NFSd Reply Cache hits (client lost server response).",
    ),
    count(
        "rc",
        1,
        "node_nfsd_reply_cache_misses_total",
        None,
        "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
    ),
    count(
        "rc",
        2,
        "node_nfsd_reply_cache_nocache_total",
        None,
        "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
    ),
    count("fh", 0, "node_nfsd_file_handles_stale_total", None, "Total number of NFSd stale file handles"),
    count("io", 0, "node_nfsd_disk_bytes_read_total", None, "Total NFSd bytes read."),
    count("io", 1, "node_nfsd_disk_bytes_written_total", None, "Total NFSd bytes written."),
    (
        "th",
        0,
        "node_nfsd_server_threads",
        None,
        "Total number of NFSd kernel threads that are running.",
        Kind::Gauge,
    ),
    (
        "ra",
        0,
        "node_nfsd_read_ahead_cache_size_blocks",
        None,
        "How large the read ahead cache is in blocks.",
        Kind::Gauge,
    ),
    count(
        "ra",
        11,
        "node_nfsd_read_ahead_cache_not_found_total",
        None,
        "Total number of NFSd read ahead cache not found.",
    ),
    count("net", 1, "node_nfsd_packets_total", Some(("proto", "udp")), PACKETS),
    count("net", 2, "node_nfsd_packets_total", Some(("proto", "tcp")), PACKETS),
    count("net", 3, "node_nfsd_connections_total", None, "Total number of NFSd TCP connections."),
    count("rpc", 2, "node_nfsd_rpc_errors_total", Some(("error", "fmt")), ERRORS),
    count("rpc", 3, "node_nfsd_rpc_errors_total", Some(("error", "auth")), ERRORS),
    count("rpc", 4, "node_nfsd_rpc_errors_total", Some(("error", "cInt")), ERRORS),
    count("rpc", 0, "node_nfsd_server_rpcs_total", None, "Total number of NFSd RPCs."),
];

/// `node_nfs_*`: this machine as a client.
///
/// # Errors
/// Absent without NFS; an error when a line is not as expected.
pub fn nfs(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let path = CLIENT[0].names[0];
    let lines = lines(path, inputs.file(path).map_err(|_| SourceError::Absent("an NFS client"))?)?;
    let mut families = Families::default();
    add(&mut families, &lines, &OF_CLIENT);
    for (line, proto, operations) in
        [("proc2", "2", V2.as_slice()), ("proc3", "3", V3.as_slice()), ("proc4", "4", V4_CLIENT.as_slice())]
    {
        for (method, calls) in called(&lines, line, operations) {
            let labels = vec![label("method", method), label("proto", proto)];
            let help = "Number of NFS procedures invoked.";
            families.counter("node_nfs_requests_total", help, labels, calls);
        }
    }
    Ok(families.done())
}

/// `node_nfsd_*`: this machine as a server.
///
/// # Errors
/// Absent without NFS' server; an error when a line is not as expected.
pub fn nfsd(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let path = SERVER[0].names[0];
    let lines = lines(path, inputs.file(path).map_err(|_| SourceError::Absent("an NFS server"))?)?;
    let mut families = Families::default();
    add(&mut families, &lines, &OF_SERVER);
    let mut request = |proto: &str, method: &str, calls: f64| {
        let labels = vec![label("method", method), label("proto", proto)];
        let help = "Total number NFSd Requests by method and protocol.";
        families.counter("node_nfsd_requests_total", help, labels, calls);
    };
    for (line, proto, operations) in [
        ("proc2", "2", V2.as_slice()),
        ("proc3", "3", V3.as_slice()),
        ("proc4ops", "4", V4_SERVER.as_slice()),
    ] {
        for (method, calls) in
            called(&lines, line, operations).filter(|(method, _)| !NOT_SHOWN.contains(method))
        {
            request(proto, method, calls);
        }
    }
    request("4", "WdelegGetattr", number(&lines, "wdeleg_getattr", 0));
    Ok(families.done())
}

type Lines<'a> = Vec<(&'a str, Vec<f64>)>;

/// Each line's first word and its numbers, up to one that is none (the last ones of `th` have points in old kernels).
fn lines<'a>(path: &str, text: &'a str) -> Result<Lines<'a>, SourceError> {
    let one = |line: &'a str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let numbers: Vec<f64> = words.map_while(|word| word.parse::<u64>().ok()).map(|n| n as f64).collect();
        (!numbers.is_empty()).then_some((name, numbers))
    };
    text.lines()
        .map(|line| one(line).ok_or_else(|| content(path, format_args!("{line:?} has no number"))))
        .collect()
}

/// A number of a line; 0 where the kernel does not have it.
fn number(lines: &Lines, line: &str, place: usize) -> f64 {
    let found = lines.iter().find(|(name, _)| *name == line);
    found.and_then(|(_, numbers)| numbers.get(place)).copied().unwrap_or_default()
}

fn add(families: &mut Families, lines: &Lines, metrics: &[Metric]) {
    for (line, place, name, of, help, kind) in metrics {
        let labels = of.iter().map(|(name, value)| label(name, value)).collect();
        families.add(*name, *kind, help, labels, number(lines, line, *place));
    }
}

/// Operations with their calls: the line's first number says how many follow.
fn called<'a>(lines: &Lines, line: &str, operations: &'a [&'a str]) -> impl Iterator<Item = (&'a str, f64)> {
    operations.iter().enumerate().map(move |(place, name)| (*name, number(lines, line, place + 1)))
}

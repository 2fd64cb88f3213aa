//! The kernel's network stack: SNMP counters, packets by CPU, UDP's queues, connection tracking.

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Files, Inputs, SourceError, content, proc};

/// What netstat reads.
pub const NETSTAT: &[Files] = &[proc(&["net/netstat", "net/snmp", "net/snmp6"])];

/// `node_netstat_<protocol>_<field>` for the fields of node_exporter's default. snmp6 is not there without IPv6.
///
/// # Errors
/// When a file is missing or its lines of names and numbers do not match.
pub fn netstat(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    let mut add = |protocol: &str, field: &str, value: &str, path: &str| {
        if !chosen(protocol, field) {
            return Ok(());
        }
        let value: f64 =
            value.parse().map_err(|_| content(path, format_args!("{protocol}{field} has no number")))?;
        let name = format!("node_netstat_{protocol}_{field}");
        families.add(name, Kind::Unknown, "Statistic of the network stack.", Vec::new(), value);
        Ok(())
    };
    for path in ["net/netstat", "net/snmp"] {
        let mut lines = inputs.file(path)?.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (mut names, mut values) = (names.split(' '), values.split(' '));
            let protocol = names.next().unwrap_or_default();
            if values.next() != Some(protocol) {
                return Err(content(path, format_args!("{protocol:?} has no line of numbers")));
            }
            for (field, value) in names.zip(values) {
                add(protocol.trim_end_matches(':'), field, value, path)?;
            }
        }
    }
    for line in inputs.files.get_or_empty("net/snmp6").lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        if let Some(at) = name.find('6') {
            add(&name[..=at], &name[at + 1..], value, "net/snmp6")?;
        }
    }
    Ok(families.done())
}

/// node_exporter's `--collector.netstat.fields` (1.11).
fn chosen(protocol: &str, field: &str) -> bool {
    match (protocol, field) {
        (_, "InErrors" | "InErrs") | ("Ip", "Forwarding") => true,
        ("Ip6" | "IpExt", "InOctets" | "OutOctets") | ("Icmp" | "Icmp6", "InMsgs" | "OutMsgs") => true,
        ("TcpExt", "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue" | "TCPRcvQDrop") => true,
        ("TcpExt", _) => field.starts_with("Listen") || field.starts_with("Syncookies"),
        (
            "Tcp",
            "ActiveOpens" | "InSegs" | "OutSegs" | "OutRsts" | "PassiveOpens" | "RetransSegs" | "CurrEstab",
        ) => true,
        ("Udp" | "Udp6", "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors") => {
            true
        }
        _ => false,
    }
}

/// What softnet reads.
pub const SOFTNET: &[Files] = &[proc(&["net/softnet_stat"])];

/// Metric, help, column of /proc/net/softnet_stat (net/core/net-procfs.c), kind.
const SOFTNET_COLUMNS: [(&str, &str, usize, Kind); 7] = [
    ("node_softnet_backlog_len", "Softnet backlog status", 11, Kind::Gauge),
    (
        "node_softnet_cpu_collision_total",
        "Number of collision occur while obtaining device lock while transmitting",
        8,
        Kind::Counter,
    ),
    ("node_softnet_dropped_total", "Number of dropped packets", 1, Kind::Counter),
    ("node_softnet_flow_limit_count_total", "Number of times flow limit has been reached", 10, Kind::Counter),
    ("node_softnet_processed_total", "Number of processed packets", 0, Kind::Counter),
    ("node_softnet_received_rps_total", "Number of times cpu woken up received_rps", 9, Kind::Counter),
    (
        "node_softnet_times_squeezed_total",
        "Number of times processing packets ran out of quota",
        2,
        Kind::Counter,
    ),
];

/// The column with the CPU's number; kernels before 5.10 have a line for each CPU in order instead.
const SOFTNET_CPU: usize = 12;

/// `node_softnet_*` for every CPU.
///
/// # Errors
/// When the file is missing or not of hexadecimal numbers.
pub fn softnet(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families: Vec<Family> =
        SOFTNET_COLUMNS.iter().map(|(name, help, _, kind)| Family::new(*name, *kind, help)).collect();
    for (line, text) in inputs.file("net/softnet_stat")?.lines().enumerate() {
        let columns = text.split_whitespace().map(|word| u32::from_str_radix(word, 16));
        let columns: Vec<u32> = columns
            .collect::<Result<_, _>>()
            .map_err(|error| content("net/softnet_stat", format_args!("{text:?}: {error}")))?;
        let cpu = columns.get(SOFTNET_CPU).map_or(line, |cpu| *cpu as usize).to_string();
        for (family, (_, _, column, _)) in families.iter_mut().zip(SOFTNET_COLUMNS) {
            let value = columns.get(column).copied().unwrap_or_default();
            family.push(vec![label("cpu", &cpu)], f64::from(value));
        }
    }
    Ok(families)
}

/// What udp_queues reads.
pub const UDP: &[Files] = &[proc(&["net/udp", "net/udp6"])];

/// `node_udp_queues`: bytes that wait in all UDP sockets.
///
/// # Errors
/// When neither file is there.
pub fn udp_queues(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let help = "Number of allocated memory in the kernel for UDP datagrams in bytes.";
    let mut family = Family::new("node_udp_queues", Kind::Gauge, help);
    for (path, ip) in [("net/udp", "v4"), ("net/udp6", "v6")] {
        let Some(text) = inputs.files.get(path) else { continue };
        let (mut sending, mut received) = (0.0, 0.0);
        for line in text.lines().skip(1) {
            let Some((tx, rx)) = line.split_whitespace().nth(4).and_then(|queues| queues.split_once(':'))
            else {
                continue;
            };
            let bytes = |text| u64::from_str_radix(text, 16).unwrap_or_default() as f64;
            sending += bytes(tx);
            received += bytes(rx);
        }
        family.push(vec![label("ip", ip), label("queue", "rx")], received);
        family.push(vec![label("ip", ip), label("queue", "tx")], sending);
    }
    if family.rows.is_empty() { Err(SourceError::Absent("/proc/net/udp")) } else { Ok(vec![family]) }
}

/// What conntrack reads.
pub const CONNTRACK: &[Files] = &[proc(&[
    "sys/net/netfilter/nf_conntrack_count",
    "sys/net/netfilter/nf_conntrack_max",
    "net/stat/nf_conntrack",
])];

/// Column of /proc/net/stat/nf_conntrack, metric, help.
const CONNTRACK_COLUMNS: [(&str, &str, &str); 8] = [
    ("drop", "node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure."),
    (
        "early_drop",
        "node_nf_conntrack_stat_early_drop",
        "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
    ),
    ("found", "node_nf_conntrack_stat_found", "Number of searched entries which were successful."),
    (
        "ignore",
        "node_nf_conntrack_stat_ignore",
        "Number of packets seen which are already connected to a conntrack entry.",
    ),
    ("insert", "node_nf_conntrack_stat_insert", "Number of entries inserted into the list."),
    (
        "insert_failed",
        "node_nf_conntrack_stat_insert_failed",
        "Number of entries for which list insertion was attempted but failed.",
    ),
    ("invalid", "node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked."),
    (
        "search_restart",
        "node_nf_conntrack_stat_search_restart",
        "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
    ),
];

/// `node_nf_conntrack_*`, summed over the CPUs.
///
/// # Errors
/// Absent without connection tracking; an error when a file is not as expected.
pub fn conntrack(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let (count, statistics) =
        (inputs.files.get("sys/net/netfilter/nf_conntrack_count"), inputs.files.get("net/stat/nf_conntrack"));
    if count.is_none() && statistics.is_none() {
        return Err(SourceError::Absent("connection tracking"));
    }
    let mut lines = statistics.unwrap_or_default().lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let entries = match count {
        Some(_) => inputs.number("sys/net/netfilter/nf_conntrack_count")?,
        // The same number stands first in each CPU's line, there of the machine's network.
        None => rows
            .first()
            .and_then(|row| u64::from_str_radix(row.first()?, 16).ok())
            .ok_or_else(|| content("net/stat/nf_conntrack", "has no line of a CPU"))? as f64,
    };
    let limit = inputs.number("sys/net/netfilter/nf_conntrack_max")?;
    let help = "Number of currently allocated flow entries for connection tracking.";
    let mut families = vec![
        Family::gauge("node_nf_conntrack_entries", help, entries),
        Family::gauge("node_nf_conntrack_entries_limit", "Maximum size of connection tracking table.", limit),
    ];
    // A kernel may keep none.
    for (column, name, help) in CONNTRACK_COLUMNS.into_iter().filter(|_| statistics.is_some()) {
        let place = names.iter().position(|found| *found == column);
        let of = |row: &Vec<&str>| {
            place.and_then(|at| row.get(at)).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
        };
        families.push(Family::gauge(name, help, rows.iter().map(of).sum::<u64>() as f64));
    }
    Ok(families)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_another_network_are_counted_by_its_statistics() {
        let statistics = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop\n\
                          00000021  00000000 0000000a 00000000 00000003 00000000 00000000 00000000 00000000 00000000 0000000f\n\
                          00000021  00000000 00000001 00000000 00000002 00000000 00000000 00000000 00000000 00000000 00000000\n";
        let said = |files: &[(&str, &str)]| {
            let mut inputs = Inputs::default();
            files.iter().for_each(|(path, text)| inputs.files.insert(path, text));
            conntrack(&inputs)
        };
        let limit = ("sys/net/netfilter/nf_conntrack_max", "65536\n");
        let value = |families: &[Family], name: &str| {
            families.iter().find(|family| family.name == name).map(|family| family.rows[0].value)
        };
        let apart = said(&[limit, ("net/stat/nf_conntrack", statistics)]).unwrap();
        assert_eq!(value(&apart, "node_nf_conntrack_entries"), Some(33.0));
        assert_eq!(value(&apart, "node_nf_conntrack_stat_found"), Some(11.0));
        let without = said(&[limit, ("sys/net/netfilter/nf_conntrack_count", "7\n")]).unwrap();
        assert_eq!((value(&without, "node_nf_conntrack_entries"), without.len()), (Some(7.0), 2));
        assert!(matches!(said(&[limit]), Err(SourceError::Absent(_))));
    }
}

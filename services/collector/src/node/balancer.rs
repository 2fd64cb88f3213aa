//! IPVS: the kernel's load balancer, in all and by server behind it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::family::{Families, Family, Label, label};
use crate::inputs::{Files, Inputs, SourceError, content, proc};

/// What ipvs reads.
pub const IPVS: &[Files] = &[proc(&["net/ip_vs", "net/ip_vs_stats"])];

/// Servers that are shown at most: what is here is a line each, without a bound of the kernel's.
const SERVERS_MAX: usize = 2000;

const TOTALS: [(&str, &str); 5] = [
    ("node_ipvs_connections_total", "The total number of connections made."),
    ("node_ipvs_incoming_packets_total", "The total number of incoming packets."),
    ("node_ipvs_outgoing_packets_total", "The total number of outgoing packets."),
    ("node_ipvs_incoming_bytes_total", "The total amount of incoming data."),
    ("node_ipvs_outgoing_bytes_total", "The total amount of outgoing data."),
];

/// Metric, column of a server's line, help.
const OF_SERVER: [(&str, usize, &str); 3] = [
    (
        "node_ipvs_backend_connections_active",
        4,
        "The current active connections by local and remote address.",
    ),
    (
        "node_ipvs_backend_connections_inactive",
        5,
        "The current inactive connections by local and remote address.",
    ),
    ("node_ipvs_backend_weight", 3, "The current backend weight by local and remote address."),
];

/// `node_ipvs_*`.
///
/// # Errors
/// Absent without IPVS; an error when a file is not as expected.
pub fn ipvs(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let stats = inputs.file("net/ip_vs_stats").map_err(|_| SourceError::Absent("IPVS"))?;
    let mut families = Families::default();
    let totals = stats.lines().nth(2).unwrap_or_default().split_whitespace();
    let totals: Vec<u64> = totals.filter_map(|word| u64::from_str_radix(word, 16).ok()).collect();
    if totals.len() != TOTALS.len() {
        return Err(content("net/ip_vs_stats", "its third line is not of five hexadecimal numbers"));
    }
    for ((name, help), total) in TOTALS.into_iter().zip(totals) {
        families.counter(name, help, Vec::new(), total as f64);
    }
    for (labels, values) in servers(inputs.file("net/ip_vs")?)?.into_iter().take(SERVERS_MAX) {
        for ((name, _, help), value) in OF_SERVER.into_iter().zip(values) {
            families.gauge(name, help, labels.clone(), value);
        }
    }
    Ok(families.done())
}

/// What is known of each server; those with the same labels are added up.
fn servers(text: &str) -> Result<BTreeMap<Vec<Label>, [f64; 3]>, SourceError> {
    let mut found: BTreeMap<Vec<Label>, [f64; 3]> = BTreeMap::new();
    let mut service = Vec::new();
    let wrong = |line: &str| content("net/ip_vs", format_args!("cannot read {line:?}"));
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [proto @ ("TCP" | "UDP"), place, ..] => {
                let (address, port) = address(place).ok_or_else(|| wrong(line))?;
                service = vec![("local_address", address), ("local_port", port), label("proto", proto)];
            }
            ["FWM", mark, ..] => {
                service = vec![label("local_mark", mark), label("local_port", "0"), label("proto", "FWM")];
            }
            ["->", "RemoteAddress:Port", ..] => {}
            ["->", place, _, _, _, _, ..] => {
                let (address, port) = address(place).ok_or_else(|| wrong(line))?;
                let mut labels = service.clone();
                labels.extend([("remote_address", address), ("remote_port", port)]);
                let values = found.entry(labels).or_default();
                for (sum, (_, column, _)) in values.iter_mut().zip(OF_SERVER) {
                    *sum += words[column].parse::<u64>().map_err(|_| wrong(line))? as f64;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// `C0A80016:0CEA` and `[2620:0000:0000:0000:0000:0000:0000:0002]:0050`.
fn address(text: &str) -> Option<(String, String)> {
    let (address, port) = text.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?.to_string();
    let address = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(six) => six.parse::<Ipv6Addr>().ok()?.to_string(),
        None => Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?).to_string(),
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_one_service_are_told_apart_and_those_of_a_mark_have_no_address() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n\
                    \u{20} -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                    TCP  C0A80016:0CEA wlc\n  -> C0A85216:0CEA      Tunnel  100    248        2\n\
                    FWM  10001000 wlc\n  -> C0A83215:0CEA      Tunnel  20     64         1\n\
                    TCP  [2620:0000:0000:0000:0000:0000:0000:0001]:0050 sh\n\
                    \u{20} -> [2620:0000:0000:0000:0000:0000:0000:0002]:0050      Route   1      0          0\n";
        let found = servers(text).unwrap();
        let said: Vec<String> = found
            .iter()
            .map(|(labels, values)| {
                let labels: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
                format!("{} {values:?}", labels.join(","))
            })
            .collect();
        assert_eq!(
            said,
            [
                "192.168.0.22,3306,TCP,192.168.82.22,3306 [248.0, 2.0, 100.0]",
                "2620::1,80,TCP,2620::2,80 [0.0, 0.0, 1.0]",
                "10001000,0,FWM,192.168.50.21,3306 [64.0, 1.0, 20.0]",
            ]
        );
        assert!(servers("TCP x wlc\n").is_err() && servers("-> C0A83215:0CEA T 1 2 x\n").is_err());
    }
}

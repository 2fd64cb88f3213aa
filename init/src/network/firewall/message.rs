//! The rules as nf_tables' messages (linux/netfilter/nf_tables.h, nfnetlink.h): one batch, which the kernel does
//! whole or not at all. Numbers inside attributes are big-endian, lengths and types are the machine's own.

use std::net::IpAddr;

use vakt_wire::config::Cidr;

use super::rules::{Match, Rule};

/// The table and its chains.
const TABLE: &str = "vakt";
const INPUT: &str = "input";
const FORWARD: &str = "forward";

/// NFPROTO_INET: IPv4 and IPv6 alike.
const INET: u8 = 1;

/// nfnetlink's message types: a batch's begin and end, and nf_tables' own in the high byte's subsystem.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NF_TABLES: u16 = 10;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;

/// Flags of a netlink message.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// An attribute with attributes in it.
const NESTED: u16 = 0x8000;

/// NLMSG_ERROR, which is an acknowledgement when its code is 0.
const ERROR: u16 = 2;

/// Netfilter's hooks and verdicts.
const LOCAL_IN: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// Where a payload expression counts from.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// Keys of `meta`: the link, the family, the protocol above IP.
const META_IIF: u32 = 4;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;

/// States of a connection: established, related (NF_CT_STATE_BIT).
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;

/// The one register that is used, of 16 bytes, and the one that a verdict goes to.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;

/// Comparisons.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

/// Messages for the kernel, and how many acknowledgements are to be waited for.
#[derive(Debug)]
pub struct Batch {
    /// All messages, one after the other.
    pub bytes: Vec<u8>,
    /// One a message between begin and end.
    pub acknowledgements: usize,
}

/// The batch that puts `rules` in the place of whatever the table held.
pub fn batch(rules: &[Rule]) -> Batch {
    let mut batch = Batch { bytes: Vec::new(), acknowledgements: 0 };
    let table = string(1, TABLE);
    batch.frame(BATCH_BEGIN, 0, 0, NF_TABLES.to_be_bytes(), &[]);
    // Made, removed, made: removing what is not there would be an error.
    batch.ask(NEW_TABLE, CREATE, &table);
    batch.ask(DELETE_TABLE, 0, &table);
    batch.ask(NEW_TABLE, CREATE, &table);
    for (name, hook) in [(INPUT, LOCAL_IN), (FORWARD, HOOK_FORWARD)] {
        let hook = nested(4, &[number(1, hook), number(2, 0)].concat());
        let parts = [table.clone(), string(3, name), hook, number(5, DROP), string(7, "filter")];
        batch.ask(NEW_CHAIN, CREATE, &parts.concat());
    }
    for rule in rules {
        let mut expressions: Vec<u8> = rule.iter().flat_map(expressions_of).collect();
        expressions.extend(accept());
        let parts = [table.clone(), string(2, INPUT), nested(4, &expressions)];
        batch.ask(NEW_RULE, CREATE | APPEND, &parts.concat());
    }
    batch.frame(BATCH_END, 0, 0, NF_TABLES.to_be_bytes(), &[]);
    batch
}

impl Batch {
    fn ask(&mut self, kind: u16, flags: u16, attributes: &[u8]) {
        self.frame(NF_TABLES << 8 | kind, flags | ACKNOWLEDGE, INET, [0, 0], attributes);
        self.acknowledgements += 1;
    }

    /// nlmsghdr, nfgenmsg, attributes.
    fn frame(&mut self, kind: u16, flags: u16, family: u8, resource: [u8; 2], attributes: &[u8]) {
        let length = 20 + attributes.len() as u32;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend((self.acknowledgements as u32).to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0, resource[0], resource[1]]);
        self.bytes.extend(attributes);
    }
}

/// How many acknowledgements are in a datagram of the kernel's.
///
/// # Errors
/// For the first refusal, with the kernel's reason.
pub fn acknowledged(bytes: &[u8]) -> std::io::Result<usize> {
    let (mut count, mut rest) = (0, bytes);
    while rest.len() >= 20 {
        let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let code = i32::from_ne_bytes([rest[16], rest[17], rest[18], rest[19]]);
        if u16::from_ne_bytes([rest[4], rest[5]]) == ERROR {
            if code != 0 {
                return Err(std::io::Error::from_raw_os_error(-code));
            }
            count += 1;
        }
        rest = &rest[length.next_multiple_of(4).clamp(20, rest.len())..];
    }
    Ok(count)
}

/// The expressions that a packet passes only when it is like `wanted`.
fn expressions_of(wanted: &Match) -> Vec<u8> {
    match wanted {
        Match::Known => {
            let load = expression("ct", &[number(1, REGISTER), number(2, 0)]);
            // The kernel keeps the state in its own byte order.
            let mask = masked(&ESTABLISHED_OR_RELATED.to_ne_bytes());
            [load, mask, compare(NOT_EQUAL, &[0; 4])].concat()
        }
        Match::From(link) => [meta(META_IIF), compare(EQUAL, &link.to_ne_bytes())].concat(),
        Match::Ipv4(true) => [meta(META_NFPROTO), compare(EQUAL, &[libc::NFPROTO_IPV4 as u8])].concat(),
        Match::Ipv4(false) => [meta(META_NFPROTO), compare(EQUAL, &[libc::NFPROTO_IPV6 as u8])].concat(),
        Match::Protocol(number) => [meta(META_L4PROTO), compare(EQUAL, &[*number])].concat(),
        Match::IcmpType(kind) => [payload(TRANSPORT_HEADER, 0, 1), compare(EQUAL, &[*kind])].concat(),
        Match::SourcePort(port) => {
            [payload(TRANSPORT_HEADER, 0, 2), compare(EQUAL, &port.to_be_bytes())].concat()
        }
        Match::Port(port) => [payload(TRANSPORT_HEADER, 2, 2), compare(EQUAL, &port.to_be_bytes())].concat(),
        Match::Source(network) => source(network),
    }
}

/// The sender's address, masked, against the network's.
fn source(network: &Cidr) -> Vec<u8> {
    let (offset, bytes) = match network.address {
        IpAddr::V4(address) => (12, address.octets().to_vec()),
        IpAddr::V6(address) => (8, address.octets().to_vec()),
    };
    let mask: Vec<u8> = (0..bytes.len())
        .map(|at| {
            let bits = usize::from(network.prefix).saturating_sub(at * 8).min(8);
            (0xFF00u16 >> bits) as u8
        })
        .collect();
    let wanted: Vec<u8> = bytes.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
    let load = payload(NETWORK_HEADER, offset, bytes.len() as u32);
    [load, masked(&mask), compare(EQUAL, &wanted)].concat()
}

fn meta(key: u32) -> Vec<u8> {
    expression("meta", &[number(1, REGISTER), number(2, key)])
}

fn payload(base: u32, offset: u32, length: u32) -> Vec<u8> {
    expression("payload", &[number(1, REGISTER), number(2, base), number(3, offset), number(4, length)])
}

fn masked(mask: &[u8]) -> Vec<u8> {
    let zero = vec![0; mask.len()];
    expression(
        "bitwise",
        &[
            number(1, REGISTER),
            number(2, REGISTER),
            number(3, mask.len() as u32),
            value(4, mask),
            value(5, &zero),
        ],
    )
}

fn compare(how: u32, bytes: &[u8]) -> Vec<u8> {
    expression("cmp", &[number(1, REGISTER), number(2, how), value(3, bytes)])
}

fn accept() -> Vec<u8> {
    let verdict = nested(2, &nested(2, &number(1, ACCEPT)));
    expression("immediate", &[number(1, VERDICT), verdict])
}

/// One element of a rule's list.
fn expression(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    nested(1, &[string(1, name), nested(2, &parts.concat())].concat())
}

/// Bytes to compare or mask with.
fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
    nested(kind, &attribute(1, bytes))
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn string(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

fn nested(kind: u16, attributes: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, attributes)
}

/// Length, type, bytes, and zeroes up to the next multiple of four.
fn attribute(kind: u16, bytes: &[u8]) -> Vec<u8> {
    let length = 4 + bytes.len();
    let mut all = Vec::with_capacity(length.next_multiple_of(4));
    all.extend((length as u16).to_ne_bytes());
    all.extend(kind.to_ne_bytes());
    all.extend(bytes);
    all.resize(length.next_multiple_of(4), 0);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_say_their_own_length() {
        assert_eq!(string(1, "vakt"), [9, 0, 1, 0, b'v', b'a', b'k', b't', 0, 0, 0, 0]);
        assert_eq!(number(5, 0x0102), [8, 0, 5, 0, 0, 0, 1, 2]);
        assert_eq!(nested(4, &number(1, 1))[..4], [12, 0, 4, 0x80]);
    }

    #[test]
    fn a_network_is_compared_by_its_own_bits_only() {
        let network = |text: &str| source(&Cidr::try_from(text.to_owned()).unwrap());
        let ends = |bytes: &[u8], with: &[u8]| bytes.ends_with(with);
        assert!(ends(&network("10.1.2.3/12"), &[10, 0, 0, 0]));
        assert!(ends(&network("10.1.2.3/32"), &[10, 1, 2, 3]));
        assert!(ends(&network("10.1.2.3/0"), &[0, 0, 0, 0]));
        assert!(network("10.1.2.3/12").windows(4).any(|window| window == [255, 240, 0, 0]));
        assert!(network("2001:db8::7/33").windows(5).any(|window| window == [255, 255, 255, 255, 128]));
    }

    #[test]
    fn every_message_between_begin_and_end_is_acknowledged() {
        let batch = batch(&[vec![Match::Known], vec![Match::Protocol(6), Match::Port(443)]]);
        let (mut kinds, mut rest) = (Vec::new(), &batch.bytes[..]);
        while rest.len() >= 20 {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            kinds.push(u16::from_ne_bytes([rest[4], rest[5]]));
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        assert_eq!((kinds[0], kinds[kinds.len() - 1], kinds.len()), (16, 17, 9));
        assert_eq!(batch.acknowledgements, 7);
        let refusal = [36u32.to_ne_bytes(), [2, 0, 0, 0], [0; 4], [0; 4], (-2i32).to_ne_bytes()].concat();
        assert_eq!(acknowledged(&refusal).unwrap_err().raw_os_error(), Some(2));
    }
}

//! The programs, run by a machine of their own: the few instructions that they are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// Runs a program over a packet of `protocol`; it must end within as many steps as it has instructions, for it
/// only jumps forward.
fn run(code: &[Instruction], protocol: u16, packet: &[u8]) -> u64 {
    let (mut registers, mut frame, mut at) = ([0u64; 11], [0u8; 16], 0usize);
    for _ in 0..code.len() {
        let Instruction { code, registers: both, offset, immediate } = code[at];
        let (to, from) = ((both & 15) as usize, (both >> 4) as usize);
        at += 1;
        let jump = match code {
            MOV => false,
            JUMP => true,
            JUMP_EQUAL_32 => registers[to] as u32 == immediate as u32,
            JUMP_NOT_EQUAL_32 => registers[to] as u32 != immediate as u32,
            _ => false,
        };
        match code {
            MOV => registers[to] = immediate as i64 as u64,
            MOV_REGISTER => registers[to] = registers[from],
            MOV_REGISTER_32 => registers[to] = u64::from(registers[from] as u32),
            ADD => registers[to] = registers[to].wrapping_add(immediate as i64 as u64),
            AND_32 => registers[to] = u64::from(registers[to] as u32 & immediate as u32),
            TO_BIG_ENDIAN => registers[to] = u64::from((registers[to] as u32).to_be()),
            LOAD_WORD if from == usize::from(FRAME) => {
                let start = (offset + 16) as usize;
                registers[to] = u32::from_ne_bytes(frame[start..start + 4].try_into().unwrap()).into();
            }
            LOAD_WORD => {
                assert_eq!(offset, PROTOCOL_OFFSET);
                registers[to] = protocol.to_be().into();
            }
            CALL => {
                assert_eq!((immediate, registers[3] as i64), (LOAD_BYTES, i64::from(ADDRESS_AT)));
                let (start, length) = (registers[2] as usize, registers[4] as usize);
                match packet.get(start..start + length) {
                    Some(bytes) => frame[..length].copy_from_slice(bytes),
                    None => registers[0] = -14i64 as u64,
                }
                if packet.len() >= start + length {
                    registers[0] = 0;
                }
            }
            EXIT => return registers[0],
            JUMP | JUMP_EQUAL_32 | JUMP_NOT_EQUAL_32 => {}
            other => panic!("{other:#x} is no instruction that is used here"),
        }
        if jump {
            at += usize::try_from(offset).expect("jumps go forward");
        }
    }
    panic!("the program does not end");
}

/// A packet between this box (an address that no list has) and `other`.
fn packet(other: IpAddr, direction: Direction) -> (u16, Vec<u8>) {
    let place = |bytes: &mut [u8], source: usize, address: &[u8]| {
        let at = if direction == Direction::Arriving { source } else { source + address.len() };
        bytes[at..at + address.len()].copy_from_slice(address);
    };
    match other {
        IpAddr::V4(address) => {
            let mut bytes = vec![0; 20];
            place(&mut bytes, 12, &address.octets());
            (ETH_P_IP, bytes)
        }
        IpAddr::V6(address) => {
            let mut bytes = vec![0; 40];
            place(&mut bytes, 8, &address.octets());
            (ETH_P_IPV6, bytes)
        }
    }
}

fn passes(allowed: &[Prefix], direction: Direction, other: IpAddr) -> bool {
    let (protocol, bytes) = packet(other, direction);
    run(&compile(allowed, direction).unwrap(), protocol, &bytes) == 1
}

#[test]
fn a_listed_address_passes_both_ways_and_no_other() {
    let list = ["192.0.2.7", "2001:db8::7", "10.0.0.0"].map(|text| text.parse::<IpAddr>().unwrap());
    let mut list: Vec<Prefix> = list.map(Prefix::host).into();
    list.push(Prefix::v4(Ipv4Addr::new(10, 0, 0, 0), 8));
    list.push(Prefix::v6("fc00::".parse().unwrap(), 7));
    for (address, expected) in [
        ("192.0.2.7", true),
        ("192.0.2.6", false),
        ("7.2.0.192", false),
        ("10.255.0.1", true),
        ("11.0.0.0", false),
        ("127.0.0.1", false),
        ("2001:db8::7", true),
        ("2001:db8::8", false),
        ("2001:db8:1::7", false),
        ("fd12::1", true),
        ("fe80::1", false),
        ("::", false),
    ] {
        for direction in [Direction::Arriving, Direction::Leaving] {
            assert_eq!(
                passes(&list, direction, address.parse().unwrap()),
                expected,
                "{address} {direction:?}"
            );
        }
    }
}

#[test]
fn an_empty_list_and_what_is_no_ip_let_nothing_through() {
    let everything = [Prefix::v4(Ipv4Addr::UNSPECIFIED, 0), Prefix::v6(Ipv6Addr::UNSPECIFIED, 0)];
    let loopback = Ipv4Addr::LOCALHOST.into();
    assert!(passes(&everything, Direction::Leaving, loopback));
    assert!(!passes(&[], Direction::Leaving, loopback));
    let code = compile(&everything, Direction::Leaving).unwrap();
    // ARP, and an IPv4 header that is cut off before the address.
    assert_eq!(run(&code, 0x0806, &[0; 64]), 0);
    assert_eq!(run(&code, ETH_P_IP, &[0; 19]), 0);
}

#[test]
fn the_longest_list_compiles_and_a_longer_one_is_refused() {
    let list: Vec<Prefix> =
        (0..=PREFIXES_MAX as u128).map(|n| Prefix::v6(Ipv6Addr::from_bits(n), 127)).collect();
    assert!(compile(&list[..PREFIXES_MAX], Direction::Arriving).is_ok());
    assert!(compile(&list, Direction::Arriving).unwrap_err().to_string().contains("1025 addresses"));
}

fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (any::<u32>(), 0u8..=32).prop_map(|(bits, length)| Prefix::v4(Ipv4Addr::from_bits(bits), length)),
        (any::<u128>(), 0u8..=128).prop_map(|(bits, length)| Prefix::v6(Ipv6Addr::from_bits(bits), length)),
    ]
}

proptest! {
    #[test]
    fn a_program_says_what_its_list_says(
        list in prop::collection::vec(prefix(), 0..6),
        inside in any::<prop::sample::Index>(),
        flip in 0u32..128,
        arriving: bool,
    ) {
        prop_assume!(!list.is_empty());
        // An address of the list with one bit turned: inside or just outside.
        let other = match inside.get(&list).address() {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() ^ 1 << (flip % 32))),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() ^ 1 << flip)),
        };
        let expected = list.iter().any(|prefix| prefix.covers(match other {
            IpAddr::V4(address) => Prefix::v4(address, 32),
            IpAddr::V6(address) => Prefix::v6(address, 128),
        }));
        let direction = if arriving { Direction::Arriving } else { Direction::Leaving };
        prop_assert_eq!(passes(&list, direction, other), expected);
    }
}

//! A network: an address and how many of its bits count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of IPv4 or IPv6, no host bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of `address` with its first `length` bits (more are taken for all).
    pub const fn v4(address: Ipv4Addr, length: u8) -> Prefix {
        let length = if length > 32 { 32 } else { length };
        let bits = Ipv4Addr::from_bits(address.to_bits() & mask_v4(length));
        Prefix { address: IpAddr::V4(bits), length }
    }

    /// The same for IPv6.
    pub const fn v6(address: Ipv6Addr, length: u8) -> Prefix {
        let length = if length > 128 { 128 } else { length };
        let bits = Ipv6Addr::from_bits(address.to_bits() & mask_v6(length));
        Prefix { address: IpAddr::V6(bits), length }
    }

    /// One address alone. An IPv4 address in IPv6 clothes travels as IPv4, and is taken as that.
    pub fn host(address: IpAddr) -> Prefix {
        match address.to_canonical() {
            IpAddr::V4(address) => Prefix::v4(address, 32),
            IpAddr::V6(address) => Prefix::v6(address, 128),
        }
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The bits that count.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether all of `other` lies in it.
    pub fn covers(self, other: Prefix) -> bool {
        let same = match (self.address, other.address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => Prefix::v4(other, self.length).address == IpAddr::V4(own),
            (IpAddr::V6(own), IpAddr::V6(other)) => Prefix::v6(other, self.length).address == IpAddr::V6(own),
            _ => false,
        };
        same && self.length <= other.length
    }

    /// What is left of it without `holes`, as the fewest networks in order.
    pub fn without(self, holes: &[Prefix]) -> Vec<Prefix> {
        if holes.iter().any(|hole| hole.covers(self)) {
            return Vec::new();
        }
        match self.halves().filter(|_| holes.iter().any(|hole| self.covers(*hole))) {
            Some(halves) => halves.into_iter().flat_map(|half| half.without(holes)).collect(),
            None => vec![self],
        }
    }

    /// Its two halves; a single address has none.
    fn halves(self) -> Option<[Prefix; 2]> {
        let length = self.length + 1;
        match self.address {
            IpAddr::V4(_) if length > 32 => None,
            IpAddr::V4(low) => {
                let high = Ipv4Addr::from_bits(low.to_bits() | 1 << (32 - length));
                Some([Prefix::v4(low, length), Prefix::v4(high, length)])
            }
            IpAddr::V6(_) if length > 128 => None,
            IpAddr::V6(low) => {
                let high = Ipv6Addr::from_bits(low.to_bits() | 1 << (128 - length));
                Some([Prefix::v6(low, length), Prefix::v6(high, length)])
            }
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

const fn mask_v4(length: u8) -> u32 {
    if length == 0 { 0 } else { u32::MAX << (32 - length) }
}

const fn mask_v6(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str, length: u8) -> Prefix {
        Prefix::v4(text.parse().unwrap(), length)
    }

    fn text(prefixes: &[Prefix]) -> Vec<String> {
        prefixes.iter().map(Prefix::to_string).collect()
    }

    #[test]
    fn host_bits_are_cut_off_and_mapped_addresses_are_ipv4() {
        assert_eq!(v4("10.1.2.3", 8).to_string(), "10.0.0.0/8");
        assert_eq!(Prefix::host("::ffff:192.0.2.7".parse().unwrap()).to_string(), "192.0.2.7/32");
        assert!(v4("10.0.0.0", 8).covers(v4("10.9.0.0", 16)));
        assert!(!v4("10.9.0.0", 16).covers(v4("10.0.0.0", 8)));
        assert!(!v4("0.0.0.0", 0).covers(Prefix::host("::1".parse().unwrap())));
    }

    #[test]
    fn holes_are_cut_out_of_a_network() {
        let left = v4("0.0.0.0", 0).without(&[v4("127.0.0.0", 8), v4("128.0.0.0", 1)]);
        let expected = ["0.0.0.0/2", "64.0.0.0/3", "96.0.0.0/4", "112.0.0.0/5", "120.0.0.0/6", "124.0.0.0/7"];
        assert_eq!(text(&left), [&expected[..], &["126.0.0.0/8"]].concat());
        assert_eq!(text(&v4("192.0.2.4", 31).without(&[v4("192.0.2.5", 32)])), ["192.0.2.4/32"]);
        assert_eq!(v4("10.0.0.0", 8).without(&[v4("0.0.0.0", 0)]), []);
    }
}

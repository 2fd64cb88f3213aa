//! Back-off after failed sign-ins, by address: pure, with the time as an argument.
//!
//! The first [`FREE`] failures cost nothing (people mistype), each further one doubles the wait up to
//! [`WAIT_S_MAX`]. A success forgets the address. An IPv6 sender owns a /64, so that is what counts.

use std::collections::HashMap;
use std::net::IpAddr;

/// Failures without a wait.
pub const FREE: u32 = 3;
/// Longest wait between two attempts, in seconds.
pub const WAIT_S_MAX: i64 = 900;
/// Seconds after the last failure when an address is forgotten.
const FORGET_S: i64 = 3600;
/// Addresses that are remembered; then the one that failed longest ago is forgotten for a new one.
const ADDRESSES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last_s: i64,
}

/// What has failed lately.
#[derive(Debug, Default)]
pub struct Attempts(HashMap<IpAddr, Failures>);

/// The part of an address that one sender owns.
fn sender(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[4..].fill(0);
            IpAddr::from(segments)
        }
        v4 => v4,
    }
}

impl Attempts {
    /// Seconds that `address` must still wait before its next attempt; 0 when it may try now.
    pub fn wait_s(&self, address: IpAddr, now_s: i64) -> i64 {
        let Some(failures) = self.0.get(&sender(address)) else { return 0 };
        let beyond = failures.count.saturating_sub(FREE);
        if beyond == 0 {
            return 0;
        }
        let wait_s = 1_i64.checked_shl(beyond - 1).unwrap_or(WAIT_S_MAX).clamp(1, WAIT_S_MAX);
        (failures.last_s + wait_s - now_s).clamp(0, WAIT_S_MAX)
    }

    /// An attempt of `address` failed.
    pub fn failed(&mut self, address: IpAddr, now_s: i64) {
        self.0.retain(|_, failures| now_s - failures.last_s < FORGET_S);
        if self.0.len() >= ADDRESSES_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, f)| f.last_s).map(|(address, _)| *address)
        {
            self.0.remove(&oldest);
        }
        let failures = self.0.entry(sender(address)).or_insert(Failures { count: 0, last_s: now_s });
        failures.count = failures.count.saturating_add(1);
        failures.last_s = now_s;
    }

    /// An attempt of `address` succeeded.
    pub fn succeeded(&mut self, address: IpAddr) {
        self.0.remove(&sender(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_failure_beyond_the_free_ones_doubles_the_wait() {
        let (mut attempts, address) = (Attempts::default(), ip("192.0.2.1"));
        let mut waits = Vec::new();
        for _ in 0..16 {
            attempts.failed(address, 100);
            waits.push(attempts.wait_s(address, 100));
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        assert_eq!(attempts.wait_s(address, 900), 100);
        assert_eq!(attempts.wait_s(ip("192.0.2.2"), 100), 0);
        attempts.succeeded(address);
        assert_eq!(attempts.wait_s(address, 100), 0);
    }

    #[test]
    fn an_ipv6_sender_is_its_network() {
        let mut attempts = Attempts::default();
        for host in 1..9 {
            attempts.failed(ip(&format!("2001:db8::{host}")), 5);
        }
        assert!(attempts.wait_s(ip("2001:db8::ffff"), 5) > 0);
        assert_eq!(attempts.wait_s(ip("2001:db8:0:1::1"), 5), 0);
    }

    #[test]
    fn memory_is_bounded_and_failures_are_forgotten() {
        let mut attempts = Attempts::default();
        for n in 0..ADDRESSES_MAX as u32 + 50 {
            attempts.failed(IpAddr::from((n << 8).to_be_bytes()), i64::from(n) / 100);
        }
        assert_eq!(attempts.0.len(), ADDRESSES_MAX);
        attempts.failed(ip("192.0.2.1"), 50 + FORGET_S);
        assert_eq!(attempts.0.len(), 1);
    }
}

//! DHCPv4 (RFC 2131, figure 5) as a pure state machine: answers and time in, a message to send out.

use std::net::Ipv4Addr;

/// First wait for an answer; doubles to [`WAIT_MS_MAX`] (RFC 2131, section 4.1).
const WAIT_MS_MIN: u64 = 2_000;

/// The longest wait between two tries.
const WAIT_MS_MAX: u64 = 64_000;

/// Questions whether an address is good still, before it is kept unanswered (RFC 2131, section 3.2).
const VERIFY_TRIES: u32 = 3;

/// A lease without a time is asked for again after this long; RFC 2131 makes the option mandatory.
const LEASE_S_DEFAULT: u32 = 3600;

/// The router of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The network's address.
    pub network: Ipv4Addr,
    /// Bits of it.
    pub prefix: u8,
    /// The next hop.
    pub gateway: Ipv4Addr,
}

/// What a server offered or granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Our address.
    pub address: Ipv4Addr,
    /// Bits of the network part.
    pub prefix: u8,
    /// Who granted it.
    pub server: Ipv4Addr,
    /// The router, if one was named.
    pub router: Option<Ipv4Addr>,
    /// Networks that another router leads to.
    pub routes: Vec<Way>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Time servers (option 42).
    pub ntp: Vec<Ipv4Addr>,
    /// The name that the server gives this box.
    pub hostname: Option<String>,
    /// The largest packet of this network (option 26), in bytes.
    pub mtu: Option<u32>,
    /// Seconds it holds; renewed at half of it, asked from anyone at seven eighths.
    pub lease_s: Option<u32>,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// DHCPOFFER.
    Offer(Grant),
    /// DHCPACK.
    Ack(Grant),
    /// DHCPNAK.
    Nak,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// DHCPDISCOVER.
    Discover,
    /// DHCPREQUEST for an offer.
    Request(Grant),
    /// DHCPREQUEST for an address that is held.
    Renew(Grant),
    /// DHCPREQUEST, whether an address is good still (INIT-REBOOT).
    Verify(Grant),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this.
    Send(Message),
    /// Use this grant; the old address, if another, goes.
    Use(Grant),
    /// The address is not ours any more.
    Drop(Grant),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Selecting,
    Requesting(Grant),
    Bound {
        grant: Grant,
        since_ms: u64,
    },
    /// The cable was out: the network may be another one now.
    Verifying {
        grant: Grant,
        since_ms: u64,
        tries_left: u32,
    },
}

/// One interface's DHCP client.
#[derive(Clone, Debug)]
pub struct Client {
    state: State,
    /// When something is to be sent next.
    due_ms: u64,
    wait_ms: u64,
}

impl Client {
    /// A client without an address that sends at once.
    pub fn new(now_ms: u64) -> Client {
        Client { state: State::Selecting, due_ms: now_ms, wait_ms: WAIT_MS_MIN }
    }

    /// When [`Client::tick`] is due.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// The cable is in, or in again: an address that is held may be of another network.
    pub fn link_up(&mut self, now_ms: u64) {
        match self.state.clone() {
            State::Bound { grant, since_ms } | State::Verifying { grant, since_ms, .. } => {
                self.state = State::Verifying { grant, since_ms, tries_left: VERIFY_TRIES };
            }
            State::Selecting | State::Requesting(_) => self.state = State::Selecting,
        }
        self.wait_ms = WAIT_MS_MIN;
        self.due_ms = now_ms;
    }

    /// Time has come: what to send, and whether an address has run out.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Step> {
        if now_ms < self.due_ms {
            return Vec::new();
        }
        match self.state.clone() {
            State::Selecting => {
                self.wait(now_ms);
                vec![Step::Send(Message::Discover)]
            }
            State::Requesting(grant) if self.wait_ms <= WAIT_MS_MIN * 8 => {
                self.wait(now_ms);
                vec![Step::Send(Message::Request(grant))]
            }
            // The server that offered does not answer: begin again.
            State::Requesting(_) => self.begin_again(now_ms, Vec::new()),
            State::Verifying { grant, since_ms, tries_left: 0 } => {
                // Nobody answers; the lease still holds for its time.
                self.due_ms = now_ms;
                self.state = State::Bound { grant, since_ms };
                Vec::new()
            }
            State::Verifying { grant, since_ms, tries_left } => {
                self.wait(now_ms);
                self.state = State::Verifying { grant: grant.clone(), since_ms, tries_left: tries_left - 1 };
                vec![Step::Send(Message::Verify(grant))]
            }
            State::Bound { grant, since_ms } => {
                let end_ms = since_ms + lease_ms(&grant);
                if now_ms >= end_ms {
                    return self.begin_again(now_ms, vec![Step::Drop(grant)]);
                }
                // Half of what is left, at least a minute apart (RFC 2131, section 4.4.5).
                self.due_ms = (now_ms + ((end_ms - now_ms) / 2).max(60_000)).min(end_ms);
                vec![Step::Send(Message::Renew(grant))]
            }
        }
    }

    /// A server answered.
    pub fn answer(&mut self, now_ms: u64, answer: Answer) -> Vec<Step> {
        match (self.state.clone(), answer) {
            (State::Selecting, Answer::Offer(grant)) => {
                self.state = State::Requesting(grant.clone());
                self.wait_ms = WAIT_MS_MIN;
                self.wait(now_ms);
                vec![Step::Send(Message::Request(grant))]
            }
            (State::Requesting(_), Answer::Ack(grant)) => self.bind(now_ms, grant, Vec::new()),
            (State::Bound { grant: old, .. } | State::Verifying { grant: old, .. }, Answer::Ack(grant)) => {
                let steps = if old.address == grant.address { Vec::new() } else { vec![Step::Drop(old)] };
                self.bind(now_ms, grant, steps)
            }
            (State::Requesting(_), Answer::Nak) => self.begin_again(now_ms, Vec::new()),
            (State::Bound { grant, .. } | State::Verifying { grant, .. }, Answer::Nak) => {
                self.begin_again(now_ms, vec![Step::Drop(grant)])
            }
            // A late offer, or an answer that nobody asked for.
            _ => Vec::new(),
        }
    }

    fn bind(&mut self, now_ms: u64, grant: Grant, mut steps: Vec<Step>) -> Vec<Step> {
        self.due_ms = now_ms + lease_ms(&grant) / 2;
        self.state = State::Bound { grant: grant.clone(), since_ms: now_ms };
        steps.push(Step::Use(grant));
        steps
    }

    fn begin_again(&mut self, now_ms: u64, steps: Vec<Step>) -> Vec<Step> {
        *self = Client { state: State::Selecting, due_ms: now_ms + WAIT_MS_MIN, wait_ms: WAIT_MS_MIN };
        steps
    }

    fn wait(&mut self, now_ms: u64) {
        self.due_ms = now_ms + self.wait_ms;
        self.wait_ms = (self.wait_ms * 2).min(WAIT_MS_MAX);
    }
}

fn lease_ms(grant: &Grant) -> u64 {
    u64::from(grant.lease_s.unwrap_or(LEASE_S_DEFAULT).max(60)) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(last: u8) -> Grant {
        Grant {
            address: Ipv4Addr::new(10, 0, 2, last),
            prefix: 24,
            server: Ipv4Addr::new(10, 0, 2, 2),
            router: None,
            routes: Vec::new(),
            dns: Vec::new(),
            ntp: Vec::new(),
            hostname: None,
            mtu: None,
            lease_s: Some(1000),
        }
    }

    #[test]
    fn an_address_is_discovered_requested_used_and_renewed() {
        let mut client = Client::new(0);
        assert_eq!(client.tick(0), [Step::Send(Message::Discover)]);
        assert_eq!(client.answer(10, Answer::Offer(grant(15))), [Step::Send(Message::Request(grant(15)))]);
        assert_eq!(client.answer(20, Answer::Ack(grant(15))), [Step::Use(grant(15))]);
        assert_eq!(client.due_ms(), 500_020);
        assert_eq!(client.tick(500_020), [Step::Send(Message::Renew(grant(15)))]);
        assert_eq!(client.answer(500_030, Answer::Ack(grant(15))), [Step::Use(grant(15))]);
    }

    #[test]
    fn silence_backs_off_to_the_ceiling_and_goes_on() {
        let mut client = Client::new(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let now = client.due_ms();
            assert_eq!(client.tick(now), [Step::Send(Message::Discover)]);
            waits.push(client.due_ms() - now);
        }
        assert_eq!(waits, [2000, 4000, 8000, 16_000, 32_000, 64_000, 64_000, 64_000]);
    }

    #[test]
    fn a_lease_that_runs_out_or_is_refused_is_given_up() {
        let bound = || {
            let mut client = Client::new(0);
            client.tick(0);
            client.answer(0, Answer::Offer(grant(15)));
            client.answer(0, Answer::Ack(grant(15)));
            client
        };
        let mut client = bound();
        assert_eq!(client.answer(5, Answer::Nak), [Step::Drop(grant(15))]);
        let mut client = bound();
        let mut last = Vec::new();
        while last.first() != Some(&Step::Drop(grant(15))) {
            let now = client.due_ms();
            assert!(now <= 1_000_000);
            last = client.tick(now);
        }
    }

    #[test]
    fn another_address_replaces_the_old_one() {
        let mut client = Client::new(0);
        client.tick(0);
        client.answer(0, Answer::Offer(grant(15)));
        client.answer(0, Answer::Ack(grant(15)));
        assert_eq!(client.answer(9, Answer::Ack(grant(16))), [Step::Drop(grant(15)), Step::Use(grant(16))]);
        assert_eq!(client.answer(9, Answer::Offer(grant(17))), []);
    }

    #[test]
    fn after_the_cable_was_out_the_address_is_verified_and_kept_unless_it_is_refused() {
        let bound = || {
            let mut client = Client::new(0);
            client.tick(0);
            client.answer(0, Answer::Offer(grant(15)));
            client.answer(0, Answer::Ack(grant(15)));
            client.link_up(5000);
            assert_eq!(client.tick(5000), [Step::Send(Message::Verify(grant(15)))]);
            client
        };
        assert_eq!(bound().answer(5010, Answer::Ack(grant(15))), [Step::Use(grant(15))]);
        assert_eq!(bound().answer(5010, Answer::Nak), [Step::Drop(grant(15))]);
        let mut silent = bound();
        let mut sent = Vec::new();
        while silent.due_ms() < 60_000 {
            let now = silent.due_ms();
            sent.extend(silent.tick(now));
            assert!(sent.len() < 10);
        }
        assert_eq!(sent.iter().filter(|step| **step == Step::Send(Message::Verify(grant(15)))).count(), 2);
        assert_eq!(sent.last(), Some(&Step::Send(Message::Renew(grant(15)))));
    }
}

//! One server: asked in its rhythm, its last answers kept.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use vakt_reach::resolve::resolve;
use vakt_wire::config::TimeServer;

use crate::nts::key_exchange::{exchange, with_port};
use crate::nts::{Session, record, seal};
use crate::packet::{BYTES_MAX, Refusal, Sample, answer, question};
use crate::select::Candidate;
use crate::wall;

/// An answer takes this long at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Answers that are kept; of them the one with the shortest way says how good the others are (RFC 5905, section 10).
const SAMPLES_MAX: usize = 8;

/// The first questions follow each other quickly, so that the clock is right soon.
const QUICK: u32 = 4;
const QUICK_MS: u64 = 2_000;

/// Then a server is asked at ease; after [`SETTLED_AFTER`] answers in a row less often.
const ORDINARY_MS: u64 = 64_000;
const SETTLED_MS: u64 = 256_000;
const SETTLED_AFTER: u32 = 16;

/// One that does not answer is tried again soon at first: the network may be on its way up.
const RETRY_MS: u64 = 4_000;
const RETRIES: u32 = 15;

/// A crystal drifts by 15 millionths of the time (RFC 5905, PHI).
const DRIFT: f64 = 15e-6;

/// A server whose last answer is older than this is believed no more.
const SILENT_MS_MAX: u64 = 4 * SETTLED_MS;

/// A server and what is known of it.
#[derive(Debug)]
pub struct Source {
    /// As the config, or DHCP, named it.
    pub server: TimeServer,
    /// Where it was asked last.
    pub address: Option<SocketAddr>,
    /// Why it did not answer the last time.
    pub error: Option<String>,
    /// When it is to be asked next, on the boot clock.
    pub due_ms: u64,
    session: Option<Session>,
    samples: VecDeque<(u64, Sample)>,
    answers: u32,
    failures: u32,
}

impl Source {
    /// One that is asked at once.
    pub fn new(server: TimeServer) -> Source {
        Source {
            server,
            address: None,
            error: None,
            due_ms: 0,
            session: None,
            samples: VecDeque::new(),
            answers: 0,
            failures: 0,
        }
    }

    /// Asks once, and keeps what it says. With `clock_is_new` as [`exchange`] has it.
    pub async fn ask(&mut self, clock_is_new: bool) {
        let asked = self.question(clock_is_new).await;
        let now_ms = wall::boot_ms();
        match asked {
            Ok(sample) => self.keep(now_ms, sample),
            Err(error) => self.fail(now_ms, error),
        }
    }

    fn keep(&mut self, now_ms: u64, sample: Sample) {
        self.samples.push_back((now_ms, sample));
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        (self.error, self.failures) = (None, 0);
        self.answers = self.answers.saturating_add(1);
        self.due_ms = now_ms
            + match self.answers {
                few if few < QUICK => QUICK_MS,
                some if some < SETTLED_AFTER => ORDINARY_MS,
                _ => SETTLED_MS,
            };
    }

    fn fail(&mut self, now_ms: u64, error: String) {
        if self.error.as_ref() != Some(&error) {
            tracing::warn!(server = self.server.host.as_str(), error, "time server does not answer");
        }
        self.error = Some(error);
        self.failures = self.failures.saturating_add(1);
        self.due_ms = now_ms + if self.failures <= RETRIES { RETRY_MS } else { ORDINARY_MS };
    }

    /// The clock was set: what was measured before tells nothing.
    pub fn forget(&mut self) {
        self.samples.clear();
        self.answers = 0;
    }

    /// Its last answer.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.back().map(|(_, sample)| sample)
    }

    /// What it says at `now_ms`: its last answer, unless that had a way much longer than the best, which makes it
    /// lopsided.
    pub fn candidate(&self, now_ms: u64) -> Option<Candidate> {
        let best_s = self.samples.iter().map(|(_, sample)| sample.delay_s).fold(f64::INFINITY, f64::min);
        let straight = |sample: &Sample| sample.delay_s <= best_s * 2.0 + 0.005;
        let (at_ms, sample) = self.samples.iter().rev().find(|(_, sample)| straight(sample))?;
        let age_ms = now_ms.saturating_sub(*at_ms);
        if age_ms > SILENT_MS_MAX {
            return None;
        }
        let spread = self.samples.iter().map(|(_, other)| (other.offset_s - sample.offset_s).abs());
        let jitter_s = spread.fold(0.0, f64::max).min(sample.delay_s + 0.001);
        let distance_s = sample.root_delay_s / 2.0
            + sample.root_dispersion_s
            + sample.delay_s / 2.0
            + jitter_s
            + DRIFT * age_ms as f64 / 1000.0;
        Some(Candidate { offset_s: sample.offset_s, distance_s: distance_s.max(1e-4) })
    }

    async fn question(&mut self, clock_is_new: bool) -> Result<Sample, String> {
        if self.server.nts {
            return self.sealed_question(clock_is_new).await;
        }
        let host = with_port(self.server.host.as_str(), self.server.port.unwrap_or(123));
        let socket = self.connect(&host).await?;
        let token = rand()?;
        converse(&socket, &question(token), token, |_| true).await
    }

    async fn sealed_question(&mut self, clock_is_new: bool) -> Result<Sample, String> {
        if self.session.as_ref().is_none_or(|session| session.cookies.is_empty()) {
            let (host, port) = (self.server.host.as_str(), self.server.port.unwrap_or(4460));
            self.session = Some(exchange(host, port, self.server.authorities.as_ref(), clock_is_new).await?);
        }
        let Some(mut session) = self.session.take() else { return Err("no keys".into()) };
        let Some(cookie) = session.cookies.pop() else { return Err("no cookie".into()) };
        let socket = self.connect(&session.server).await?;
        let (token, unique, nonce) = (rand()?, random::<32>()?, random::<16>()?);
        let wished = record::COOKIES_MAX - session.cookies.len() - 1;
        let packet = seal::seal(&question(token), &session.to_server, &cookie, wished, &unique, &nonce);
        let packet = packet.ok_or("the question cannot be sealed")?;
        let mut fresh = Vec::new();
        let opened = |bytes: &[u8]| match seal::open(bytes, &session.to_client, &unique) {
            Some(cookies) => {
                fresh = cookies;
                true
            }
            None => false,
        };
        let answered = converse(&socket, &packet, token, opened).await;
        session.cookies.extend(fresh);
        session.cookies.truncate(record::COOKIES_MAX);
        // One that does not answer may have forgotten its keys: the next question begins with the exchange.
        if answered.is_ok() {
            self.session = Some(session);
        }
        answered
    }

    /// A socket that hears of this server alone, on a port that nobody can guess.
    async fn connect(&mut self, host: &str) -> Result<UdpSocket, String> {
        let addresses = resolve(host).await.map_err(|error| format!("cannot resolve {host}: {error}"))?;
        let address = *addresses.first().ok_or_else(|| format!("{host} has no address"))?;
        self.address = Some(address);
        let own: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own).await.map_err(|error| error.to_string())?;
        socket.connect(address).await.map_err(|error| error.to_string())?;
        Ok(socket)
    }
}

/// Sends `packet` and waits for the answer that `is_genuine` takes; others are passed over.
async fn converse(
    socket: &UdpSocket,
    packet: &[u8],
    token: u64,
    mut is_genuine: impl FnMut(&[u8]) -> bool,
) -> Result<Sample, String> {
    let until = Instant::now() + ANSWER_WITHIN;
    let sent = wall::now();
    socket.send(packet).await.map_err(|error| error.to_string())?;
    let mut buffer = [0; BYTES_MAX];
    loop {
        let received = timeout_at(until, socket.recv(&mut buffer)).await;
        let at = wall::now();
        let length = received
            .map_err(|_| format!("no answer within {ANSWER_WITHIN:?}"))?
            .map_err(|error| error.to_string())?;
        match answer(&buffer[..length], token, sent, at) {
            Err(Refusal::Stranger) => {}
            // A refusal cannot be sealed when the keys are what is wrong; it ends this question only.
            Err(refusal) => return Err(refusal.to_string()),
            Ok(sample) if is_genuine(&buffer[..length]) => return Ok(sample),
            Ok(_) => {}
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match read {
        Ok(length) if length == N => Ok(bytes),
        _ => Err("the kernel gives no random bytes".into()),
    }
}

fn rand() -> Result<u64, String> {
    random::<8>().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        let host = "192.0.2.1".to_owned().try_into().unwrap();
        Source::new(TimeServer { host, nts: false, port: None, authorities: None })
    }

    fn sample(offset_s: f64, delay_s: f64) -> Sample {
        let (root_delay_s, root_dispersion_s) = (0.01, 0.001);
        Sample { offset_s, delay_s, root_delay_s, root_dispersion_s, stratum: 2, reference: [0; 4], leap: 0 }
    }

    #[test]
    fn a_server_is_asked_quickly_then_at_ease_and_one_that_is_silent_is_given_up_slowly() {
        let mut source = source();
        let mut waits = Vec::new();
        for _ in 0..18 {
            let now = source.due_ms;
            source.keep(now, sample(0.0, 0.01));
            waits.push((source.due_ms - now) / 1000);
        }
        assert_eq!(waits[..5], [2, 2, 2, 64, 64]);
        assert_eq!(waits[17], 256);
        for _ in 0..=RETRIES {
            let now = source.due_ms;
            source.fail(now, "no answer".into());
        }
        let now = source.due_ms;
        source.fail(now, "no answer".into());
        assert_eq!(source.due_ms - now, ORDINARY_MS);
        assert!(source.candidate(now).is_some());
        assert!(source.candidate(now + SILENT_MS_MAX).is_none());
    }

    #[test]
    fn an_answer_that_took_a_detour_is_passed_over() {
        let mut source = source();
        source.keep(0, sample(0.001, 0.010));
        source.keep(1000, sample(0.200, 0.410));
        assert_eq!(source.candidate(1000).unwrap().offset_s, 0.001);
        source.keep(2000, sample(0.002, 0.012));
        assert_eq!(source.candidate(2000).unwrap().offset_s, 0.002);
        let young = source.candidate(2000).unwrap().distance_s;
        assert!(source.candidate(100_000).unwrap().distance_s > young);
        source.forget();
        assert_eq!(source.candidate(2000), None);
    }
}

//! NTPv4's packet (RFC 5905, section 7.3) and what four times tell.

/// Bytes of the header; extension fields follow.
pub const HEADER_BYTES: usize = 48;

/// Longest packet that is read.
pub const BYTES_MAX: usize = 2048;

/// Seconds from 1900 to 1970.
const EPOCH_S: u64 = 2_208_988_800;

/// A server further than this from its own source tells nothing (RFC 5905, MAXSTRAT).
const STRATUM_MAX: u8 = 15;

/// A time as NTP has it: seconds of an era and their fraction, 32 bits each. Only differences of such are used,
/// which hold over an era's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time on a wall clock.
    pub fn of_unix(seconds: i64, nanoseconds: i64) -> Timestamp {
        let whole = (seconds as u64).wrapping_add(EPOCH_S) << 32;
        Timestamp(whole | (((nanoseconds as u64) << 32) / 1_000_000_000))
    }

    /// `self` - `earlier` in seconds; right while they are within 68 years.
    pub fn since(self, earlier: Timestamp) -> f64 {
        self.0.wrapping_sub(earlier.0) as i64 as f64 / 4_294_967_296.0
    }
}

/// What a server said, its times and ours put together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// What is to be added to our clock, in seconds.
    pub offset_s: f64,
    /// The way there and back, in seconds.
    pub delay_s: f64,
    /// The server's own way to its reference, in seconds.
    pub root_delay_s: f64,
    /// How wrong the server may be beside that, in seconds.
    pub root_dispersion_s: f64,
    /// How far the server is from a reference clock.
    pub stratum: u8,
    /// What it gets the time from: an address, or four letters at stratum 1.
    pub reference: [u8; 4],
    /// A leap second is announced: 1 is added, 2 is removed at the end of the day.
    pub leap: u8,
}

/// Why an answer counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an answer to our question.
    #[error("the answer is none to our question")]
    Stranger,
    /// The server itself does not know the time.
    #[error("the server has no time of its own yet")]
    Unsynchronised,
    /// The server wishes to be asked less, or not at all (RFC 5905, section 7.4).
    #[error("the server refuses: {}", .0.escape_ascii())]
    Kiss([u8; 4]),
}

/// A question. `token` is a random number in place of our time, which is nobody's business (RFC 8633 recommends it
/// against spoofed answers too).
pub fn question(token: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    // No warning, version 4, client.
    bytes[0] = 4 << 3 | 3;
    bytes[40..].copy_from_slice(&token.to_be_bytes());
    bytes
}

/// Reads the answer to the question with `token`, which was sent at `sent` and came back at `received`.
///
/// # Errors
/// [`Refusal`].
pub fn answer(bytes: &[u8], token: u64, sent: Timestamp, received: Timestamp) -> Result<Sample, Refusal> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Err(Refusal::Stranger) };
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let time = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
    let (leap, version, mode) = (header[0] >> 6, header[0] >> 3 & 7, header[0] & 7);
    if version != 4 || mode != 4 || time(24) != token {
        return Err(Refusal::Stranger);
    }
    let reference = [header[12], header[13], header[14], header[15]];
    match header[1] {
        0 => return Err(Refusal::Kiss(reference)),
        stratum if stratum > STRATUM_MAX || leap == 3 => return Err(Refusal::Unsynchronised),
        _ => {}
    }
    let (reached, left) = (Timestamp(time(32)), Timestamp(time(40)));
    let short = |at: usize| f64::from(word(at)) / 65536.0;
    Ok(Sample {
        offset_s: (reached.since(sent) + left.since(received)) / 2.0,
        delay_s: (received.since(sent) - left.since(reached)).max(0.0),
        root_delay_s: short(4),
        root_dispersion_s: short(8),
        stratum: header[1],
        reference,
        leap,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, milliseconds: i64) -> Timestamp {
        let all = seconds * 1000 + milliseconds;
        Timestamp::of_unix(all.div_euclid(1000), all.rem_euclid(1000) * 1_000_000)
    }

    /// A server that is `ahead_ms` ahead, 10 ms away each way, and takes 2 ms.
    fn reply(token: u64, ahead_ms: i64) -> Vec<u8> {
        let mut bytes = question(0).to_vec();
        bytes[0] = 4 << 3 | 4;
        bytes[1] = 2;
        bytes[4..8].copy_from_slice(&(65536u32 / 2).to_be_bytes());
        bytes[24..32].copy_from_slice(&token.to_be_bytes());
        bytes[32..40].copy_from_slice(&at(1000, 10 + ahead_ms).0.to_be_bytes());
        bytes[40..48].copy_from_slice(&at(1000, 12 + ahead_ms).0.to_be_bytes());
        bytes
    }

    #[test]
    fn four_times_tell_offset_and_delay() {
        for ahead_ms in [0, 250, -250, 86_400_000, -3_600_000] {
            let sample = answer(&reply(7, ahead_ms), 7, at(1000, 0), at(1000, 22)).unwrap();
            assert!((sample.offset_s - ahead_ms as f64 / 1000.0).abs() < 1e-6, "{sample:?}");
            assert!((sample.delay_s - 0.020).abs() < 1e-6, "{sample:?}");
            assert_eq!((sample.root_delay_s, sample.stratum), (0.5, 2));
        }
    }

    #[test]
    fn the_end_of_an_era_is_a_time_like_any_other() {
        // 2036-02-07T06:28:16Z is second 0 of era 1.
        let (before, after) = (Timestamp::of_unix(2_085_978_495, 0), Timestamp::of_unix(2_085_978_497, 0));
        assert!((after.since(before) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn an_answer_to_another_question_and_a_refusal_count_for_nothing() {
        let (sent, received) = (at(1000, 0), at(1000, 22));
        assert_eq!(answer(&reply(8, 0), 7, sent, received), Err(Refusal::Stranger));
        assert_eq!(answer(&reply(7, 0)[..47], 7, sent, received), Err(Refusal::Stranger));
        let mut kiss = reply(7, 0);
        kiss[1] = 0;
        kiss[12..16].copy_from_slice(b"RATE");
        assert_eq!(answer(&kiss, 7, sent, received), Err(Refusal::Kiss(*b"RATE")));
        let mut lost = reply(7, 0);
        lost[0] |= 0xC0;
        assert_eq!(answer(&lost, 7, sent, received), Err(Refusal::Unsynchronised));
    }
}

//! RFC 3164 after `<PRI>`, as it is found in the wild: nothing here is refused.
//!
//! Read are: `Mmm dd hh:mm:ss` with an optional year (Cisco) and fraction, RFC 3339 in its place
//! (rsyslog's RSYSLOG_ForwardFormat), a missing timestamp, a missing host name (what logger(1) and
//! libc's syslog(3) send to /dev/log), and `tag[pid]:` or `tag:`. A timestamp without a zone is UTC:
//! the sender's zone is not in the message.

use crate::record::Record;
use crate::time::{self, DAY, SECOND};

/// A message may be this far ahead of the receiver's clock before its year is taken to be the last.
const AHEAD_MAX_NS: i64 = 2 * DAY;

/// RFC 3164 section 5.3 gives a tag 32 characters; programs with longer names exist.
const TAG_BYTES_MAX: usize = 128;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Parses what follows the priority into `record`.
pub fn parse<'a>(text: &'a str, now_ns: i64, record: &mut Record<'a>) {
    let (time_ns, rest) = match timestamp(text, now_ns) {
        Some((time_ns, rest)) => (time_ns, rest),
        None => {
            // Without a timestamp there is no header: what is there is tag and message.
            return tag_and_message(text, record);
        }
    };
    record.time_ns = time_ns;
    let rest = rest.trim_start_matches(' ');
    let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
    // `tag:` or `tag[pid]:` in the host's place: the sender left the host out.
    let is_host = !first.is_empty() && !first.ends_with(':') && !first.contains('[') && !after.is_empty()
        || first.parse::<std::net::Ipv6Addr>().is_ok();
    if is_host {
        record.push("hostname", first);
        tag_and_message(after, record);
    } else {
        tag_and_message(rest, record);
    }
}

fn tag_and_message<'a>(text: &'a str, record: &mut Record<'a>) {
    let text = text.trim_start_matches(' ');
    let end = text.find(|c: char| !c.is_ascii_graphic() || matches!(c, ':' | '[')).unwrap_or(text.len());
    let (tag, rest) = text.split_at(end);
    let (process, rest) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((process, rest)) if process.len() <= TAG_BYTES_MAX => (process, rest),
        _ => ("", rest),
    };
    match rest.strip_prefix(':') {
        Some(message) if !tag.is_empty() && tag.len() <= TAG_BYTES_MAX => {
            record.push("app_name", tag);
            record.push("proc_id", process);
            record.push("_msg", message.strip_prefix(' ').unwrap_or(message));
        }
        _ => record.push("_msg", text),
    }
}

/// The timestamp at the start of `text`, and what follows it.
fn timestamp(text: &str, now_ns: i64) -> Option<(i64, &str)> {
    // Cisco marks an unsynchronised clock with '*' or '.'.
    let text = text.trim_start_matches(['*', '.', ' ']);
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let (first, rest) = text.split_once(' ')?;
        return Some((time::parse_rfc3339(first)?, rest));
    }
    let month = MONTHS.iter().position(|name| text.get(..3).is_some_and(|t| t.eq_ignore_ascii_case(name)))?;
    let mut words = Words { rest: text.get(3..)?.strip_prefix(' ')? };
    let day: i64 = words.next()?.parse().ok().filter(|d| (1..=31).contains(d))?;
    let mut clock = words.next()?;
    let mut year = None;
    if clock.len() == 4 && !clock.contains(':') {
        year = Some(clock.parse::<i64>().ok().filter(|y| (1970..=2261).contains(y))?);
        clock = words.next()?;
    }
    let of_day = clock_ns(clock.trim_end_matches(':'))?;
    let at = |year| {
        let days = time::days_from_civil(year, month as i64 + 1, day);
        let real = time::civil_from_days(days) == (year, month as i64 + 1, day);
        real.then(|| days * DAY + of_day)
    };
    let (this_year, _, _) = time::civil_from_days(now_ns.div_euclid(DAY));
    let time_ns = match year {
        Some(year) => at(year)?,
        // The year that brings it nearest to now without lying ahead; 29 February may need an older one.
        None => (this_year - 4..=this_year + 1).rev().filter_map(at).find(|t| *t <= now_ns + AHEAD_MAX_NS)?,
    };
    Some((time_ns, words.rest))
}

struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_start_matches(' ');
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// `hh:mm:ss` with an optional fraction, as nanoseconds of the day.
fn clock_ns(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let mut parts = whole.split(':').map(|part| part.parse::<i64>().ok().filter(|_| part.len() == 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut nanoseconds = 0;
    if !fraction.is_empty() {
        let digits = fraction.get(..fraction.len().min(9))?;
        nanoseconds = digits.parse::<i64>().ok()? * 10_i64.pow(9 - digits.len() as u32);
    }
    Some((hour * 3600 + minute * 60 + second) * SECOND + nanoseconds)
}

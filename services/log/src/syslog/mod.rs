//! Syslog messages to records: RFC 5424 strictly, RFC 3164 as leniently as rsyslog reads it.
//!
//! A message that says `<PRI>1 ` declares itself RFC 5424 and is held to it; what does not parse then
//! is quarantined with its reason. Everything else is read as RFC 3164, where nearly anything goes:
//! no priority means 13 (user.notice, RFC 3164 section 4.3.3), no timestamp means the time of
//! receipt, no host name means none. Limits: [`MESSAGE_BYTES_MAX`] a message.

pub mod framing;
mod rfc3164;
mod rfc5424;

use crate::json;
use crate::record::Record;

/// Largest message that is kept; the rest of a longer one is cut off, and the cut is counted. RFC
/// 5424 asks for 2 KiB, rsyslog's default is 8 KiB; journald forwards up to 48 KiB.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Facility words by number (RFC 5424 table 1, spelled as logger(1) does).
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// Level words by severity (RFC 5424 table 2, spelled as VictoriaLogs does).
const LEVELS: [&str; 8] = ["emerg", "alert", "critical", "error", "warning", "notice", "info", "debug"];

/// What a message without a priority counts as.
const PRIORITY_DEFAULT: u16 = 13;

/// What tells the streams of syslog apart.
pub const STREAM_FIELDS: [&str; 3] = ["hostname", "app_name", "proc_id"];

/// Parses one message, framing removed. `now_ns` is when it was received; it stands in for a missing
/// timestamp and settles the year of an RFC 3164 one.
///
/// # Errors
/// The reason, for the quarantine.
pub fn parse(message: &[u8], now_ns: i64) -> Result<Record<'_>, String> {
    let message = message.trim_ascii_end();
    let message = message.strip_suffix(b"\0").unwrap_or(message);
    if message.is_empty() {
        return Err("empty message".into());
    }
    let text = match std::str::from_utf8(message) {
        Ok(text) => text,
        // Latin-1 and torn characters are common in the wild; the readable part is worth keeping.
        Err(_) => return parse_lossy(message, now_ns),
    };
    parse_text(text, now_ns)
}

fn parse_lossy(message: &[u8], now_ns: i64) -> Result<Record<'static>, String> {
    let text = String::from_utf8_lossy(message);
    let record = parse_text(&text, now_ns)?;
    let fields = record.fields.into_iter();
    let fields = fields.map(|(n, v)| (n.into_owned().into(), v.into_owned().into())).collect();
    Ok(Record { time_ns: record.time_ns, fields })
}

fn parse_text(text: &str, now_ns: i64) -> Result<Record<'_>, String> {
    let (priority, rest) = priority(text)?;
    let mut record = Record::at(now_ns);
    match (priority, rest.strip_prefix("1 ")) {
        (Some(priority), Some(rest)) => {
            put_priority(&mut record, priority);
            record.push("format", "rfc5424");
            rfc5424::parse(rest, &mut record)?;
        }
        _ => {
            put_priority(&mut record, priority.unwrap_or(PRIORITY_DEFAULT));
            record.push("format", "rfc3164");
            rfc3164::parse(rest, now_ns, &mut record);
        }
    }
    record.set_stream(&STREAM_FIELDS);
    json::merge_structured(&mut record);
    Ok(record)
}

/// The number in `<…>`, and what follows it. A message that does not begin with `<` has none.
fn priority(text: &str) -> Result<(Option<u16>, &str), String> {
    let Some(rest) = text.strip_prefix('<') else { return Ok((None, text)) };
    let Some(end) = rest.find('>').filter(|end| (1..=3).contains(end)) else {
        return Err("priority is not closed by '>' after one to three digits".into());
    };
    let digits = &rest[..end];
    let number =
        digits.parse::<u16>().ok().filter(|n| *n <= 191 && digits.bytes().all(|b| b.is_ascii_digit()));
    match number {
        Some(number) => Ok((Some(number), &rest[end + 1..])),
        None => Err(format!("priority {digits:?} is not a number from 0 to 191")),
    }
}

/// Sets the fields that a priority stands for.
pub fn put_priority(record: &mut Record<'_>, priority: u16) {
    record.push("priority", priority.to_string());
    record.push("facility_keyword", FACILITIES[usize::from(priority / 8).min(FACILITIES.len() - 1)]);
    record.push("level", LEVELS[usize::from(priority % 8)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    /// 2026-11-22T09:27:48Z, the receipt of every case.
    const NOW: i64 = 1_795_339_668 * time::SECOND;

    /// The cases of a file: the message in one line, the expected record in the next, a blank line.
    /// `\xNN`, `\n` and `\\` stand for bytes.
    fn check_file(name: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/syslog").join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert!(lines.len() >= 2 && lines.len() % 2 == 0, "{name} has {} lines", lines.len());
        for case in lines.chunks(2) {
            let message = unescape(case[0]);
            assert_eq!(show(parse(&message, NOW)), case[1], "{name}: {}", case[0]);
        }
    }

    fn unescape(line: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = line.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            let (&escape, tail) = rest.split_first().unwrap();
            rest = tail;
            match escape {
                b'x' => {
                    out.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                    rest = &rest[2..];
                }
                b'n' => out.push(b'\n'),
                other => out.push(other),
            }
        }
        out
    }

    fn show(parsed: Result<Record<'_>, String>) -> String {
        let record = match parsed {
            Ok(record) => record,
            Err(reason) => return format!("! {reason}"),
        };
        let fields: Vec<_> = record
            .fields
            .iter()
            .filter(|(name, _)| !matches!(name.as_ref(), "facility_keyword" | "format" | "_stream"))
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        format!("{} {}", time::rfc3339(record.time_ns), fields.join(" "))
    }

    #[test]
    fn rfc5424_messages_are_read_as_the_rfc_says() {
        check_file("rfc5424.txt");
    }

    #[test]
    fn rfc3164_messages_are_read_leniently() {
        check_file("rfc3164.txt");
    }

    #[test]
    fn what_is_no_syslog_has_a_reason() {
        check_file("refused.txt");
    }

    #[test]
    fn a_stream_is_host_program_and_process() {
        let record = parse(b"<165>1 2026-11-22T09:00:00Z h app 7 - - hi", NOW).unwrap();
        assert_eq!(record.get("_stream"), r#"{hostname="h",app_name="app",proc_id="7"}"#);
        assert_eq!((record.get("facility_keyword"), record.get("format")), ("local4", "rfc5424"));
    }
}

//! Records of /dev/kmsg (Documentation/ABI/testing/dev-kmsg): `6,339,5140900,-;text` and, in lines
//! that begin with a space, a dictionary of `KEY=value`.

use crate::record::Record;
use crate::syslog;

/// What tells the streams of the kernel's log apart.
const STREAM_FIELDS: [&str; 2] = ["hostname", "app_name"];

/// What is known about the machine whose kernel speaks.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its host name.
    pub hostname: String,
    /// `/proc/sys/kernel/random/boot_id`: sequence numbers begin anew with each boot.
    pub boot_id: String,
    /// The wall clock at monotonic zero, in nanoseconds since the epoch.
    pub booted_ns: i64,
}

/// Parses one record as read(2) gives it. The field `kmsg.seq` is its sequence number, with which a
/// restarted reader finds its place.
///
/// # Errors
/// The reason, for the quarantine.
pub fn parse<'a>(bytes: &'a [u8], machine: &'a Machine) -> Result<Record<'a>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "kernel record is not UTF-8".to_owned())?;
    let (head, body) = text.split_once(';').ok_or("kernel record has no ';'")?;
    let mut parts = head.split(',');
    let mut number = |part: &str| {
        let text = parts.next().unwrap_or_default();
        text.parse::<u64>().map_err(|_| format!("kernel record has no {part}: {text:.32}"))
    };
    let priority = number("priority")?;
    let sequence = number("sequence number")?;
    let microseconds = number("timestamp")?;
    let since_boot = i64::try_from(microseconds).ok().and_then(|us| us.checked_mul(1000));
    let time_ns =
        since_boot.and_then(|ns| ns.checked_add(machine.booted_ns)).ok_or("timestamp is out of range")?;
    let mut record = Record::at(time_ns);
    // Facilities beyond 23 do not exist; the kernel masks them the same way.
    syslog::put_priority(&mut record, u16::try_from(priority & 0xff).unwrap_or(6).min(191));
    record.push("format", "kmsg");
    record.push("hostname", machine.hostname.as_str());
    record.push("app_name", "kernel");
    record.push("boot_id", machine.boot_id.as_str());
    record.push("kmsg.seq", sequence.to_string());
    let mut lines = body.split('\n');
    record.push("_msg", unescape(lines.next().unwrap_or_default()));
    for line in lines {
        if let Some((key, value)) = line.strip_prefix(' ').and_then(|line| line.split_once('=')) {
            record.set(format!("kmsg.{}", key.to_ascii_lowercase()), unescape(value));
        }
    }
    record.set_stream(&STREAM_FIELDS);
    Ok(record)
}

/// `\xNN` to its byte: the kernel writes what is not printable that way.
fn unescape(text: &str) -> String {
    if !text.contains("\\x") {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'\\' && tail.first() == Some(&b'x'))
            .then(|| tail.get(1..3).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(value) => {
                out.push(value);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(bytes: &[u8]) -> String {
        let machine = Machine { hostname: "vakt".into(), boot_id: "b".into(), booted_ns: 1_000_000_000_000 };
        match parse(bytes, &machine) {
            Ok(record) => {
                let fields = record.fields.iter();
                let fields = fields.filter(|(n, _)| n == "_msg" || n == "level" || n.starts_with("kmsg."));
                let fields: Vec<_> = fields.map(|(n, v)| format!("{n}={v}")).collect();
                format!("{} {}", record.time_ns, fields.join(" "))
            }
            Err(reason) => format!("! {reason}"),
        }
    }

    #[test]
    fn records_have_priority_place_time_and_dictionary() {
        assert_eq!(
            show(b"6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03\n"),
            "1005140900000 level=info kmsg.seq=339 _msg=NET: Registered kmsg.subsystem=acpi kmsg.device=+acpi:PNP0A03"
        );
        assert_eq!(
            show(b"12,7,0,c,caller=T1;tab\\x09end\\xZZ"),
            "1000000000000 level=warning kmsg.seq=7 _msg=tab\tend\\xZZ"
        );
        assert_eq!(show(b"6,x,1,-;a"), "! kernel record has no sequence number: x");
        assert_eq!(show(b"6,1,1,-"), "! kernel record has no ';'");
    }
}

//! DNS messages (RFC 1035, section 4): one question out, addresses in.

use std::net::IpAddr;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    A = 1,
    /// IPv6 (RFC 3596).
    Aaaa = 28,
}

/// Class IN.
const INTERNET: u16 = 1;

/// Header: id, flags, four counts.
const HEADER_BYTES: usize = 12;

/// The question for `name`; `None` when it is no host name (RFC 1035: labels of 1 to 63 bytes, 255 in all).
pub fn query(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut message = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    message.extend(id.to_be_bytes());
    // Recursion desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    if message.len() - HEADER_BYTES > 255 {
        return None;
    }
    message.extend((kind as u16).to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    Some(message)
}

/// The addresses in an answer; empty when the name is not known or has none of this kind. A server that
/// recurses gives the addresses behind aliases too, so every record of the kind counts.
///
/// # Errors
/// Why the answer cannot be used.
pub fn addresses(message: &[u8], id: u16, kind: Kind) -> Result<Vec<IpAddr>, String> {
    let mut reader = Reader { message, at: 0 };
    let cut = || "answer is cut short".to_owned();
    let found_id = reader.number().ok_or_else(cut)?;
    let flags = reader.number().ok_or_else(cut)?;
    let questions = reader.number().ok_or_else(cut)?;
    let answers = reader.number().ok_or_else(cut)?;
    if found_id != id || flags & 0x8000 == 0 {
        return Err("answer is not for our question".into());
    }
    match flags & 0xf {
        0 => {}
        3 => return Ok(Vec::new()),
        code => return Err(format!("answer has error code {code}")),
    }
    reader.at = HEADER_BYTES;
    for _ in 0..questions {
        reader.skip_name().and_then(|()| reader.take(4)).ok_or_else(cut)?;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        found.extend(reader.record(kind).ok_or_else(cut)?);
    }
    Ok(found)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// Names are never needed: a pointer to elsewhere ends one.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                length @ 1..=63 => drop(self.take(length.into())?),
                _ => return self.take(1).map(drop),
            }
        }
    }

    /// The next record: its address when it is of the wanted kind. Outer `None`: cut short.
    fn record(&mut self, kind: Kind) -> Option<Option<IpAddr>> {
        self.skip_name()?;
        let found_kind = self.number()?;
        let class = self.number()?;
        self.take(4)?;
        let length = self.number()?;
        let data = self.take(length.into())?;
        if found_kind != kind as u16 || class != INTERNET {
            return Some(None);
        }
        Some(match kind {
            Kind::A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            Kind::Aaaa => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_as_the_rfc_has_them() {
        let expected = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02db\x03lan\x00\x00\x1c\x00\x01";
        assert_eq!(query(7, "db.lan", Kind::Aaaa).as_deref(), Some(expected.as_slice()));
        assert_eq!(query(7, "db.lan.", Kind::Aaaa), query(7, "db.lan", Kind::Aaaa));
        for bad in ["", "a..b", &"a".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(query(7, bad, Kind::A), None, "{bad:?}");
        }
    }

    #[test]
    fn answers_are_read_whatever_is_in_them() {
        let mut answer = query(7, "db.lan", Kind::A).unwrap();
        answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        answer.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x07");
        assert_eq!(addresses(&answer, 7, Kind::A), Ok(vec!["192.0.2.7".parse().unwrap()]));
        assert_eq!(addresses(&answer, 7, Kind::Aaaa), Ok(vec![]));
        assert!(addresses(&answer, 8, Kind::A).is_err());
        for cut in 0..answer.len() {
            assert!(addresses(&answer[..cut], 7, Kind::A).is_err(), "cut at {cut}");
        }
        answer[3] = 0x83;
        assert_eq!(addresses(&answer, 7, Kind::A), Ok(vec![]), "no such name");
        answer[3] = 0x82;
        assert!(addresses(&answer, 7, Kind::A).unwrap_err().contains("error code 2"));
    }
}

//! Packets with NTS's extension fields (RFC 8915, section 5; their layout is RFC 7822's): type, length with the
//! head, bytes, padded to four.

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;

use crate::packet::HEADER_BYTES;

/// Extension fields.
const UNIQUE: u16 = 0x0104;
const COOKIE: u16 = 0x0204;
const PLACEHOLDER: u16 = 0x0304;
const SEALED: u16 = 0x0404;

/// Bytes of the nonce; SIV's synthetic vector in front of the bytes that are sealed has as many.
const NONCE_BYTES: usize = 16;

/// Bytes of what tells one packet from another.
pub const UNIQUE_BYTES: usize = 32;

/// New cookies wished for at a time beside the one that was used: a packet with more would be cut up on the way.
const PLACEHOLDERS_MAX: usize = 3;

/// Seals a question: with `cookie`, by which the server knows the key, and room for `wished` more cookies.
pub fn seal(
    header: &[u8; HEADER_BYTES],
    key: &[u8; 32],
    cookie: &[u8],
    wished: usize,
    unique: &[u8; UNIQUE_BYTES],
    nonce: &[u8; NONCE_BYTES],
) -> Option<Vec<u8>> {
    let mut packet = header.to_vec();
    packet.extend(field(UNIQUE, unique));
    packet.extend(field(COOKIE, cookie));
    for _ in 0..wished.min(PLACEHOLDERS_MAX) {
        packet.extend(field(PLACEHOLDER, &vec![0; cookie.len()]));
    }
    let sealed = Aes128Siv::new(key.into()).encrypt([&packet[..], &nonce[..]], &[]).ok()?;
    let lengths = [(NONCE_BYTES as u16).to_be_bytes(), (sealed.len() as u16).to_be_bytes()].concat();
    packet.extend(field(SEALED, &[&lengths[..], nonce, &sealed].concat()));
    Some(packet)
}

/// Opens an answer: the fresh cookies in it, or `None` when it was not made with `key` for the question that
/// `unique` tells.
pub fn open(packet: &[u8], key: &[u8; 32], unique: &[u8; UNIQUE_BYTES]) -> Option<Vec<Vec<u8>>> {
    let mut rest = packet.get(HEADER_BYTES..)?;
    let mut is_ours = false;
    loop {
        let at = packet.len() - rest.len();
        let (kind, value, next) = split(rest)?;
        match kind {
            UNIQUE => is_ours = value == unique,
            // What is behind the seal is not under it.
            SEALED if is_ours => return cookies(&unseal(&packet[..at], value, key)?),
            SEALED => return None,
            _ => {}
        }
        rest = next;
    }
}

fn unseal(before: &[u8], value: &[u8], key: &[u8; 32]) -> Option<Vec<u8>> {
    let (lengths, rest) = value.split_at_checked(4)?;
    let length = |at: usize| usize::from(u16::from_be_bytes([lengths[at], lengths[at + 1]]));
    let (nonce, rest) = rest.split_at_checked(length(0).next_multiple_of(4))?;
    let sealed = rest.get(..length(2))?;
    Aes128Siv::new(key.into()).decrypt([before, nonce.get(..length(0))?], sealed).ok()
}

fn cookies(mut plain: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while !plain.is_empty() {
        let (kind, value, next) = split(plain)?;
        if kind == COOKIE && found.len() < super::record::COOKIES_MAX {
            found.push(value.to_vec());
        }
        plain = next;
    }
    Some(found)
}

/// The first field: its type, its bytes with padding, and what is behind it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let head = bytes.first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (field, next) = bytes.split_at_checked(length).filter(|_| length >= 4)?;
    Some((u16::from_be_bytes([head[0], head[1]]), &field[4..], next))
}

fn field(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()).next_multiple_of(4);
    let mut bytes = [kind.to_be_bytes(), (length as u16).to_be_bytes()].concat();
    bytes.extend(value);
    bytes.resize(length, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::question;

    /// An answer as a server makes it.
    fn reply(key: &[u8; 32], unique: &[u8; UNIQUE_BYTES], fresh: &[&[u8]]) -> Vec<u8> {
        let mut packet = question(1).to_vec();
        packet.extend(field(UNIQUE, unique));
        let nonce = [9; NONCE_BYTES];
        let plain: Vec<u8> = fresh.iter().flat_map(|cookie| field(COOKIE, cookie)).collect();
        let sealed = Aes128Siv::new(key.into()).encrypt([&packet[..], &nonce[..]], &plain).unwrap();
        let lengths = [16u16.to_be_bytes(), (sealed.len() as u16).to_be_bytes()].concat();
        packet.extend(field(SEALED, &[&lengths[..], &nonce, &sealed].concat()));
        packet
    }

    #[test]
    fn an_answer_opens_with_its_key_only_and_only_for_its_question() {
        let (key, unique) = ([7; 32], [3; UNIQUE_BYTES]);
        let answer = reply(&key, &unique, &[b"cook", b"ie12"]);
        assert_eq!(open(&answer, &key, &unique), Some(vec![b"cook".to_vec(), b"ie12".to_vec()]));
        assert_eq!(open(&answer, &[8; 32], &unique), None);
        assert_eq!(open(&answer, &key, &[4; UNIQUE_BYTES]), None);
        for at in [0, 12, 47, HEADER_BYTES + 5, answer.len() - 1] {
            let mut changed = answer.clone();
            changed[at] ^= 1;
            assert_eq!(open(&changed, &key, &unique), None, "byte {at}");
        }
        for end in 0..answer.len() {
            assert_eq!(open(&answer[..end], &key, &unique), None);
        }
    }

    #[test]
    fn a_question_is_of_whole_words_and_carries_its_cookie() {
        let packet =
            seal(&question(5), &[7; 32], b"cookie", 9, &[3; UNIQUE_BYTES], &[9; NONCE_BYTES]).unwrap();
        assert_eq!(packet.len() % 4, 0);
        let mut kinds = Vec::new();
        let mut rest = &packet[HEADER_BYTES..];
        while let Some((kind, _, next)) = split(rest) {
            kinds.push(kind);
            rest = next;
        }
        assert_eq!(kinds, [UNIQUE, COOKIE, PLACEHOLDER, PLACEHOLDER, PLACEHOLDER, SEALED]);
    }
}

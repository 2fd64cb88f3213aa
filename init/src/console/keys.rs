//! Bytes of a terminal as keys.

/// Keys taken from one read; more is no typing.
const KEYS_MAX: usize = 256;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable ASCII character.
    Char(char),
    /// Enter.
    Enter,
    /// Backspace.
    Back,
    /// Escape, alone.
    Escape,
}

/// The keys in `bytes`. Sequences of a terminal (arrows and the like) and other control characters are passed over.
pub fn keys(bytes: &[u8]) -> Vec<Key> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let key = match byte {
            b'\r' => {
                // A terminal that sends both means one.
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                Key::Enter
            }
            b'\n' => Key::Enter,
            0x08 | 0x7F => Key::Back,
            0x1B if matches!(rest.first(), Some(b'[' | b'O')) => {
                let end = rest.iter().skip(1).position(|byte| (0x40..=0x7E).contains(byte));
                rest = end.map_or(&[][..], |end| &rest[end + 2..]);
                continue;
            }
            0x1B => Key::Escape,
            0x20..=0x7E => Key::Char(char::from(byte)),
            _ => continue,
        };
        found.push(key);
    }
    found.truncate(KEYS_MAX);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_is_read_and_what_terminals_send_besides_is_passed_over() {
        let text: Vec<Key> = "ok".chars().map(Key::Char).collect();
        assert_eq!(keys(b"ok"), text);
        assert_eq!(keys(b"\r\n\r\x7F\x08\x1B"), [Key::Enter, Key::Enter, Key::Back, Key::Back, Key::Escape]);
        assert_eq!(keys(b"\x1B[A\x1BOP\x1B[15~x\x1B[1;5"), [Key::Char('x')]);
        assert_eq!(keys(&[0, 1, 0xC3, 0xA9]), []);
    }
}

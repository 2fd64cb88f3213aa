//! The key exchange's records (RFC 8915, section 4): a type with a critical bit, a length, bytes; all big-endian.

/// Record types.
const END: u16 = 0;
const NEXT_PROTOCOL: u16 = 1;
const ERROR: u16 = 2;
const WARNING: u16 = 3;
const ALGORITHM: u16 = 4;
const COOKIE: u16 = 5;
const SERVER: u16 = 6;
const PORT: u16 = 7;

/// An unknown record with this bit ends the exchange.
const CRITICAL: u16 = 0x8000;

/// NTPv4 as the protocol, AEAD_AES_SIV_CMAC_256 as the algorithm (which every server has, section 5.1).
const NTPV4: u16 = 0;
const AES_SIV_CMAC_256: u16 = 15;

/// Cookies that are kept; servers send eight.
pub const COOKIES_MAX: usize = 8;

/// Longest cookie that is kept: a packet has to hold it.
const COOKIE_BYTES_MAX: usize = 1024;

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Another host to send packets to.
    pub server: Option<String>,
    /// Another port than 123.
    pub port: Option<u16>,
    /// Cookies.
    pub cookies: Vec<Vec<u8>>,
}

/// The request: NTPv4 with the algorithm that we have.
pub fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in
        [(NEXT_PROTOCOL, &NTPV4.to_be_bytes()[..]), (ALGORITHM, &AES_SIV_CMAC_256.to_be_bytes()), (END, &[])]
    {
        bytes.extend((kind | CRITICAL).to_be_bytes());
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
    }
    bytes
}

/// Reads an answer that has come so far: `None` while its end is not there.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn answer(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let (mut answer, mut rest) = (Answer::default(), bytes);
    let (mut protocol, mut algorithm) = (false, false);
    while let Some((head, behind)) = rest.split_at_checked(4) {
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let Some((value, next)) = behind.split_at_checked(length) else { return Ok(None) };
        let number = value.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes));
        match kind & !CRITICAL {
            END if !protocol || !algorithm => return Err("the server has no algorithm of ours".into()),
            END if answer.cookies.is_empty() => return Err("the server gave no cookie".into()),
            END => return Ok(Some(answer)),
            NEXT_PROTOCOL => protocol = number == Some(NTPV4),
            ALGORITHM => algorithm = number == Some(AES_SIV_CMAC_256),
            ERROR => return Err(format!("the server refuses with error {}", number.unwrap_or_default())),
            WARNING => {}
            COOKIE if answer.cookies.len() < COOKIES_MAX && value.len() <= COOKIE_BYTES_MAX => {
                answer.cookies.push(value.to_vec());
            }
            COOKIE => {}
            SERVER => {
                let text =
                    String::from_utf8(value.to_vec()).map_err(|_| "a server's name that is no text")?;
                let good = vakt_wire::config::TimeHost::try_from(text)?;
                answer.server = Some(good.as_str().to_owned());
            }
            PORT => answer.port = number,
            other if kind & CRITICAL != 0 => return Err(format!("unknown critical record {other}")),
            _ => {}
        }
        rest = next;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
    }

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let parts = [
            record(0x8001, &[0, 0]),
            record(0x8004, &[0, 15]),
            record(5, b"one cookie"),
            record(6, b"192.0.2.1"),
            record(7, &[0, 124]),
            record(0x4000, b"unknown"),
            record(0x8000, b""),
        ];
        let whole = parts.concat();
        let expected = Answer {
            server: Some("192.0.2.1".into()),
            port: Some(124),
            cookies: vec![b"one cookie".to_vec()],
        };
        assert_eq!(answer(&whole), Ok(Some(expected)));
        for end in 0..whole.len() {
            assert_eq!(answer(&whole[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn a_refusal_and_what_is_not_understood_end_it() {
        assert!(answer(&record(0x8002, &[0, 1])).unwrap_err().contains("error 1"));
        assert!(answer(&record(0xC000, b"")).unwrap_err().contains("critical"));
        let other = [record(0x8001, &[0, 0]), record(0x8004, &[]), record(0x8000, b"")].concat();
        assert!(answer(&other).unwrap_err().contains("no algorithm"));
        assert_eq!(request().len(), 16);
    }
}

//! The age file format, version 1, with a passphrase (C2SP age.md): so that a backup can be opened by other programs than
//! ours. Streaming both ways; nothing of a chunk is given out before its tag was checked.

use std::io::{self, Read, Write};

use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use vakt_wire::base64;

use crate::machine::identity;

const INTRO: &str = "age-encryption.org/v1";
const LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// scrypt's cost: 2^15 is 32 MiB and some tenths of a second on a small box. Files of other programs may cost twice
/// as much; more would let a file use up a small box' memory.
const LOG_N: u8 = 15;
const LOG_N_MAX: u8 = 16;

/// Plain bytes of a chunk, and what its tag adds.
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;

/// A header with one recipient is 150 bytes.
const HEADER_BYTES_MAX: usize = 1024;

fn broken(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(*key))
}

fn wrap_key(passphrase: &str, salt: &[u8], log_n: u8) -> io::Result<[u8; 32]> {
    let parameters = scrypt::Params::new(log_n, 8, 1).map_err(|error| broken(&error.to_string()))?;
    let mut key = [0; 32];
    scrypt::scrypt(passphrase.as_bytes(), &[LABEL, salt].concat(), &parameters, &mut key)
        .map_err(|error| broken(&error.to_string()))?;
    Ok(key)
}

fn derive(file_key: &[u8], salt: &[u8], info: &str) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    let hkdf = Hkdf::<Sha256>::new(Some(salt), file_key);
    hkdf.expand(info.as_bytes(), &mut key).map_err(|error| broken(&error.to_string()))?;
    Ok(key)
}

fn header_mac(file_key: &[u8], header: &[u8]) -> io::Result<Hmac<Sha256>> {
    let key = derive(file_key, &[], "header")?;
    let mut mac =
        <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&key).map_err(|error| broken(&error.to_string()))?;
    mac.update(header);
    Ok(mac)
}

/// The nonce of a chunk: its number, and whether it is the last.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::from(bytes)
}

fn unpadded(bytes: &[u8]) -> String {
    base64::encode(bytes).trim_end_matches('=').to_owned()
}

fn from_unpadded(text: &str) -> Option<Vec<u8>> {
    let padding = "=".repeat((4 - text.len() % 4) % 4);
    base64::decode(format!("{text}{padding}").as_bytes()).filter(|bytes| unpadded(bytes) == text)
}

/// Encrypts what is written to it. Nothing is a file before [`Sealer::finish`].
pub struct Sealer<W> {
    out: W,
    cipher: ChaCha20Poly1305,
    plain: Vec<u8>,
    number: u64,
}

impl<W: Write> Sealer<W> {
    /// Begins a file that this passphrase opens.
    ///
    /// # Errors
    /// When the header cannot be written, or the kernel gives no random bytes.
    pub fn new(mut out: W, passphrase: &str) -> io::Result<Sealer<W>> {
        let salt = identity::random::<16>().map_err(io::Error::other)?;
        let file_key = identity::random::<16>().map_err(io::Error::other)?;
        let payload_nonce = identity::random::<16>().map_err(io::Error::other)?;
        let wrapped = cipher(&wrap_key(passphrase, &salt, LOG_N)?)
            .encrypt(&Nonce::from([0; 12]), &file_key[..])
            .map_err(|_| broken("cannot encrypt"))?;
        let header = format!("{INTRO}\n-> scrypt {} {LOG_N}\n{}\n---", unpadded(&salt), unpadded(&wrapped));
        let mac = header_mac(&file_key, header.as_bytes())?.finalize().into_bytes();
        out.write_all(format!("{header} {}\n", unpadded(&mac)).as_bytes())?;
        out.write_all(&payload_nonce)?;
        let cipher = cipher(&derive(&file_key, &payload_nonce, "payload")?);
        Ok(Sealer { out, cipher, plain: Vec::with_capacity(CHUNK), number: 0 })
    }

    /// Writes the last chunk and returns what was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.chunk(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn chunk(&mut self, is_last: bool) -> io::Result<()> {
        let sealed = self.cipher.encrypt(&nonce(self.number, is_last), &self.plain[..]);
        self.out.write_all(&sealed.map_err(|_| broken("cannot encrypt"))?)?;
        self.plain.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk is written only when more follows: the last one must be marked.
        if self.plain.len() == CHUNK {
            self.chunk(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts a file.
pub struct Opener<R> {
    source: R,
    cipher: ChaCha20Poly1305,
    plain: Vec<u8>,
    at: usize,
    /// The first byte of the chunk to come, read to know whether there is one.
    ahead: Vec<u8>,
    number: u64,
    is_over: bool,
}

impl<R: Read> Opener<R> {
    /// Reads the header and checks the passphrase.
    ///
    /// # Errors
    /// With the reason: no such file, another way of encryption, a wrong passphrase, a changed header.
    pub fn new(mut source: R, passphrase: &str) -> io::Result<Opener<R>> {
        let mut header = Vec::new();
        while !header.ends_with(b"\n") || !last_line(&header).starts_with(b"---") {
            let mut byte = [0];
            source.read_exact(&mut byte).map_err(|_| broken("the file is no backup, or is cut off"))?;
            header.push(byte[0]);
            if header.len() > HEADER_BYTES_MAX {
                return Err(broken("the file is no backup"));
            }
        }
        let text = String::from_utf8(header).map_err(|_| broken("the file is no backup"))?;
        let file_key = file_key(&text, passphrase)?;
        let mut payload_nonce = [0; 16];
        source.read_exact(&mut payload_nonce).map_err(|_| broken("the file is cut off"))?;
        let cipher = cipher(&derive(&file_key, &payload_nonce, "payload")?);
        Ok(Opener { source, cipher, plain: Vec::new(), at: 0, ahead: Vec::new(), number: 0, is_over: false })
    }

    fn chunk(&mut self) -> io::Result<()> {
        let mut sealed = std::mem::take(&mut self.ahead);
        let wanted = (CHUNK + TAG + 1 - sealed.len()) as u64;
        self.source.by_ref().take(wanted).read_to_end(&mut sealed)?;
        let is_last = sealed.len() <= CHUNK + TAG;
        if !is_last {
            self.ahead = sealed.split_off(CHUNK + TAG);
        }
        let opened = self.cipher.decrypt(&nonce(self.number, is_last), &sealed[..]);
        self.plain = opened.map_err(|_| broken("the file is cut off or was changed"))?;
        if self.plain.is_empty() && self.number > 0 {
            return Err(broken("the file ends in an empty chunk"));
        }
        self.at = 0;
        self.number += 1;
        self.is_over = is_last;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if self.is_over {
                return Ok(0);
            }
            self.chunk()?;
        }
        let taken = bytes.len().min(self.plain.len() - self.at);
        bytes[..taken].copy_from_slice(&self.plain[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn last_line(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.rsplit(|byte| *byte == b'\n').next().unwrap_or(text)
}

/// The key in a header with one scrypt recipient, when the passphrase and the header's own tag are right.
fn file_key(header: &str, passphrase: &str) -> io::Result<Vec<u8>> {
    let lines: Vec<&str> = header.lines().collect();
    let [INTRO, recipient, body, last] = lines[..] else {
        return Err(broken("the file is no backup, or not encrypted by a passphrase"));
    };
    let words: Vec<&str> = recipient.split(' ').collect();
    let ["->", "scrypt", salt, log_n] = words[..] else {
        return Err(broken("the file is not encrypted by a passphrase"));
    };
    let log_n: u8 = log_n.parse().map_err(|_| broken("the file's header is broken"))?;
    if !(1..=LOG_N_MAX).contains(&log_n) {
        return Err(broken("opening this file takes more memory than a box spends on it"));
    }
    let decoded = (from_unpadded(salt), from_unpadded(body), from_unpadded(last.trim_start_matches("--- ")));
    let (Some(salt), Some(body), Some(tag)) = decoded else {
        return Err(broken("the file's header is broken"));
    };
    let opened = cipher(&wrap_key(passphrase, &salt, log_n)?).decrypt(&Nonce::from([0; 12]), &body[..]);
    let key = opened.map_err(|_| broken("the passphrase is wrong"))?;
    let until = header.rfind("---").unwrap_or(0) + 3;
    let right = header_mac(&key, &header.as_bytes()[..until])?.verify_slice(&tag);
    right.map_err(|_| broken("the file's header was changed"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(Vec::new(), "a good passphrase").unwrap();
        sealer.write_all(plain).unwrap();
        sealer.finish().unwrap()
    }

    fn opened(file: &[u8], passphrase: &str) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        let mut opener = Opener::new(file, passphrase).map_err(|error| error.to_string())?;
        opener.read_to_end(&mut plain).map_err(|error| error.to_string())?;
        Ok(plain)
    }

    #[test]
    fn what_was_sealed_is_opened_whatever_its_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            assert!(opened(&sealed(&plain), "a good passphrase") == Ok(plain), "{length}");
        }
    }

    #[test]
    fn a_wrong_passphrase_a_cut_and_a_change_are_refused_with_the_reason() {
        let file = sealed(&vec![7; CHUNK + 100]);
        assert_eq!(opened(&file, "another").unwrap_err(), "the passphrase is wrong");
        assert_eq!(opened(b"hello", "x").unwrap_err(), "the file is no backup, or is cut off");
        let body = file.len() - (CHUNK + 100 + 2 * TAG);
        for cut in [body - 20, body + 5, body + CHUNK + TAG, file.len() - 1] {
            let said = opened(&file[..cut], "a good passphrase").unwrap_err();
            assert!(said.contains("cut off"), "{cut}: {said}");
        }
        for at in [40, body + 3, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, "a good passphrase").is_err(), "{at}");
        }
        let longer = [&file[..], b"x"].concat();
        assert!(opened(&longer, "a good passphrase").is_err());
    }
}

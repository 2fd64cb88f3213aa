//! Unpacking of bodies, never past a bound.

use std::io::Read;

/// Largest body when it is unpacked. Prometheus sends 2,000 samples (some 400 KiB) at a time.
pub const UNPACKED_BYTES_MAX: usize = 32 << 20;

/// Largest body as it comes; snappy's worst case adds a sixth.
pub const PACKED_BYTES_MAX: usize = UNPACKED_BYTES_MAX / 6 * 7;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// Snappy's block format.
    Snappy,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Why a body cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not snappy's block format.
    #[error("body is not snappy: {0}")]
    Snappy(#[from] snap::Error),
    /// Neither gzip nor zstd, whatever it said.
    #[error("body is not {0}: {1}")]
    Broken(&'static str, std::io::Error),
    /// More than [`UNPACKED_BYTES_MAX`].
    #[error("body unpacks to more than {UNPACKED_BYTES_MAX} bytes; send it in parts")]
    TooLarge,
    /// A packing that is not spoken here.
    #[error("content-encoding {0:?} is not taken; send snappy, zstd, gzip or identity")]
    Unknown(String),
}

impl Packing {
    /// The packing that a `content-encoding` names; `absent` where there is none.
    ///
    /// # Errors
    /// [`BodyError::Unknown`].
    pub fn of(header: Option<&str>, absent: Packing) -> Result<Packing, BodyError> {
        match header.map(|name| name.trim().to_ascii_lowercase()).as_deref() {
            None | Some("") => Ok(absent),
            Some("identity") => Ok(Packing::Plain),
            Some("snappy") => Ok(Packing::Snappy),
            Some("gzip" | "x-gzip") => Ok(Packing::Gzip),
            Some("zstd") => Ok(Packing::Zstd),
            Some(other) => Err(BodyError::Unknown(other.into())),
        }
    }

    /// Unpacks `body` into `out`, in place of what it held.
    ///
    /// # Errors
    /// [`BodyError`]; `out` holds no more than the bound then.
    pub fn unpack(self, body: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        out.clear();
        match self {
            Packing::Plain if body.len() > UNPACKED_BYTES_MAX => return Err(BodyError::TooLarge),
            Packing::Plain => out.extend_from_slice(body),
            Packing::Snappy => {
                let length = snap::raw::decompress_len(body)?;
                if length > UNPACKED_BYTES_MAX {
                    return Err(BodyError::TooLarge);
                }
                out.resize(length, 0);
                snap::raw::Decoder::new().decompress(body, out)?;
            }
            Packing::Gzip => read("gzip", flate2::read::MultiGzDecoder::new(body), out)?,
            Packing::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(body);
                let mut decoder = decoder.map_err(|error| BodyError::Broken("zstd", error))?;
                // A frame may ask for a window as large as it likes; 2^25 is what a body can fill.
                decoder.window_log_max(25).map_err(|error| BodyError::Broken("zstd", error))?;
                read("zstd", decoder, out)?;
            }
        }
        Ok(())
    }
}

fn read(name: &'static str, from: impl Read, out: &mut Vec<u8>) -> Result<(), BodyError> {
    let bound = UNPACKED_BYTES_MAX as u64 + 1;
    from.take(bound).read_to_end(out).map_err(|error| BodyError::Broken(name, error))?;
    if out.len() > UNPACKED_BYTES_MAX { Err(BodyError::TooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const ALL: [Packing; 4] = [Packing::Plain, Packing::Snappy, Packing::Gzip, Packing::Zstd];

    fn pack(packing: Packing, body: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Plain => body.to_vec(),
            Packing::Snappy => snap::raw::Encoder::new().compress_vec(body).unwrap(),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zstd => zstd::bulk::compress(body, 1).unwrap(),
        }
    }

    #[test]
    fn every_packing_is_undone_and_none_goes_past_the_bound() {
        let mut out = Vec::new();
        for packing in ALL {
            let check =
                |length, out: &mut Vec<u8>| packing.unpack(&pack(packing, &vec![7; length]), out).is_ok();
            assert!(check(100_000, &mut out) && out.len() == 100_000, "{packing:?}");
            assert!(check(UNPACKED_BYTES_MAX, &mut out) && out.len() == UNPACKED_BYTES_MAX, "{packing:?}");
            assert!(
                !check(UNPACKED_BYTES_MAX + 1, &mut out) && out.len() <= UNPACKED_BYTES_MAX + 1,
                "{packing:?}"
            );
        }
    }

    #[test]
    fn packings_have_names() {
        let check = |name, expected| assert_eq!(Packing::of(name, Packing::Plain).ok(), expected, "{name:?}");
        check(None, Some(Packing::Plain));
        check(Some("Snappy"), Some(Packing::Snappy));
        check(Some("gzip"), Some(Packing::Gzip));
        check(Some("zstd"), Some(Packing::Zstd));
        check(Some("br"), None);
    }

    proptest! {
        #[test]
        fn no_body_makes_an_unpacker_panic(body: Vec<u8>, cut: prop::sample::Index) {
            let mut out = Vec::new();
            for packing in ALL {
                let _ = packing.unpack(&body, &mut out);
                let packed = pack(packing, &body);
                let _ = packing.unpack(&packed[..cut.index(packed.len() + 1)], &mut out);
            }
        }
    }
}

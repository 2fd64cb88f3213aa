//! Protobuf's wire form, as far as remote-write needs it: varint, fixed64, length-delimited, fixed32.
//!
//! The reader borrows from the message, never allocates and never panics; groups (wire types 3 and 4),
//! which no Prometheus message uses, are refused.

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// A field is longer than what is left of the message.
    #[error("message ends inside a field")]
    Short,
    /// A varint of more than 64 bits.
    #[error("varint is longer than 10 bytes")]
    Varint,
    /// A wire type that no message of ours has.
    #[error("wire type {0} is not used by remote-write")]
    WireType(u8),
    /// A known field with another wire type than its definition says.
    #[error("field {0} has the wrong wire type")]
    Field(u64),
}

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: bytes, text or a message.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Reads the fields of one message from front to back.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// A reader over one whole message.
    pub fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field's number and value, or `None` at the end.
    ///
    /// # Errors
    /// [`ProtobufError`] when the bytes are no field.
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Short)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(ProtobufError::WireType(other as u8)),
        };
        Ok(Some((key >> 3, value)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let (value, length) = varint(self.rest)?;
        self.rest = &self.rest[length..];
        Ok(value)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ProtobufError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// The varint at the start of `bytes`, and its length.
///
/// # Errors
/// [`ProtobufError::Short`] when it does not end, [`ProtobufError::Varint`] past 10 bytes.
#[inline]
pub fn varint(bytes: &[u8]) -> Result<(u64, usize), ProtobufError> {
    if let Some(&first) = bytes.first()
        && first < 0x80
    {
        return Ok((first.into(), 1));
    }
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, index + 1));
        }
    }
    Err(if bytes.len() < 10 { ProtobufError::Short } else { ProtobufError::Varint })
}

/// Appends a varint.
#[inline]
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed number as an unsigned one with small magnitudes first.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_wire_type_is_read_and_groups_are_refused() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let mut fields = Fields::new(&bytes);
        assert_eq!(fields.next(), Ok(Some((1, Value::Varint(150)))));
        assert_eq!(fields.next(), Ok(Some((2, Value::Bytes(b"hi")))));
        assert_eq!(fields.next(), Ok(Some((3, Value::Fixed32(1)))));
        assert_eq!(fields.next(), Ok(Some((4, Value::Fixed64(2)))));
        assert_eq!(fields.next(), Ok(None));
        assert_eq!(Fields::new(&[0x0b]).next(), Err(ProtobufError::WireType(3)));
        assert_eq!(Fields::new(&[0x12, 5, 1]).next(), Err(ProtobufError::Short));
        assert_eq!(Fields::new(&[0xff; 11]).next(), Err(ProtobufError::Varint));
    }

    proptest! {
        #[test]
        fn varints_and_zigzag_come_back(value: i64) {
            let mut bytes = Vec::new();
            put_varint(zigzag(value), &mut bytes);
            let (read, length) = varint(&bytes).unwrap();
            prop_assert_eq!((unzigzag(read), length), (value, bytes.len()));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let mut fields = Fields::new(&bytes);
            while let Ok(Some(_)) = fields.next() {}
        }
    }
}

//! Bounded little-endian reading and writing, the only place where integers change width.

use crate::error::{Error, Result};

const _: () = assert!(size_of::<usize>() == size_of::<u64>(), "vdb needs a 64-bit platform");

/// A length or index in memory as the `u64` that is stored.
pub(crate) fn to_u64(value: usize) -> u64 {
    value as u64
}

/// A stored `u64` as a length or index in memory; the same width by the assertion above.
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits, asserted above")]
pub(crate) fn to_usize(value: u64) -> usize {
    value as usize
}

/// Reads little-endian values from bytes that are not trusted; every read is bounded.
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`; `what` names the structure in errors.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { what, bytes, position: 0 }
    }

    /// The next `n` bytes.
    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.position.checked_add(n);
        let taken = end.and_then(|end| Some((end, self.bytes.get(self.position..end)?)));
        let (end, taken) = taken.ok_or_else(|| {
            let left = self.bytes.len() - self.position;
            Error::corrupt(self.what, to_u64(self.position), format!("{n} bytes expected, {left} left"))
        })?;
        self.position = end;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

/// The little-endian `u32` at `offset`, or `None` past the end.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let slice = bytes.get(offset..offset.checked_add(size_of::<u32>())?)?;
    Some(u32::from_le_bytes(slice.try_into().ok()?))
}

/// The little-endian `u64` at `offset`, or `None` past the end.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let slice = bytes.get(offset..offset.checked_add(size_of::<u64>())?)?;
    Some(u64::from_le_bytes(slice.try_into().ok()?))
}

/// The big-endian key of a row in a table whose order is the order of numbers.
#[expect(
    clippy::big_endian_bytes,
    reason = "keys sort as bytes, so their order must be the order of numbers"
)]
pub(crate) fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number of a [`key`], or `None` when it has another length.
#[expect(clippy::big_endian_bytes, reason = "the inverse of `key`")]
pub(crate) fn key_number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_stops_at_the_end() {
        let mut reader = Reader::new("test", &[2, 0, 0, 0, 9]);
        assert_eq!(reader.u32().unwrap(), 2);
        let error = reader.u64().unwrap_err();
        assert_eq!(error.to_string(), "test is damaged at byte 4: 8 bytes expected, 1 left");
        assert_eq!(reader.bytes(1).unwrap(), [9]);
    }

    #[test]
    fn keys_sort_as_numbers() {
        assert!(key(255) < key(256));
        assert_eq!(key_number(&key(77)), Some(77));
        assert_eq!(key_number(b"short"), None);
    }
}

//! Batches: copies of a region, sent by a guest whose memory the host cannot read. See `FORMAT.md`,
//! section 5.
//!
//! ```
//! use wasmetry_abi::batch::{Batch, Head};
//!
//! let (base, header) = (4096, 4096);
//! let head = Head { first: true, last: true, region: 1, sequence: 0, base, len: 64, header };
//! let piece = [4096u64, 8, 42];
//! let bytes: Vec<u8> = head.words().into_iter().chain(piece).flat_map(u64::to_le_bytes).collect();
//!
//! let batch = Batch::decode(&bytes)?;
//! assert_eq!(batch.head, head);
//! assert_eq!(batch.pieces().collect::<Vec<_>>(), [(4096, &42u64.to_le_bytes()[..])]);
//! # Ok::<(), wasmetry_abi::DecodeError>(())
//! ```

use crate::codec::Reader;
use crate::{DecodeError, VERSION};

/// The first four bytes of a batch: `wmtb`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"wmtb");

/// 8-byte words in a batch's head.
pub const HEAD_WORDS: usize = 6;

/// 8-byte words before a piece's bytes: its address and its length.
pub const PIECE_WORDS: usize = 2;

/// The flag of a batch that begins a push.
const FIRST: u16 = 1;

/// The flag of a batch that ends a push.
const LAST: u16 = 2;

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// `true` in the first batch of a push.
    pub first: bool,
    /// `true` in the last batch of a push; before it the host has an incomplete copy.
    pub last: bool,
    /// The region's number, from the host's answer to `open`.
    pub region: u32,
    /// The batch's sequence number in its region, from 0.
    pub sequence: u64,
    /// The lowest address of the region.
    pub base: u64,
    /// Bytes from `base` to the region's end.
    pub len: u64,
    /// The address of the region's header.
    pub header: u64,
}

impl Head {
    /// Returns the head's words. In a batch each is little-endian.
    pub const fn words(&self) -> [u64; HEAD_WORDS] {
        let flags = if self.first { FIRST } else { 0 } | if self.last { LAST } else { 0 };
        let first = MAGIC as u64 | (VERSION as u64) << 32 | (flags as u64) << 48;
        [first, self.region as u64, self.sequence, self.base, self.len, self.header]
    }
}

/// A decoded batch.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// The batch's head.
    pub head: Head,
    pieces: Reader<'a>,
}

impl<'a> Batch<'a> {
    /// Decodes a batch.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not a batch of this version, or if a piece lies outside
    /// the region.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? != MAGIC {
            return Err(DecodeError::Field("magic"));
        }
        let version = reader.u16()?;
        if u32::from(version) != VERSION {
            return Err(DecodeError::Version(u8::try_from(version).unwrap_or(u8::MAX)));
        }
        let flags = reader.u16()?;
        let region = reader.u32()?;
        if flags & !(FIRST | LAST) != 0 || reader.u32()? != 0 {
            return Err(DecodeError::Field("reserved"));
        }
        let head = Head {
            first: flags & FIRST != 0,
            last: flags & LAST != 0,
            region,
            sequence: reader.u64()?,
            base: reader.u64()?,
            len: reader.u64()?,
            header: reader.u64()?,
        };
        let batch = Self { head, pieces: reader };
        let mut pieces = batch.pieces.clone();
        while !pieces.is_empty() {
            let (address, bytes) = piece(&mut pieces)?;
            let end = address.checked_sub(head.base).and_then(|start| start.checked_add(bytes.len() as u64));
            if end.is_none_or(|end| end > head.len) {
                return Err(DecodeError::Field("piece"));
            }
        }
        Ok(batch)
    }

    /// Iterates over the pieces: an address and the bytes at it. All of them lie in the region.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let mut reader = self.pieces.clone();
        // `decode` has read every piece, so this cannot fail.
        core::iter::from_fn(move || if reader.is_empty() { None } else { piece(&mut reader).ok() })
    }
}

fn piece<'a>(reader: &mut Reader<'a>) -> Result<(u64, &'a [u8]), DecodeError> {
    let (address, len) = (reader.u64()?, reader.u64()?);
    if !len.is_multiple_of(8) {
        return Err(DecodeError::Field("length"));
    }
    Ok((address, reader.bytes(usize::try_from(len).map_err(|_| DecodeError::Truncated)?)?))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    const HEAD: Head = Head { first: true, last: true, region: 7, sequence: 3, base: 1024, len: 64, header: 1024 };

    fn batch(head: Head, pieces: &[u64]) -> Vec<u8> {
        head.words().iter().chain(pieces).flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn truncated_or_flipped_bytes_never_panic() {
        let bytes = batch(HEAD, &[1024, 16, 1, 2, 1080, 8, 3]);
        assert_eq!(Batch::decode(&bytes).unwrap().pieces().count(), 2);
        for end in 0..bytes.len() {
            // A batch without its last pieces is valid too.
            let is_whole = end == 48 || end == 80;
            assert_eq!(Batch::decode(&bytes[..end]).is_ok(), is_whole, "{end}");
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let Ok(batch) = Batch::decode(&bytes) else { continue };
                for (address, piece) in batch.pieces() {
                    assert!(address - batch.head.base + piece.len() as u64 <= batch.head.len);
                }
            }
        }
    }

    #[test]
    fn piece_outside_region_is_rejected() {
        let outside = [[1016, 8, 1], [1088, 8, 1], [u64::MAX - 7, 8, 1], [1024, u64::MAX - 7, 1], [1024, 4, 1]];
        for piece in outside {
            assert!(Batch::decode(&batch(HEAD, &piece)).is_err(), "{piece:?}");
        }
        assert!(Batch::decode(&batch(HEAD, &[1080, 8, 1])).is_ok());
    }

    #[test]
    fn other_version_is_an_error() {
        let mut bytes = batch(HEAD, &[]);
        bytes[4] = 2;
        assert_eq!(Batch::decode(&bytes).unwrap_err(), DecodeError::Version(2));
    }
}

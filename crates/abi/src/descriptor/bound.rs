//! The bucket bounds of a histogram.

use crate::DecodeError;
use crate::codec::{Reader, Writer};

/// The list of bucket bounds in a descriptor, built or decoded.
#[derive(Clone, Copy, Debug)]
pub(super) enum BoundList<'a> {
    Listed(&'a [f64]),
    Encoded(&'a [u8]),
}

impl<'a> BoundList<'a> {
    pub(super) const fn iter(self) -> Bounds<'a> {
        Bounds { list: self }
    }

    pub(super) const fn encoded_len(self) -> usize {
        match self {
            Self::Listed(bounds) => 2 + 8 * bounds.len(),
            Self::Encoded(bytes) => 2 + bytes.len(),
        }
    }

    pub(super) const fn encode<const N: usize>(self, out: &mut Writer<N>) {
        match self {
            Self::Listed(bounds) => {
                assert!(bounds.len() <= u16::MAX as usize, "a histogram has at most 65535 bounds");
                out.u16(bounds.len() as u16);
                let mut i = 0;
                while i < bounds.len() {
                    out.f64(bounds[i]);
                    i += 1;
                }
            }
            Self::Encoded(_) => panic!("a decoded descriptor cannot be encoded"),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.u16()?;
        Ok(Self::Encoded(reader.bytes(8 * usize::from(count))?))
    }
}

/// An iterator over the bucket bounds of a descriptor, in rising order.
#[derive(Clone, Debug)]
pub struct Bounds<'a> {
    list: BoundList<'a>,
}

impl Iterator for Bounds<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        match &mut self.list {
            BoundList::Listed(bounds) => {
                let (first, rest) = bounds.split_first()?;
                *bounds = rest;
                Some(*first)
            }
            BoundList::Encoded(bytes) => {
                let (first, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(f64::from_bits(u64::from_le_bytes(*first)))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match self.list {
            BoundList::Listed(bounds) => bounds.len(),
            BoundList::Encoded(bytes) => bytes.len() / 8,
        };
        (len, Some(len))
    }
}

impl ExactSizeIterator for Bounds<'_> {}

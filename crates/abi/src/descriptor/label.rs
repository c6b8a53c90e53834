//! The labels of a metric whose values differ from series to series.

use super::consumed;
use crate::codec::{Reader, Writer};
use crate::{DecodeError, Strings};

/// The values that a label can have. The shape determines the positions of the label's series.
#[derive(Clone, Copy, Debug)]
pub enum LabelShape<'a> {
    /// The listed values. A value's position is its index.
    Values(LabelValues<'a>),
    /// The integers below a bound. A value is its own position, and the bound is the position of
    /// the overflow series.
    Below(u32),
    /// Texts, interned in a table of the entry. A value's position is its slot, and `capacity` is
    /// the position of the overflow series.
    Text {
        /// The number of slots in the table.
        capacity: u32,
        /// The maximum length of a value in bytes; a multiple of 4.
        max_len: u32,
    },
}

/// The values of a [`LabelShape::Values`].
#[derive(Clone, Copy, Debug)]
pub struct LabelValues<'a> {
    source: LabelValuesSource<'a>,
}

#[derive(Clone, Copy, Debug)]
enum LabelValuesSource<'a> {
    Listed(&'a [&'a str]),
    Encoded { count: u32, bytes: &'a [u8] },
}

impl<'a> LabelValues<'a> {
    /// The number of values.
    pub const fn count(&self) -> u32 {
        match self.source {
            LabelValuesSource::Listed(values) => values.len() as u32,
            LabelValuesSource::Encoded { count, .. } => count,
        }
    }

    /// Iterates over the values, by position.
    pub fn iter(&self) -> Strings<'a> {
        match self.source {
            LabelValuesSource::Listed(values) => Strings::listed(values),
            LabelValuesSource::Encoded { bytes, .. } => Strings::encoded(Reader::new(bytes)),
        }
    }
}

impl<'a> LabelShape<'a> {
    /// A shape with these values.
    pub const fn values(values: &'a [&'a str]) -> Self {
        Self::Values(LabelValues { source: LabelValuesSource::Listed(values) })
    }

    const fn encoded_len(&self) -> usize {
        match self {
            Self::Values(values) => match values.source {
                LabelValuesSource::Listed(values) => {
                    let mut len = 1 + 4;
                    let mut i = 0;
                    while i < values.len() {
                        len += 2 + values[i].len();
                        i += 1;
                    }
                    len
                }
                LabelValuesSource::Encoded { bytes, .. } => 1 + 4 + bytes.len(),
            },
            Self::Below(_) => 1 + 4,
            Self::Text { .. } => 1 + 4 + 4,
        }
    }

    const fn encode<const N: usize>(&self, out: &mut Writer<N>) {
        match self {
            LabelShape::Values(values) => match values.source {
                LabelValuesSource::Listed(values) => {
                    out.u8(0);
                    out.u32(values.len() as u32);
                    let mut i = 0;
                    while i < values.len() {
                        out.text(values[i]);
                        i += 1;
                    }
                }
                LabelValuesSource::Encoded { .. } => panic!("a decoded descriptor cannot be encoded"),
            },
            LabelShape::Below(bound) => {
                out.u8(1);
                out.u32(*bound);
            }
            LabelShape::Text { capacity, max_len } => {
                out.u8(2);
                out.u32(*capacity);
                out.u32(*max_len);
            }
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            0 => {
                let count = reader.u32()?;
                let start = reader.rest();
                for _ in 0..count {
                    reader.text()?;
                }
                let bytes = consumed(start, reader.rest());
                LabelShape::Values(LabelValues { source: LabelValuesSource::Encoded { count, bytes } })
            }
            1 => LabelShape::Below(reader.u32()?),
            2 => {
                let (capacity, max_len) = (reader.u32()?, reader.u32()?);
                if !max_len.is_multiple_of(4) {
                    return Err(DecodeError::Field("max_len"));
                }
                LabelShape::Text { capacity, max_len }
            }
            _ => return Err(DecodeError::Field("label shape")),
        })
    }
}

/// One label of a metric: its key and the shape of its values.
#[derive(Clone, Copy, Debug)]
pub struct LabelSpec<'a> {
    /// The label's key.
    pub key: &'a str,
    /// The values that the label can have.
    pub shape: LabelShape<'a>,
}

impl<'a> LabelSpec<'a> {
    /// Builds a label for a declaration.
    ///
    /// # Panics
    ///
    /// Panics (at compile time, in a constant) if the label can have no value, or if `max_len` is
    /// not a multiple of 4.
    #[track_caller]
    pub const fn new(key: &'a str, shape: LabelShape<'a>) -> Self {
        match shape {
            LabelShape::Below(0) => panic!("a label `Below<0>` has no values: write how many there are"),
            LabelShape::Text { capacity: 0, .. } => {
                panic!("a label `Text<0>` has no values: write how many there may be")
            }
            LabelShape::Text { max_len, .. } if !max_len.is_multiple_of(4) => {
                panic!("the longest value of a label `Text<N, LEN>` has a multiple of 4 bytes")
            }
            LabelShape::Values(_) | LabelShape::Below(_) | LabelShape::Text { .. } => Self { key, shape },
        }
    }

    /// Pairs keys with the shapes of their values, for a declaration. A key without a shape has one
    /// position; [`Descriptor::check`](crate::Descriptor::check) reports it.
    pub const fn list<const N: usize>(keys: &[&'a str], shapes: &[LabelShape<'a>]) -> [Self; N] {
        let mut labels = [Self { key: "", shape: LabelShape::Below(1) }; N];
        let mut i = 0;
        while i < N && i < keys.len() {
            labels[i].key = keys[i];
            if i < shapes.len() {
                labels[i].shape = shapes[i];
            }
            i += 1;
        }
        labels
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { key: reader.text()?, shape: LabelShape::decode(reader)? })
    }
}

/// The list of labels in a descriptor, built or decoded.
#[derive(Clone, Copy, Debug)]
pub(super) enum LabelList<'a> {
    Listed(&'a [LabelSpec<'a>]),
    Encoded { count: u8, bytes: &'a [u8] },
}

impl<'a> LabelList<'a> {
    pub(super) const fn iter(self) -> Labels<'a> {
        match self {
            Self::Listed(labels) => Labels { source: LabelsSource::Listed(labels) },
            Self::Encoded { count, bytes } => {
                Labels { source: LabelsSource::Encoded { left: count, reader: Reader::new(bytes) } }
            }
        }
    }

    pub(super) const fn encoded_len(self) -> usize {
        match self {
            Self::Listed(labels) => {
                let mut len = 1;
                let mut i = 0;
                while i < labels.len() {
                    len += 2 + labels[i].key.len() + labels[i].shape.encoded_len();
                    i += 1;
                }
                len
            }
            Self::Encoded { bytes, .. } => 1 + bytes.len(),
        }
    }

    pub(super) const fn encode<const N: usize>(self, out: &mut Writer<N>) {
        match self {
            Self::Listed(labels) => {
                assert!(labels.len() <= u8::MAX as usize, "a metric has at most 255 labels");
                out.u8(labels.len() as u8);
                let mut i = 0;
                while i < labels.len() {
                    out.text(labels[i].key);
                    labels[i].shape.encode(out);
                    i += 1;
                }
            }
            Self::Encoded { .. } => panic!("a decoded descriptor cannot be encoded"),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.u8()?;
        let start = reader.rest();
        for _ in 0..count {
            LabelSpec::decode(reader)?;
        }
        Ok(Self::Encoded { count, bytes: consumed(start, reader.rest()) })
    }
}

/// An iterator over the labels of a descriptor, in declaration order.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    source: LabelsSource<'a>,
}

#[derive(Clone, Debug)]
enum LabelsSource<'a> {
    Listed(&'a [LabelSpec<'a>]),
    Encoded { left: u8, reader: Reader<'a> },
}

impl<'a> Iterator for Labels<'a> {
    type Item = LabelSpec<'a>;

    fn next(&mut self) -> Option<LabelSpec<'a>> {
        match &mut self.source {
            LabelsSource::Listed(labels) => {
                let (first, rest) = labels.split_first()?;
                *labels = rest;
                Some(*first)
            }
            LabelsSource::Encoded { left, reader } => {
                *left = left.checked_sub(1)?;
                // `LabelList::decode` has read every label of the list, so this cannot fail.
                LabelSpec::decode(reader).ok()
            }
        }
    }
}

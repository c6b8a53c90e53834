//! Descriptors: the declarations of metrics in a guest's custom section.
//!
//! A macro builds a [`Descriptor`] in a constant and encodes it as a record; a host decodes it from
//! the record's bytes. Both give the same type. Call sites of logs and spans are records of the
//! same section and belong to [`site`](crate::site).

mod bound;
mod check;
mod const_label;
mod kind;
mod label;
mod record;

pub use bound::Bounds;
pub use const_label::ConstLabels;
pub use kind::{Kind, Merge};
pub use label::{LabelShape, LabelSpec, LabelValues, Labels};
pub use record::{Record, Records};

pub(crate) use record::{RECORD_HEAD, RawRecords};

use bound::BoundList;
use const_label::ConstLabelList;
use label::LabelList;

use crate::codec::{Reader, Writer};
use crate::{DecodeError, VERSION};

/// The flag of an observed metric.
const OBSERVED: u8 = 1;

/// The declaration of one metric.
///
/// It is built with [`new`](Self::new) and the `with_*` functions in a constant, or decoded from a
/// record.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Descriptor<'a> {
    /// The metric's kind.
    pub kind: Kind,
    /// The metric's name.
    pub name: &'a str,
    /// A description of the metric; one sentence.
    pub help: &'a str,
    /// The unit in the plural (`seconds`), or empty.
    pub unit: &'a str,
    /// The merge rule of a gauge; [`Merge::Sum`] for all other kinds.
    pub merge: Merge,
    /// The number of buckets in each series of an exponential histogram; 0 for all other kinds.
    pub max_buckets: u16,
    /// `true` if an observer of the guest sets the metric shortly before a host reads it.
    pub is_observed: bool,
    labels: LabelList<'a>,
    const_labels: ConstLabelList<'a>,
    bounds: BoundList<'a>,
}

impl<'a> Descriptor<'a> {
    /// A metric without labels, unit or bounds.
    pub const fn new(kind: Kind, name: &'a str, help: &'a str) -> Self {
        Self {
            kind,
            name,
            help,
            unit: "",
            merge: Merge::Sum,
            max_buckets: 0,
            is_observed: false,
            labels: LabelList::Listed(&[]),
            const_labels: ConstLabelList::Listed(&[]),
            bounds: BoundList::Listed(&[]),
        }
    }

    /// Sets the unit.
    #[must_use]
    pub const fn with_unit(mut self, unit: &'a str) -> Self {
        self.unit = unit;
        self
    }

    /// Sets the merge rule of a gauge.
    #[must_use]
    pub const fn with_merge(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }

    /// Sets the labels.
    #[must_use]
    pub const fn with_labels(mut self, labels: &'a [LabelSpec<'a>]) -> Self {
        self.labels = LabelList::Listed(labels);
        self
    }

    /// Sets the constant labels: key and value.
    #[must_use]
    pub const fn with_const_labels(mut self, labels: &'a [(&'a str, &'a str)]) -> Self {
        self.const_labels = ConstLabelList::Listed(labels);
        self
    }

    /// Sets the bucket bounds, in the metric's unit.
    #[must_use]
    pub const fn with_bounds(mut self, bounds: &'a [f64]) -> Self {
        self.bounds = BoundList::Listed(bounds);
        self
    }

    /// Sets the number of buckets in each series of an exponential histogram.
    #[must_use]
    pub const fn with_max_buckets(mut self, buckets: u16) -> Self {
        self.max_buckets = buckets;
        self
    }

    /// Sets [`is_observed`](Self::is_observed).
    #[must_use]
    pub const fn with_observed(mut self, is_observed: bool) -> Self {
        self.is_observed = is_observed;
        self
    }

    /// Iterates over the labels, in declaration order.
    pub fn labels(&self) -> Labels<'a> {
        self.labels.iter()
    }

    /// Iterates over the constant labels, in declaration order: key and value.
    pub fn const_labels(&self) -> ConstLabels<'a> {
        self.const_labels.iter()
    }

    /// Iterates over the bucket bounds, in rising order.
    pub fn bounds(&self) -> Bounds<'a> {
        self.bounds.iter()
    }

    /// The number of bytes that [`encode`](Self::encode) returns.
    pub const fn record_len(&self) -> usize {
        RECORD_HEAD + self.payload_len()
    }

    const fn payload_len(&self) -> usize {
        let texts = 2 + self.name.len() + 2 + self.help.len() + 2 + self.unit.len();
        let lists = self.labels.encoded_len() + self.const_labels.encoded_len() + self.bounds.encoded_len();
        let merge = 1;
        let max_buckets = if self.kind.is_exponential() { 2 } else { 0 };
        texts + merge + lists + max_buckets
    }

    /// Encodes a descriptor that was built with [`new`](Self::new) as a record. `N` is
    /// [`record_len`](Self::record_len).
    ///
    /// # Panics
    ///
    /// Panics (at compile time, in a constant) if `N` is another number, if a list is longer than
    /// the format allows, or if the descriptor was decoded rather than built.
    pub const fn encode<const N: usize>(&self) -> [u8; N] {
        let mut out = Writer::<N>::new();
        out.u8(VERSION as u8);
        out.u8(self.kind as u8);
        out.u8(if self.is_observed { OBSERVED } else { 0 });
        out.u8(0);
        out.u32(self.payload_len() as u32);
        out.text(self.name);
        out.text(self.help);
        out.text(self.unit);
        out.u8(self.merge as u8);
        self.labels.encode(&mut out);
        self.const_labels.encode(&mut out);
        self.bounds.encode(&mut out);
        if self.kind.is_exponential() {
            out.u16(self.max_buckets);
        }
        out.finish()
    }

    fn decode(kind: Kind, flags: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        if flags & !OBSERVED != 0 {
            return Err(DecodeError::Field("flags"));
        }
        let mut reader = Reader::new(payload);
        let mut descriptor = Self::new(kind, reader.text()?, reader.text()?);
        descriptor.is_observed = flags & OBSERVED != 0;
        descriptor.unit = reader.text()?;
        descriptor.merge = Merge::from_u8(reader.u8()?).ok_or(DecodeError::Field("merge"))?;
        descriptor.labels = LabelList::decode(&mut reader)?;
        descriptor.const_labels = ConstLabelList::decode(&mut reader)?;
        descriptor.bounds = BoundList::decode(&mut reader)?;
        if kind.is_exponential() {
            descriptor.max_buckets = reader.u16()?;
        }
        if !reader.is_empty() {
            return Err(DecodeError::Trailing);
        }
        Ok(descriptor)
    }
}

/// The bytes of `start` that a reader has consumed when `rest` is left.
fn consumed<'a>(start: &'a [u8], rest: &[u8]) -> &'a [u8] {
    &start[..start.len() - rest.len()]
}

#[cfg(test)]
mod tests;

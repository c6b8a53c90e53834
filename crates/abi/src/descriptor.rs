//! Descriptors of metrics: what a guest's binary declares in its custom section.

use crate::codec::{Reader, Writer};
use crate::{DecodeError, Strings, VERSION, hash};

/// Bytes before a record's payload: version, kind, flags, a reserved byte, the payload's length.
pub(crate) const RECORD_HEAD: usize = 8;

/// The flag of a metric that is set only when a host is about to look.
const OBSERVED: u8 = 1;

/// What a record declares.
///
/// Numbers from 1 on are metrics, from 64 on call sites. Numbers not listed here are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// A counter of whole events.
    CounterU64 = 1,
    /// A counter of an amount that is no whole number.
    CounterF64 = 2,
    /// A whole number that rises and falls by differences.
    UpDownI64 = 3,
    /// A number that rises and falls by differences.
    UpDownF64 = 4,
    /// A whole number that is set.
    GaugeI64 = 5,
    /// A number that is set.
    GaugeF64 = 6,
    /// A histogram of numbers with explicit bounds.
    HistogramF64 = 7,
    /// A histogram of durations, kept in integer nanoseconds, with explicit bounds in seconds.
    HistogramNanos = 8,
    /// A histogram of numbers with base-2 exponential buckets.
    ExponentialF64 = 9,
    /// A histogram of durations, kept in integer nanoseconds, with base-2 exponential buckets in seconds.
    ExponentialNanos = 10,
    /// A constant 1 whose constant labels are the information; it has no memory.
    Info = 11,
    /// The call site of a log record.
    LogSite = 64,
    /// The call site of a span.
    SpanSite = 65,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::CounterU64,
        Self::CounterF64,
        Self::UpDownI64,
        Self::UpDownF64,
        Self::GaugeI64,
        Self::GaugeF64,
        Self::HistogramF64,
        Self::HistogramNanos,
        Self::ExponentialF64,
        Self::ExponentialNanos,
        Self::Info,
        Self::LogSite,
        Self::SpanSite,
    ];

    pub(crate) fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == value)
    }

    /// Whether this release records and reads metrics of this kind.
    pub const fn is_implemented(self) -> bool {
        matches!(
            self,
            Self::CounterU64
                | Self::CounterF64
                | Self::UpDownI64
                | Self::UpDownF64
                | Self::GaugeI64
                | Self::GaugeF64
                | Self::HistogramF64
                | Self::HistogramNanos
                | Self::ExponentialF64
                | Self::ExponentialNanos
                | Self::Info
        )
    }

    /// Whether it is a histogram whose buckets follow from its values.
    pub const fn is_exponential(self) -> bool {
        matches!(self, Self::ExponentialF64 | Self::ExponentialNanos)
    }

    /// The metric type in the words of the exposition formats, or of the field for what is no metric.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::CounterU64 | Self::CounterF64 => "counter",
            Self::UpDownI64 | Self::UpDownF64 | Self::GaugeI64 | Self::GaugeF64 => "gauge",
            Self::HistogramF64 | Self::HistogramNanos | Self::ExponentialF64 | Self::ExponentialNanos => "histogram",
            Self::Info => "info",
            Self::LogSite => "log",
            Self::SpanSite => "span",
        }
    }
}

/// How the values of one gauge in several instances become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Merge {
    /// The sum over the instances that are alive.
    #[default]
    Sum = 0,
    /// The greatest, kept for a time after its instance has ended.
    Max = 1,
    /// The least, kept for a time after its instance has ended.
    Min = 2,
    /// The one set last, kept for a time after its instance has ended.
    Last = 3,
}

impl Merge {
    /// The rule's name, as the macros take it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Max => "max",
            Self::Min => "min",
            Self::Last => "last",
        }
    }
}

/// What values a label can take, and so where its series lie.
#[derive(Clone, Copy, Debug)]
pub enum LabelShape<'a> {
    /// The listed values; position = index.
    Values(LabelValues<'a>),
    /// The integers below a bound; position = value, and the bound itself stands for the overflow series.
    Below(u32),
    /// Texts, interned in a table of the entry; position = slot, and `capacity` stands for the overflow series.
    Text {
        /// The number of slots in the table.
        capacity: u32,
        /// The longest value in bytes; a multiple of 4.
        max_len: u32,
    },
}

/// The values of a label with listed values.
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

    /// The values, by position.
    pub fn iter(&self) -> Strings<'a> {
        match self.source {
            LabelValuesSource::Listed(values) => Strings::listed(values),
            LabelValuesSource::Encoded { bytes, .. } => Strings::encoded(Reader::new(bytes)),
        }
    }
}

impl<'a> LabelShape<'a> {
    /// A label with these values.
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
}

/// One label of a metric.
#[derive(Clone, Copy, Debug)]
pub struct LabelSpec<'a> {
    /// The label's key.
    pub key: &'a str,
    /// The values it can take.
    pub shape: LabelShape<'a>,
}

impl<'a> LabelSpec<'a> {
    /// A label, as a binary declares it.
    ///
    /// # Panics
    ///
    /// Panics (at compile time, where it is meant to run) if it has no values, or if its texts' length is no multiple of 4.
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
}

/// The declaration of one metric.
///
/// It is built with [`new`](Self::new) and the `with_*` functions in a constant, or decoded from a record.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Descriptor<'a> {
    /// What kind of metric it is.
    pub kind: Kind,
    /// The metric's name.
    pub name: &'a str,
    /// What it says to a person; one sentence.
    pub help: &'a str,
    /// The unit in the plural (`seconds`), or empty.
    pub unit: &'a str,
    /// How a gauge's values combine; [`Merge::Sum`] for all other kinds.
    pub merge: Merge,
    /// The buckets that each series of an exponential histogram has; 0 for all other kinds.
    pub max_buckets: u16,
    /// Whether the guest sets it only when a host is about to look.
    pub is_observed: bool,
    labels: LabelList<'a>,
    const_labels: ConstLabelList<'a>,
    bounds: BoundList<'a>,
}

#[derive(Clone, Copy, Debug)]
enum LabelList<'a> {
    Listed(&'a [LabelSpec<'a>]),
    Encoded { count: u8, bytes: &'a [u8] },
}

#[derive(Clone, Copy, Debug)]
enum ConstLabelList<'a> {
    Listed(&'a [(&'a str, &'a str)]),
    Encoded { bytes: &'a [u8] },
}

#[derive(Clone, Copy, Debug)]
enum BoundList<'a> {
    Listed(&'a [f64]),
    Encoded(&'a [u8]),
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

    /// Sets the labels with the same value on every series.
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

    /// Sets the number of buckets that each series of an exponential histogram has.
    #[must_use]
    pub const fn with_max_buckets(mut self, buckets: u16) -> Self {
        self.max_buckets = buckets;
        self
    }

    /// Sets whether the guest sets the metric only when a host is about to look.
    #[must_use]
    pub const fn with_observed(mut self, is_observed: bool) -> Self {
        self.is_observed = is_observed;
        self
    }

    /// The labels, in declaration order.
    pub fn labels(&self) -> Labels<'a> {
        match self.labels {
            LabelList::Listed(labels) => Labels { source: LabelsSource::Listed(labels) },
            LabelList::Encoded { count, bytes } => {
                Labels { source: LabelsSource::Encoded { left: count, reader: Reader::new(bytes) } }
            }
        }
    }

    /// The labels with the same value on every series: key and value.
    pub fn const_labels(&self) -> ConstLabels<'a> {
        ConstLabels {
            texts: match self.const_labels {
                ConstLabelList::Listed(labels) => ConstLabelsSource::Listed(labels),
                ConstLabelList::Encoded { bytes } => ConstLabelsSource::Encoded(Reader::new(bytes)),
            },
        }
    }

    /// The bucket bounds, rising.
    pub fn bounds(&self) -> Bounds<'a> {
        Bounds { list: self.bounds }
    }

    /// The number of bytes that [`encode`](Self::encode) gives.
    pub const fn record_len(&self) -> usize {
        RECORD_HEAD + self.payload_len()
    }

    const fn payload_len(&self) -> usize {
        let mut len = 2 + self.name.len() + 2 + self.help.len() + 2 + self.unit.len() + 1 + 1 + 1 + 2;
        match self.labels {
            LabelList::Listed(labels) => {
                let mut i = 0;
                while i < labels.len() {
                    len += 2 + labels[i].key.len() + labels[i].shape.encoded_len();
                    i += 1;
                }
            }
            LabelList::Encoded { bytes, .. } => len += bytes.len(),
        }
        match self.const_labels {
            ConstLabelList::Listed(labels) => {
                let mut i = 0;
                while i < labels.len() {
                    len += 4 + labels[i].0.len() + labels[i].1.len();
                    i += 1;
                }
            }
            ConstLabelList::Encoded { bytes } => len += bytes.len(),
        }
        match self.bounds {
            BoundList::Listed(bounds) => len += 8 * bounds.len(),
            BoundList::Encoded(bytes) => len += bytes.len(),
        }
        if self.kind.is_exponential() {
            len += 2;
        }
        len
    }

    /// Encodes a descriptor that was built with [`new`](Self::new) as a record; `N` is
    /// [`record_len`](Self::record_len).
    ///
    /// # Panics
    ///
    /// Panics (at compile time, where it is meant to run) if `N` is another number, if a list is longer than the format
    /// allows, or if the descriptor was decoded rather than built.
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
        match self.labels {
            LabelList::Listed(labels) => {
                assert!(labels.len() <= u8::MAX as usize, "a metric has at most 255 labels");
                out.u8(labels.len() as u8);
                let mut i = 0;
                while i < labels.len() {
                    out.text(labels[i].key);
                    encode_shape(&mut out, &labels[i].shape);
                    i += 1;
                }
            }
            LabelList::Encoded { .. } => panic!("a decoded descriptor is not encoded again"),
        }
        match self.const_labels {
            ConstLabelList::Listed(labels) => {
                assert!(labels.len() <= u8::MAX as usize, "a metric has at most 255 constant labels");
                out.u8(labels.len() as u8);
                let mut i = 0;
                while i < labels.len() {
                    out.text(labels[i].0);
                    out.text(labels[i].1);
                    i += 1;
                }
            }
            ConstLabelList::Encoded { .. } => panic!("a decoded descriptor is not encoded again"),
        }
        match self.bounds {
            BoundList::Listed(bounds) => {
                assert!(bounds.len() <= u16::MAX as usize, "a histogram has at most 65535 bounds");
                out.u16(bounds.len() as u16);
                let mut i = 0;
                while i < bounds.len() {
                    out.f64(bounds[i]);
                    i += 1;
                }
            }
            BoundList::Encoded(_) => panic!("a decoded descriptor is not encoded again"),
        }
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
        descriptor.merge = match reader.u8()? {
            0 => Merge::Sum,
            1 => Merge::Max,
            2 => Merge::Min,
            3 => Merge::Last,
            _ => return Err(DecodeError::Field("merge")),
        };

        let count = reader.u8()?;
        let start = reader.rest();
        for _ in 0..count {
            decode_label(&mut reader)?;
        }
        descriptor.labels = LabelList::Encoded { count, bytes: consumed(start, reader.rest()) };

        let count = reader.u8()?;
        let start = reader.rest();
        for _ in 0..2 * usize::from(count) {
            reader.text()?;
        }
        descriptor.const_labels = ConstLabelList::Encoded { bytes: consumed(start, reader.rest()) };

        let count = reader.u16()?;
        descriptor.bounds = BoundList::Encoded(reader.bytes(8 * usize::from(count))?);
        if kind.is_exponential() {
            descriptor.max_buckets = reader.u16()?;
        }
        if !reader.is_empty() {
            return Err(DecodeError::Trailing);
        }
        Ok(descriptor)
    }
}

/// The part of `start` that a reader has gone past when `rest` is left.
fn consumed<'a>(start: &'a [u8], rest: &[u8]) -> &'a [u8] {
    &start[..start.len() - rest.len()]
}

const fn encode_shape<const N: usize>(out: &mut Writer<N>, shape: &LabelShape<'_>) {
    match shape {
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
            LabelValuesSource::Encoded { .. } => panic!("a decoded descriptor is not encoded again"),
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

fn decode_label<'a>(reader: &mut Reader<'a>) -> Result<LabelSpec<'a>, DecodeError> {
    let key = reader.text()?;
    let shape = match reader.u8()? {
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
    };
    Ok(LabelSpec { key, shape })
}

/// The labels of one descriptor, in order.
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
                // The list was walked once while it was decoded, so every label in it is whole.
                decode_label(reader).ok()
            }
        }
    }
}

/// The constant labels of one descriptor, in order: key and value.
#[derive(Clone, Debug)]
pub struct ConstLabels<'a> {
    texts: ConstLabelsSource<'a>,
}

#[derive(Clone, Debug)]
enum ConstLabelsSource<'a> {
    Listed(&'a [(&'a str, &'a str)]),
    Encoded(Reader<'a>),
}

impl<'a> Iterator for ConstLabels<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.texts {
            ConstLabelsSource::Listed(labels) => {
                let (first, rest) = labels.split_first()?;
                *labels = rest;
                Some(*first)
            }
            ConstLabelsSource::Encoded(reader) => Some((reader.text().ok()?, reader.text().ok()?)),
        }
    }
}

/// The bucket bounds of one descriptor, rising.
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

/// One record of a descriptor section.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The hash of the record's bytes, by which a region names the descriptor.
    pub hash: u64,
    /// The record's bytes, its head included.
    pub bytes: &'a [u8],
    /// What the record declares.
    pub descriptor: Descriptor<'a>,
}

/// One record of a section, whatever it declares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: &'a [u8],
    /// All of the record, its head included.
    pub(crate) bytes: &'a [u8],
}

/// Walks the records of a section.
#[derive(Clone, Debug)]
pub(crate) struct RawRecords<'a> {
    rest: &'a [u8],
}

impl<'a> RawRecords<'a> {
    pub(crate) const fn new(section: &'a [u8]) -> Self {
        Self { rest: section }
    }

    fn read(&mut self) -> Result<RawRecord<'a>, DecodeError> {
        // Whatever goes wrong before the length is known ends the walk.
        let all = core::mem::take(&mut self.rest);
        let mut reader = Reader::new(all);
        let version = reader.u8()?;
        let kind = reader.u8()?;
        let (flags, reserved) = (reader.u8()?, reader.u8()?);
        let len = reader.u32()? as usize;
        if u32::from(version) != VERSION {
            return Err(DecodeError::Version(version));
        }
        let payload = reader.bytes(len)?;
        self.rest = reader.rest();
        if reserved != 0 {
            return Err(DecodeError::Field("reserved"));
        }
        Ok(RawRecord { kind, flags, payload, bytes: consumed(all, reader.rest()) })
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.read())
    }
}

/// Reads the metrics' records of a section, which stand one behind the other in any order; it skips call sites, which
/// [`Sites`](crate::site::Sites) reads.
///
/// A record that cannot be read gives an error; the walk goes on behind it where its length could be read, so that one
/// kind from a newer guest does not hide the others.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    records: RawRecords<'a>,
}

impl<'a> Records<'a> {
    /// Starts at the beginning of a section's bytes.
    pub const fn new(section: &'a [u8]) -> Self {
        Self { records: RawRecords::new(section) }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.records.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(error)),
            };
            let kind = match Kind::from_u8(record.kind) {
                Some(Kind::LogSite | Kind::SpanSite) => continue,
                Some(kind) if kind.is_implemented() => kind,
                _ => return Some(Err(DecodeError::Kind(record.kind))),
            };
            let descriptor = Descriptor::decode(kind, record.flags, record.payload);
            return Some(descriptor.map(|descriptor| Record {
                hash: hash(record.bytes),
                bytes: record.bytes,
                descriptor,
            }));
        }
    }
}

#[cfg(test)]
mod tests;

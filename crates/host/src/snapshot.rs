//! Snapshots: the values of all series at one moment.
//!
//! In come blocks of values from the registry. Out come families and series for an encoder: all of
//! them, the delta to an earlier snapshot, or chunks. It does not know formats, nor where values
//! come from.

pub(crate) mod chunk;
pub(crate) mod delta;
pub(crate) mod labels;
pub(crate) mod number;
pub(crate) mod place;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::aggregate::exemplar::{Exemplar, SeriesExemplar};
use crate::aggregate::exponential::counts::ExponentialValue;
use crate::order::sorted;
use crate::registry::family::{FamilyInfo, FamilyKind};
use crate::registry::start_time::Created;
use crate::snapshot::labels::{LabelPairs, LabelTable, Labels};
use crate::snapshot::number::Number;
use crate::snapshot::place::Place;

/// The values of all series at one moment, for an encoder.
///
/// The numbers are copies; names and labels are shared with the registry.
///
/// ```
/// # use std::time::Duration;
/// let registry = wasmetry_host::Registry::new();
/// registry.counter("jobs_total", "Jobs done.", &["queue"]).with(&["mail"]).add(3);
/// let snapshot = registry.snapshot(Duration::ZERO);
/// let family = snapshot.families().find(|family| family.name() == "jobs_total").unwrap();
/// let series = family.series().next().unwrap();
/// assert_eq!(series.labels().next().unwrap(), ("queue", "mail".into()));
/// assert_eq!(series.value(), wasmetry_host::Value::Number(wasmetry_host::Number::Unsigned(3)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) families: Vec<FamilySnapshot>,
}

impl Snapshot {
    /// Creates a snapshot. The blocks of one family keep their order; empty ones are left out.
    /// `contested` are the families that need a name of another one, by name and type.
    pub(crate) fn new(blocks: Vec<(Arc<FamilyInfo>, Block)>, contested: &[(String, FamilyKind)]) -> Self {
        let blocks = sorted(blocks, |(a, _), (b, _)| {
            // Components of a tenant share their families.
            if Arc::ptr_eq(a, b) {
                return Ordering::Equal;
            }
            a.name().cmp(b.name()).then_with(|| place::rank(a.kind()).cmp(&place::rank(b.kind())))
        });
        let mut families: Vec<FamilySnapshot> = Vec::with_capacity(blocks.len());
        let mut namesakes = 0;
        for (info, block) in blocks {
            let block = Some(block).filter(|block| block.len() > 0);
            if families.get(namesakes).is_some_and(|family| family.info.name() != info.name()) {
                namesakes = families.len();
            }
            match families[namesakes..].iter_mut().rev().find(|family| family.is_of(&info)) {
                Some(family) => family.blocks.extend(block),
                None => families.push(FamilySnapshot::new(info, block.into_iter().collect())),
            }
        }
        place::arrange(&mut families, contested);
        Self { families }
    }

    /// Keeps the families for which `is_wanted` returns `true`.
    pub fn retain(&mut self, is_wanted: impl FnMut(&FamilySnapshot) -> bool) {
        self.families.retain(is_wanted);
    }

    /// The number of series.
    pub fn series_count(&self) -> usize {
        self.families.iter().flat_map(|family| &family.blocks).map(Block::len).sum()
    }

    /// Returns the families, sorted by name. Tenants that declare a name differently have one each.
    /// A family without a value yet has no series; the text
    /// formats have its help text and type.
    pub fn families(&self) -> impl Iterator<Item = &FamilySnapshot> {
        self.families.iter()
    }
}

/// The series of one name.
#[derive(Clone, Debug)]
pub struct FamilySnapshot {
    pub(crate) info: Arc<FamilyInfo>,
    pub(crate) blocks: Blocks,
    pub(crate) place: Place,
}

impl FamilySnapshot {
    fn new(info: Arc<FamilyInfo>, blocks: Blocks) -> Self {
        Self { info, blocks, place: Place::default() }
    }

    /// Returns `true` if series of this family of the same name belong to it.
    fn is_of(&self, info: &Arc<FamilyInfo>) -> bool {
        Arc::ptr_eq(&self.info, info) || (self.info.is_like(info) && self.info.help() == info.help())
    }

    /// Returns the family with other series.
    pub(crate) fn with_blocks(&self, blocks: Blocks) -> Self {
        Self { info: self.info.clone(), blocks, place: self.place.clone() }
    }

    /// The name; a counter's ends in `_total`.
    pub fn name(&self) -> &str {
        self.info.name()
    }

    /// The type.
    pub fn kind(&self) -> FamilyKind {
        self.info.kind()
    }

    /// The help text, not escaped.
    pub fn help(&self) -> &str {
        self.info.help()
    }

    /// The unit, or an empty text.
    pub fn unit(&self) -> &str {
        self.info.unit()
    }

    /// The bounds of a histogram's buckets, without `+Inf`. An exponential histogram has those of
    /// the text formats.
    pub fn bounds(&self) -> &[f64] {
        self.info.bounds()
    }

    /// Returns the series in a stable order.
    pub fn series(&self) -> impl Iterator<Item = Series<'_>> {
        self.blocks.iter().flat_map(Block::series)
    }
}

/// One series.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    block: &'a Block,
    index: usize,
}

impl<'a> Series<'a> {
    /// The labels: key and value.
    pub fn labels(&self) -> LabelPairs<'a> {
        self.block.labels(self.index).pairs()
    }

    /// The start time of a counter or histogram, by the wall clock, in nanoseconds since 1970-01-01
    /// 00:00 UTC. It does not change while the series exists.
    ///
    /// `None` for other series, if the registry has [no clock](crate::Registry::with_clock), and in
    /// the changes [since](Snapshot::since) another snapshot.
    pub fn created(&self) -> Option<u64> {
        self.block.created.get(self.index)
    }

    /// Returns a histogram's exemplars: the latest of each bucket that has one, with the bucket's
    /// index among the [bounds](FamilySnapshot::bounds). The index of `+Inf` follows those.
    pub fn exemplars(&self) -> impl Iterator<Item = (usize, &'a Exemplar)> + use<'a> {
        self.bucket_exemplars().iter().map(|exemplar| (exemplar.bucket as usize, &exemplar.exemplar))
    }

    /// Returns a histogram's exemplars in the order of their buckets.
    pub(crate) fn bucket_exemplars(&self) -> &'a [SeriesExemplar] {
        self.block.exemplars(self.index)
    }

    /// Returns the row of the series in the labels of its block.
    #[inline]
    pub(crate) fn row(&self) -> usize {
        self.block.row(self.index)
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> Value<'a> {
        match &self.block.values {
            Values::Unsigned(values) => Value::Number(Number::Unsigned(values[self.index])),
            Values::Numbers(values) => Value::Number(values[self.index]),
            Values::Histograms { counts, sums } => {
                let stride = counts.len() / sums.len();
                Value::Histogram { counts: &counts[self.index * stride..][..stride], sum: sums[self.index] }
            }
            Values::Exponentials(values) => Value::Exponential(&values[self.index]),
        }
    }
}

/// The value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// The value of a counter or gauge.
    Number(Number),
    /// The value of a histogram.
    Histogram {
        /// The number of values in each bucket and in that of `+Inf`, not cumulative.
        counts: &'a [u64],
        /// The sum of the values.
        sum: Number,
    },
    /// The value of an exponential histogram.
    Exponential(&'a ExponentialValue),
}

/// The blocks of a family. Most have one.
pub(crate) type Blocks = SmallVec<[Block; 1]>;

/// The series of one family in one component, or of the host.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) labels: Arc<LabelTable>,
    pub(crate) rows: Rows,
    pub(crate) values: Values,
    pub(crate) created: Created,
    /// Sorted by the index of the series, then by bucket.
    pub(crate) exemplars: Vec<SeriesExemplar>,
}

/// The rows of a label table to which the values belong.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// All rows, in their order.
    All,
    /// Some rows, in the order of the values.
    Some(Vec<u32>),
}

impl Rows {
    /// Returns the row of each value, in the order of the values. `len` is the number of all rows.
    pub(crate) fn indices(&self, len: usize) -> impl Iterator<Item = usize> + '_ {
        let (all, some) = match self {
            Self::All => (0..len, &[][..]),
            Self::Some(rows) => (0..0, &rows[..]),
        };
        all.chain(some.iter().map(|row| *row as usize))
    }
}

/// The values of a block.
#[derive(Clone, Debug)]
pub enum Values {
    Unsigned(Vec<u64>),
    Numbers(Vec<Number>),
    /// For each sum, one count for each bucket.
    Histograms {
        counts: Vec<u64>,
        sums: Vec<Number>,
    },
    Exponentials(Vec<ExponentialValue>),
}

impl Block {
    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Unsigned(values) => values.len(),
            Values::Numbers(values) => values.len(),
            Values::Histograms { sums, .. } => sums.len(),
            Values::Exponentials(values) => values.len(),
        }
    }

    /// Returns the series in the order of the values.
    pub(crate) fn series(&self) -> impl Iterator<Item = Series<'_>> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// Returns the series of the value at `index`.
    pub(crate) fn at(&self, index: usize) -> Series<'_> {
        Series { block: self, index }
    }

    /// Returns the labels of the value at `index`.
    pub(crate) fn labels(&self, index: usize) -> Labels<'_> {
        Labels::new(&self.labels, self.row(index))
    }

    /// Returns the number at `index`, unless it is a histogram's.
    pub(crate) fn number(&self, index: usize) -> Option<Number> {
        match &self.values {
            Values::Unsigned(values) => values.get(index).copied().map(Number::Unsigned),
            Values::Numbers(values) => values.get(index).copied(),
            Values::Histograms { .. } | Values::Exponentials(_) => None,
        }
    }

    /// Returns the value at `index` if it is an exponential histogram's.
    pub(crate) fn exponential(&self, index: usize) -> Option<&ExponentialValue> {
        let Values::Exponentials(values) = &self.values else { return None };
        values.get(index)
    }

    /// Returns the counts and the sum at `index` if they are a histogram's.
    pub(crate) fn histogram(&self, index: usize) -> Option<(&[u64], Number)> {
        let Values::Histograms { counts, sums } = &self.values else { return None };
        let stride = counts.len() / sums.len();
        Some((counts.get(index * stride..(index + 1) * stride)?, *sums.get(index)?))
    }

    /// Returns the exemplars of the value at `index`.
    pub(crate) fn exemplars(&self, index: usize) -> &[SeriesExemplar] {
        let start = self.exemplars.partition_point(|exemplar| exemplar.index < index);
        let rest = &self.exemplars[start..];
        &rest[..rest.partition_point(|exemplar| exemplar.index == index)]
    }

    /// Returns consecutive values.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let rows = Rows::Some(range.clone().map(|index| self.row(index) as u32).collect());
        let values = match &self.values {
            Values::Unsigned(values) => Values::Unsigned(values[range.clone()].to_vec()),
            Values::Numbers(values) => Values::Numbers(values[range.clone()].to_vec()),
            Values::Histograms { counts, sums } => {
                let stride = counts.len() / sums.len();
                let counts = counts[range.start * stride..range.end * stride].to_vec();
                Values::Histograms { counts, sums: sums[range.clone()].to_vec() }
            }
            Values::Exponentials(values) => Values::Exponentials(values[range.clone()].to_vec()),
        };
        let exemplars = self.exemplars.iter().filter(|exemplar| range.contains(&exemplar.index));
        let exemplars =
            exemplars.map(|exemplar| SeriesExemplar { index: exemplar.index - range.start, ..*exemplar }).collect();
        Self { labels: Arc::clone(&self.labels), rows, values, created: self.created.slice(range), exemplars }
    }

    /// Returns the row of the value at `index`.
    pub(crate) fn row(&self, index: usize) -> usize {
        match &self.rows {
            Rows::All => index,
            Rows::Some(rows) => rows[index] as usize,
        }
    }
}

//! Deltas: the differences between two snapshots.

use std::collections::HashMap;
use std::sync::Arc;

use crate::aggregate::exemplar::SeriesExemplar;
use crate::aggregate::exponential::counts::ExponentialValue;
use crate::registry::family::FamilyKind;
use crate::registry::start_time::Created;
use crate::snapshot::labels::Labels;
use crate::snapshot::number::Number;
use crate::snapshot::{Block, Blocks, Rows, Snapshot, Values};

impl Snapshot {
    /// Returns the changes since an earlier snapshot of the same registry: the increases of
    /// counters, up/down counters and histograms, and gauges that are new or have another value.
    /// All other series are left out.
    ///
    /// The changes of a series add up to its value, so that a receiver can add up those of many
    /// short-lived processes. A counter that has fallen has started again from 0.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use wasmetry_host::{Number, Registry, Snapshot, Value};
    ///
    /// let registry = Registry::new();
    /// let jobs = registry.counter("jobs_total", "Jobs done.", &[]).with(&[]);
    /// jobs.add(3);
    /// let earlier = registry.snapshot(Duration::ZERO);
    /// jobs.add(2);
    /// let changes = registry.snapshot(Duration::ZERO).since(&earlier);
    /// assert_eq!(changes.families().count(), 1);
    /// let series = changes.families().next().unwrap().series().next().unwrap();
    /// assert_eq!(series.value(), Value::Number(Number::Unsigned(2)));
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.compared(earlier, |_| true)
    }

    /// Returns the increases of counters and histograms since an earlier snapshot of the same
    /// registry, and all other series as they are. Counters and histograms without an increase are
    /// left out.
    ///
    /// Source: OpenTelemetry, "Metrics Exporter - OTLP",
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`, `delta`.
    #[must_use]
    pub fn monotonic_delta(&self, earlier: &Self) -> Self {
        self.compared(earlier, |kind| matches!(kind, FamilyKind::Counter | FamilyKind::Histogram))
    }

    /// Returns the changes of the families of some kinds, and the other families as they are.
    fn compared(&self, earlier: &Self, is_compared: impl Fn(FamilyKind) -> bool) -> Self {
        let mut rest = &earlier.families[..];
        let families = self.families.iter().filter_map(|family| {
            if !is_compared(family.info.kind()) {
                return Some(family.clone());
            }
            // Both are sorted by name. Tenants may have families of one name.
            let earlier = rest.iter().position(|earlier| earlier.info.name() >= family.info.name());
            rest = earlier.map_or(&[], |first| &rest[first..]);
            // Another metric may have the name now, or the same one another help text.
            let namesakes = || rest.iter().take_while(|earlier| earlier.info.name() == family.info.name());
            let earlier = namesakes().find(|earlier| earlier.is_of(&family.info));
            let earlier = earlier.or_else(|| namesakes().find(|earlier| earlier.info.is_like(&family.info)));
            let mut earlier = Earlier::new(earlier.map_or(&[], |earlier| &earlier.blocks));
            let blocks: Blocks =
                family.blocks.iter().filter_map(|block| changes(family.info.kind(), block, &mut earlier)).collect();
            (!blocks.is_empty()).then(|| family.with_blocks(blocks))
        });
        Self { families: families.collect() }
    }
}

/// The series of one family in the earlier snapshot.
struct Earlier<'a> {
    blocks: &'a [Block],
    /// The expected position of the next series: snapshots of one registry have the same order.
    next: (usize, usize),
    /// All positions by labels, made when a series is not at its expected position.
    by_labels: Option<HashMap<Labels<'a>, (usize, usize)>>,
}

impl<'a> Earlier<'a> {
    fn new(blocks: &'a [Block]) -> Self {
        Self { blocks, next: (0, 0), by_labels: None }
    }

    fn find(&mut self, labels: Labels<'_>) -> Option<(&'a Block, usize)> {
        if self.blocks.get(self.next.0).is_some_and(|block| self.next.1 == block.len()) {
            self.next = (self.next.0 + 1, 0);
        }
        let (block, index) = self.next;
        let is_next = self.blocks.get(block).is_some_and(|block| block.labels(index) == labels);
        let (block, index) = if is_next { self.next } else { *self.all().get(&labels)? };
        self.next = (block, index + 1);
        Some((self.blocks.get(block)?, index))
    }

    /// Returns a series of a later block as it was then, unless it has started again since.
    fn before(&mut self, now: &Block, index: usize) -> Option<(&'a Block, usize)> {
        let (block, at) = self.find(now.labels(index))?;
        (block.created.get(at) == now.created.get(index)).then_some((block, at))
    }

    #[expect(clippy::mutable_key_type, reason = "the rendered text in a label table is no part of its labels")]
    fn all(&mut self) -> &HashMap<Labels<'a>, (usize, usize)> {
        let blocks = self.blocks;
        self.by_labels.get_or_insert_with(|| {
            let places = blocks
                .iter()
                .enumerate()
                .flat_map(|(at, block)| (0..block.len()).map(move |index| (block.labels(index), (at, index))));
            places.collect()
        })
    }
}

/// Returns the series of a block that have changed, with their changes.
fn changes(kind: FamilyKind, block: &Block, earlier: &mut Earlier<'_>) -> Option<Block> {
    let mut rows = Vec::new();
    let mut exemplars: Vec<SeriesExemplar> = Vec::new();
    let values = match &block.values {
        Values::Histograms { counts, sums } => {
            let stride = counts.len() / sums.len();
            let (mut changed, mut changed_sums) = (Vec::new(), Vec::new());
            for (index, (now, sum)) in counts.chunks_exact(stride).zip(sums).enumerate() {
                let before = earlier
                    .before(block, index)
                    .and_then(|(block, index)| block.histogram(index))
                    // A series that has started again has done so with all of its numbers.
                    .filter(|(before, _)| before.iter().zip(now).all(|(before, now)| before <= now));
                let start = changed.len();
                match before {
                    Some((before, _)) => changed.extend(now.iter().zip(before).map(|(now, before)| now - before)),
                    None => changed.extend_from_slice(now),
                }
                let sum = added(*sum, before.map(|(_, sum)| sum));
                // A sum may request its buckets in a snapshot that is taken between the two stores
                // of one event.
                if changed[start..].iter().all(|count| *count == 0) && sum.as_f64() == 0.0 {
                    changed.truncate(start);
                    continue;
                }
                exemplars
                    .extend(block.exemplars(index).iter().map(|shown| SeriesExemplar { index: rows.len(), ..*shown }));
                changed_sums.push(sum);
                rows.push(block.row(index) as u32);
            }
            Values::Histograms { counts: changed, sums: changed_sums }
        }
        Values::Exponentials(values) => {
            let mut changed = Vec::new();
            for (index, now) in values.iter().enumerate() {
                let before = earlier.before(block, index).and_then(|(block, index)| block.exponential(index));
                let sum = added(now.sum(), before.map(ExponentialValue::sum));
                let value = now.since(before, sum);
                if value.count() != 0 || value.sum().as_f64() != 0.0 {
                    exemplars.extend(
                        block.exemplars(index).iter().map(|shown| SeriesExemplar { index: rows.len(), ..*shown }),
                    );
                    changed.push(value);
                    rows.push(block.row(index) as u32);
                }
            }
            Values::Exponentials(changed)
        }
        Values::Unsigned(_) | Values::Numbers(_) => {
            let mut changed = Vec::new();
            for index in 0..block.len() {
                let Some(now) = block.number(index) else { continue };
                let before = earlier.before(block, index).and_then(|(block, index)| block.number(index));
                let value = match kind {
                    FamilyKind::Counter | FamilyKind::UpDownCounter => {
                        Some(added(now, before)).filter(|added| added.as_f64() != 0.0)
                    }
                    _ => (!before.is_some_and(|before| is_same(before, now))).then_some(now),
                };
                if let Some(value) = value {
                    changed.push(value);
                    rows.push(block.row(index) as u32);
                }
            }
            Values::Numbers(changed)
        }
    };
    let labels = Arc::clone(&block.labels);
    // A change has the start time of its period.
    let created = Created::Unknown;
    (!rows.is_empty()).then_some(Block { labels, rows: Rows::Some(rows), values, created, exemplars })
}

/// Returns the increase of a counter or a sum.
fn added(now: Number, before: Option<Number>) -> Number {
    let unsigned = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
    match (now, before) {
        (Number::Unsigned(now), Some(Number::Unsigned(before))) => Number::Unsigned(unsigned(now, before)),
        (Number::Nanos(now), Some(Number::Nanos(before))) => Number::Nanos(unsigned(now, before)),
        (Number::Signed(now), Some(Number::Signed(before))) => Number::Signed(now.wrapping_sub(before)),
        // Two infinities have no difference.
        (now, Some(before)) if now.as_f64() == before.as_f64() => Number::Float(0.0),
        // A sum of negative numbers falls without a new start, and a whole number may have become
        // another.
        (now, Some(before)) => Number::Float(now.as_f64() - before.as_f64()),
        (now, None) => now,
    }
}

/// Returns `true` if two values of a gauge are the same. NaN is the same as NaN.
fn is_same(a: Number, b: Number) -> bool {
    match (a, b) {
        (Number::Float(a), Number::Float(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

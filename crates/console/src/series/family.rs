//! Families: the series of one metric, each in a slot.

use std::collections::{HashMap, VecDeque};

use wasmetry_host::{FamilyKind, FamilySnapshot, Series};

use super::column::ColumnWriter;
use super::label_set::LabelSets;
use super::value::Value;
use crate::limits;

/// The series of one metric.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) unit: String,
    pub(crate) help: String,
    pub(crate) bounds: Vec<f64>,
    pub(crate) slots: Vec<Slot>,
    /// The slot of each set of labels.
    by_labels: HashMap<u32, u32>,
    /// The slot of each series of the last snapshot: the next one has nearly the same order.
    order: Vec<u32>,
    free: Vec<u32>,
    /// The latest exemplars, oldest first.
    pub(crate) exemplars: VecDeque<StoredExemplar>,
    /// The last snapshot that had the metric.
    pub(crate) last: u32,
    /// Series of the last snapshot that found no room.
    pub(crate) refused: usize,
    /// The bytes that its store counts.
    pub(crate) counted: usize,
    histogram_bytes: usize,
}

/// One series.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The labels; `None` if the slot is free.
    pub(crate) labels: Option<u32>,
    /// The step in which it was first seen.
    pub(crate) born: u32,
    /// The step in which it was last seen.
    pub(crate) last: u32,
    pub(crate) value: Value,
}

/// An exemplar of a histogram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredExemplar {
    pub(crate) slot: u32,
    pub(crate) time: u64,
    pub(crate) value: f64,
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
}

impl Family {
    pub(crate) fn new(id: u32, info: &FamilySnapshot) -> Self {
        let kind = match info.kind() {
            FamilyKind::Histogram if is_exponential(info) => "exponential_histogram",
            FamilyKind::UpDownCounter => "up_down_counter",
            kind => kind.name(),
        };
        Self {
            id,
            name: info.name().to_owned(),
            kind,
            unit: info.unit().to_owned(),
            help: info.help().to_owned(),
            bounds: info.bounds().to_vec(),
            slots: Vec::new(),
            by_labels: HashMap::new(),
            order: Vec::new(),
            free: Vec::new(),
            exemplars: VecDeque::new(),
            last: 0,
            refused: 0,
            counted: 0,
            histogram_bytes: 0,
        }
    }

    /// Takes what a snapshot has of the metric itself. Returns `false` if it is another one, with
    /// other buckets, which a component that was replaced has left the name to.
    pub(crate) fn update(&mut self, info: &FamilySnapshot, end: u32) -> bool {
        if self.bounds != info.bounds() {
            return false;
        }
        if self.unit != info.unit() || self.help != info.help() {
            (self.unit, self.help) = (info.unit().to_owned(), info.help().to_owned());
        }
        if self.kind == "histogram" && is_exponential(info) {
            self.kind = "exponential_histogram";
        }
        (self.last, self.refused) = (end, 0);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_labels.is_empty()
    }

    /// Returns `true` if the values are sums that only rise.
    pub(crate) fn is_counter(&self) -> bool {
        self.kind == "counter"
    }

    pub(crate) fn is_histogram(&self) -> bool {
        self.kind.ends_with("histogram")
    }

    /// Returns the slots that have a series.
    pub(crate) fn used(&self) -> impl Iterator<Item = (usize, u32, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| slot.labels.map(|labels| (at, labels, slot)))
    }

    /// Returns the slot of the series with these labels, which is the `at`-th of its snapshot.
    pub(crate) fn slot(
        &mut self,
        at: usize,
        text: &[u8],
        end: u32,
        may_grow: bool,
        labels: &mut LabelSets,
    ) -> Option<u32> {
        let guess = self.order.get(at).copied().filter(|slot| {
            let set = self.slots.get(*slot as usize).and_then(|slot| slot.labels);
            set.is_some_and(|set| labels.is(set, text))
        });
        let known = guess.or_else(|| labels.find(text).and_then(|set| self.by_labels.get(&set)).copied());
        let slot = match known {
            Some(slot) => slot,
            None if may_grow => self.add(labels.add(text), end),
            None => return None,
        };
        if self.order.len() <= at {
            self.order.resize(at + 1, u32::MAX);
        }
        self.order[at] = slot;
        Some(slot)
    }

    fn add(&mut self, labels: u32, end: u32) -> u32 {
        let value = Value::Number(wasmetry_host::Number::Unsigned(0));
        let slot = Slot { labels: Some(labels), born: end, last: end, value };
        let at = match self.free.pop() {
            Some(free) => {
                self.slots[free as usize] = slot;
                free
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_labels.insert(labels, at);
        at
    }

    /// Sets the value of a series, and writes its change. Returns `true` if it has changed.
    pub(crate) fn change(
        &mut self,
        mut at: u32,
        value: wasmetry_host::Value<'_>,
        end: u32,
        labels: &mut LabelSets,
        writer: &mut ColumnWriter,
    ) -> bool {
        let value = Value::new(value, &self.bounds);
        let slot = &self.slots[at as usize];
        if !slot.value.is_like(&value) {
            if let Some(set) = slot.labels.filter(|_| slot.born != end) {
                // The columns have changes of another type for this slot.
                labels.share(set);
                let before = std::mem::replace(&mut at, self.add(set, end));
                self.order.iter_mut().filter(|slot| **slot == before).for_each(|slot| *slot = at);
            }
            let slot = &mut self.slots[at as usize];
            slot.value = value.zero();
            self.histogram_bytes += histogram_bytes(&value);
        }
        let slot = &mut self.slots[at as usize];
        slot.last = end;
        if slot.value == value {
            return false;
        }
        writer.change(at, |out| value.put_change(&slot.value, out));
        slot.value = value;
        true
    }

    /// Keeps the exemplars of a series that are newer than the last ones.
    pub(crate) fn keep_exemplars(&mut self, series: &Series<'_>, slot: u32) {
        for (_, exemplar) in series.exemplars() {
            let (trace_id, span_id) = (exemplar.trace_id.number(), exemplar.span_id.number());
            let is_known = |known: &StoredExemplar| (known.trace_id, known.span_id) == (trace_id, span_id);
            if self.exemplars.iter().rev().take(limits::EXEMPLARS).any(is_known) {
                continue;
            }
            if self.exemplars.len() == limits::EXEMPLARS {
                self.exemplars.pop_front();
            }
            let (time, value) = (exemplar.time, exemplar.value.as_f64());
            self.exemplars.push_back(StoredExemplar { slot, time, value, trace_id, span_id });
        }
    }

    /// Lets no series be first seen after the step `end`, to which the clock was set back.
    pub(crate) fn set_born_by(&mut self, end: u32) {
        self.slots.iter_mut().for_each(|slot| slot.born = slot.born.min(end));
    }

    /// Removes the series that were last seen before the step `oldest`.
    pub(crate) fn remove_ended(&mut self, oldest: u32, labels: &mut LabelSets) {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let Some(set) = slot.labels.filter(|_| slot.last < oldest) else { continue };
            slot.labels = None;
            self.histogram_bytes -= histogram_bytes(&slot.value);
            slot.value = Value::Number(wasmetry_host::Number::Unsigned(0));
            labels.remove(set);
            if self.by_labels.get(&set) == Some(&(at as u32)) {
                self.by_labels.remove(&set);
            }
            self.free.push(at as u32);
        }
        if self.slots.iter().all(|slot| slot.labels.is_none()) {
            (self.slots, self.free, self.order) = (Vec::new(), Vec::new(), Vec::new());
            self.exemplars = VecDeque::new();
        }
    }

    /// The bytes of the metric and of its series, with those of the allocator, without labels.
    pub(crate) fn bytes(&self) -> usize {
        // A map has a byte of control for each place, and an eighth of them is free.
        let map = self.by_labels.capacity() * (size_of::<(u32, u32)>() + 1) * 8 / 7;
        size_of::<Self>()
            + 2 * self.name.len()
            + self.help.len()
            + self.unit.len()
            + self.bounds.len() * size_of::<f64>()
            + self.slots.capacity() * size_of::<Slot>()
            + (self.order.capacity() + self.free.capacity()) * size_of::<u32>()
            + self.exemplars.capacity() * size_of::<StoredExemplar>()
            + self.histogram_bytes
            + map
            + 256
    }
}

fn is_exponential(info: &FamilySnapshot) -> bool {
    matches!(info.series().next().map(|series| series.value()), Some(wasmetry_host::Value::Exponential(_)))
}

/// The bytes of a histogram's value, with those of the allocator.
fn histogram_bytes(value: &Value) -> usize {
    match value {
        Value::Histogram(value) => size_of_val(&**value) + size_of_val(&*value.counts) + 48,
        Value::Number(_) => 0,
    }
}

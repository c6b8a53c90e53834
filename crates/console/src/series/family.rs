//! Families: the series of one metric, each in a slot.

use std::collections::{HashMap, VecDeque};

use wasmetry_host::{FamilyKind, FamilySnapshot, Series};

use super::account::{Account, Room};
use super::column::ColumnWriter;
use super::label_set::LabelSets;
use super::value::{HistogramValue, Value};
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
    declared: FamilyKind,
    /// `true` if the host declares the metric, and not guests.
    is_host: bool,
    pub(crate) slots: Vec<Slot>,
    /// The slot of each set of labels.
    by_labels: HashMap<u32, u32>,
    /// The slot of each series of the last snapshot: the next one has nearly the same order.
    order: Vec<u32>,
    /// The series of this snapshot that were read.
    read: usize,
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
    /// The owner of the metric's first series, and the bytes that it has for the metric itself.
    account: Account,
    charged: usize,
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

/// Bytes of a metric besides its texts.
const OVERHEAD: usize = size_of::<Family>() + 256;

/// The bytes of a metric that a snapshot has, without series.
pub(super) fn size(info: &FamilySnapshot) -> usize {
    OVERHEAD + 2 * info.name().len() + info.help().len() + info.unit().len() + size_of_val(info.bounds())
}

impl Family {
    pub(super) fn new(id: u32, info: &FamilySnapshot, is_host: bool) -> Self {
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
            declared: info.kind(),
            is_host,
            slots: Vec::new(),
            by_labels: HashMap::new(),
            order: Vec::new(),
            read: 0,
            free: Vec::new(),
            exemplars: VecDeque::new(),
            last: 0,
            refused: 0,
            counted: 0,
            histogram_bytes: 0,
            account: if is_host { Account::Host } else { Account::Empty },
            charged: 0,
        }
    }

    /// Returns `true` if a snapshot's metric is this one. Another one of the name, with other
    /// buckets or of another kind, is that of another tenant, or of a component that was replaced.
    pub(super) fn is_of(&self, info: &FamilySnapshot, is_host: bool) -> bool {
        self.is_host == is_host && self.declared == info.kind() && self.bounds == info.bounds()
    }

    /// Takes what a snapshot has of the metric itself: the first of those that only differ in
    /// texts.
    pub(super) fn update(&mut self, info: &FamilySnapshot, end: u32) {
        if self.kind == "histogram" && is_exponential(info) {
            self.kind = "exponential_histogram";
        }
        if self.last == end {
            return;
        }
        if self.unit != info.unit() || self.help != info.help() {
            (self.unit, self.help) = (info.unit().to_owned(), info.help().to_owned());
        }
        (self.last, self.refused, self.read) = (end, 0, 0);
    }

    /// Charges the bytes of the metric itself to the owner of its first series.
    pub(super) fn charge(&mut self, labels: &mut LabelSets) {
        let first = self.slots.iter().find_map(|slot| slot.labels);
        labels.accounts.remove(self.account, self.charged);
        if let Some(first) = first.filter(|_| self.account == Account::Empty) {
            self.account = labels.account(first, self.is_host);
        }
        self.charged = self.own_bytes();
        labels.accounts.add(self.account, self.charged);
    }

    /// Takes the charge back: the metric is removed.
    pub(super) fn discharge(&mut self, labels: &mut LabelSets) {
        labels.accounts.remove(self.account, std::mem::take(&mut self.charged));
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

    /// Returns the slot of the next series of a snapshot, which has these labels. A new one has to
    /// find room beside the other metrics, which `room` has.
    pub(super) fn slot(&mut self, text: &[u8], end: u32, room: Room, labels: &mut LabelSets) -> Option<u32> {
        let at = self.read;
        self.read += 1;
        let guess = self.order.get(at).copied().filter(|slot| {
            let set = self.slots.get(*slot as usize).and_then(|slot| slot.labels);
            set.is_some_and(|set| labels.is(set, text))
        });
        let known = guess.or_else(|| labels.find(text).and_then(|set| self.by_labels.get(&set)).copied());
        let slot = match known {
            Some(slot) => slot,
            None => {
                let room = room.less(labels.bytes() + self.bytes());
                if !labels.may_add(text, self.value_bytes(), self.is_host, room) {
                    return None;
                }
                self.add(labels.add(text, self.is_host), end)
            }
        };
        if self.order.len() <= at {
            self.order.resize(at + 1, u32::MAX);
        }
        self.order[at] = slot;
        Some(slot)
    }

    /// The bytes of a histogram's buckets.
    fn value_bytes(&self) -> usize {
        if self.is_histogram() { HISTOGRAM_BYTES + size_of_val(&*self.bounds) } else { 0 }
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
                labels.share(set, self.is_host);
                let before = std::mem::replace(&mut at, self.add(set, end));
                self.order.iter_mut().filter(|slot| **slot == before).for_each(|slot| *slot = at);
            }
            let slot = &mut self.slots[at as usize];
            slot.value = value.zero();
            let bytes = histogram_bytes(&value);
            self.histogram_bytes += bytes;
            if let Some(set) = slot.labels {
                let account = labels.account(set, self.is_host);
                labels.accounts.add(account, bytes);
            }
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

    /// Returns the exemplars that may be kept: as many as there are, if the owner of the metric has
    /// no room for more beside the other metrics, which `room` has.
    pub(super) fn exemplar_limit(&self, labels: &LabelSets, room: Room) -> usize {
        let bytes = limits::EXEMPLARS * size_of::<StoredExemplar>();
        let room = room.less(labels.bytes() + self.bytes());
        let may_grow = labels.accounts.may_add(self.account, bytes, room);
        if may_grow { limits::EXEMPLARS } else { self.exemplars.capacity().min(limits::EXEMPLARS) }
    }

    /// Keeps the exemplars of a series that are newer than the last ones, up to a limit.
    pub(super) fn keep_exemplars(&mut self, series: &Series<'_>, slot: u32, limit: usize) {
        for (_, exemplar) in series.exemplars() {
            let (trace_id, span_id) = (exemplar.trace_id.number(), exemplar.span_id.number());
            let is_known = |known: &StoredExemplar| (known.trace_id, known.span_id) == (trace_id, span_id);
            if self.exemplars.iter().rev().take(limits::EXEMPLARS).any(is_known) {
                continue;
            }
            if self.exemplars.len() >= limit && self.exemplars.pop_front().is_none() {
                return;
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
            let bytes = histogram_bytes(&slot.value);
            self.histogram_bytes -= bytes;
            labels.accounts.remove(labels.account(set, self.is_host), bytes);
            slot.value = Value::Number(wasmetry_host::Number::Unsigned(0));
            labels.remove(set, self.is_host);
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
        self.own_bytes()
            + self.slots.capacity() * size_of::<Slot>()
            + (self.order.capacity() + self.free.capacity()) * size_of::<u32>()
            + self.histogram_bytes
            + map
    }

    /// The bytes of the metric without its series.
    fn own_bytes(&self) -> usize {
        OVERHEAD
            + 2 * self.name.len()
            + self.help.len()
            + self.unit.len()
            + self.bounds.len() * size_of::<f64>()
            + self.exemplars.capacity() * size_of::<StoredExemplar>()
    }
}

/// Bytes of a histogram's value besides its buckets, with those of the allocator.
const HISTOGRAM_BYTES: usize = size_of::<HistogramValue>() + size_of::<u64>() + 48;

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

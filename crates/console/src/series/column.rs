//! Columns: the changes of all series in one step.

use std::collections::BTreeMap;

use super::family::Family;
use super::value::Change;
use crate::code::{Reader, put};

/// The changes of all series in one step.
#[derive(Debug)]
pub(crate) struct Column {
    /// The step at whose end the values hold.
    pub(crate) end: u32,
    /// The number of steps since the column before.
    pub(crate) span: u32,
    /// The time of its snapshot, in nanoseconds since 1970-01-01 00:00 UTC.
    pub(crate) time: u64,
    /// The numbers of the metrics that changed, in order, and where their changes begin.
    sections: Box<[(u32, u32)]>,
    /// For each series that changed: the distance of its slot from the one before, and its change.
    data: Box<[u8]>,
}

/// Writes a column.
#[derive(Debug, Default)]
pub(crate) struct ColumnWriter {
    sections: Vec<(u32, u32, Vec<u8>)>,
    changed: Vec<(u32, u32, u32)>,
    scratch: Vec<u8>,
}

impl ColumnWriter {
    /// Begins with the changes of another metric, or goes on with those of the last one.
    pub(crate) fn begin_family(&mut self, id: u32) {
        if self.sections.last().is_some_and(|(last, ..)| *last == id) {
            return;
        }
        self.end_family();
        self.sections.push((id, 0, Vec::new()));
    }

    /// Adds the change of a series, which `write` appends.
    pub(crate) fn change(&mut self, slot: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.scratch.len() as u32;
        write(&mut self.scratch);
        self.changed.push((slot, start, self.scratch.len() as u32));
    }

    fn end_family(&mut self) {
        if let Some((_, _, bytes)) = self.sections.last_mut() {
            self.changed.sort_unstable();
            let mut next = 0;
            for (slot, start, end) in self.changed.drain(..) {
                put(bytes, u64::from(slot - next));
                bytes.extend_from_slice(&self.scratch[start as usize..end as usize]);
                next = slot + 1;
            }
        }
        self.scratch.clear();
    }

    pub(crate) fn finish(mut self, end: u32, span: u32, time: u64) -> Column {
        self.end_family();
        self.sections.retain(|(_, _, bytes)| !bytes.is_empty());
        self.sections.sort_unstable_by_key(|(id, ..)| *id);
        Column::new([end, span], time, self.sections.iter().map(|(id, _, bytes)| (*id, &bytes[..])))
    }
}

impl Column {
    fn new<'a>([end, span]: [u32; 2], time: u64, sections: impl Iterator<Item = (u32, &'a [u8])>) -> Self {
        let (mut places, mut data) = (Vec::new(), Vec::new());
        for (id, bytes) in sections {
            places.push((id, data.len() as u32));
            data.extend_from_slice(bytes);
        }
        Self { end, span, time, sections: places.into(), data: data.into() }
    }

    /// The bytes of the column, with those of the allocator.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.sections) + self.data.len() + 32
    }

    /// Returns the changes of a metric: for each series the distance of its slot from the one
    /// before, and its change.
    pub(crate) fn changes(&self, family: &Family) -> Option<Reader<'_>> {
        let at = self.sections.binary_search_by_key(&family.id, |(id, _)| *id).ok()?;
        Some(Reader::new(self.section(at)))
    }

    /// Calls `visit` with each series of a metric that changed, by its slot, and its change.
    pub(crate) fn visit(&self, family: &Family, mut visit: impl FnMut(usize, &Change)) {
        let Some(mut reader) = self.changes(family) else { return };
        let mut next = 0;
        while !reader.is_empty() {
            let slot = next + reader.get() as usize;
            let Some(value) = family.slots.get(slot).map(|slot| &slot.value) else { return };
            visit(slot, &value.read_change(&mut reader));
            next = slot + 1;
        }
    }

    fn section(&self, at: usize) -> &[u8] {
        let start = self.sections[at].1 as usize;
        let end = self.sections.get(at + 1).map_or(self.data.len(), |(_, start)| *start as usize);
        &self.data[start..end]
    }

    /// Returns a column with the changes of this one and of the next.
    pub(crate) fn unite(&self, next: &Self, families: &BTreeMap<(String, u32), Family>) -> Self {
        let by_id: BTreeMap<u32, &Family> = families.values().map(|family| (family.id, family)).collect();
        let mut ids: Vec<u32> = self.sections.iter().chain(&*next.sections).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut sections = Vec::with_capacity(ids.len());
        for id in ids {
            // The metric may have been removed.
            let Some(family) = by_id.get(&id) else { continue };
            let (mut first, mut second) = (Vec::new(), Vec::new());
            self.visit(family, |slot, change| first.push((slot, change.clone())));
            next.visit(family, |slot, change| second.push((slot, change.clone())));
            let mut bytes = Vec::new();
            let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
            let mut place = 0;
            while let Some(slot) = [first.peek(), second.peek()].into_iter().flatten().map(|(slot, _)| *slot).min() {
                let a = first.next_if(|(at, _)| *at == slot).map(|(_, change)| change);
                let b = second.next_if(|(at, _)| *at == slot).map(|(_, change)| change);
                let value = &family.slots[slot].value;
                let change = match (a, b) {
                    (Some(a), Some(b)) => value.both(a, b),
                    (Some(change), None) | (None, Some(change)) => change,
                    (None, None) => continue,
                };
                put(&mut bytes, (slot - place) as u64);
                value.put(&change, &mut bytes);
                place = slot + 1;
            }
            sections.push((id, bytes));
        }
        let span = self.span + next.span;
        Self::new([next.end, span], next.time, sections.iter().map(|(id, bytes)| (*id, &bytes[..])))
    }
}

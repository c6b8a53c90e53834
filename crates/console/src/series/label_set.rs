//! The labels of series, each set once, whatever the number of metrics that have it.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_host::LabelPairs;

use crate::code::{Reader, put_text};

/// Bytes of a set besides its text: two handles, the count of its users, its place in the map, and
/// the allocator's.
const OVERHEAD: usize = 96;

/// All sets of labels that series have, by number.
#[derive(Debug, Default)]
pub(crate) struct LabelSets {
    sets: Vec<Set>,
    by_text: HashMap<Arc<[u8]>, u32>,
    free: Vec<u32>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Set {
    text: Arc<[u8]>,
    users: u32,
}

impl LabelSets {
    /// The bytes of all sets.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes labels in the form in which they are kept.
    pub(crate) fn write(labels: LabelPairs<'_>, out: &mut Vec<u8>) {
        out.clear();
        for (key, value) in labels {
            put_text(out, key);
            put_text(out, &value);
        }
    }

    /// Returns `true` if a set has these labels.
    pub(crate) fn is(&self, set: u32, text: &[u8]) -> bool {
        self.sets.get(set as usize).is_some_and(|set| *set.text == *text)
    }

    /// Returns the set with these labels, if there is one.
    pub(crate) fn find(&self, text: &[u8]) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// Returns the set with these labels, with one more user.
    pub(crate) fn add(&mut self, text: &[u8]) -> u32 {
        if let Some(set) = self.find(text) {
            self.sets[set as usize].users += 1;
            return set;
        }
        let text: Arc<[u8]> = text.into();
        self.bytes += text.len() + OVERHEAD;
        let set = Set { text: Arc::clone(&text), users: 1 };
        let index = match self.free.pop() {
            Some(free) => {
                self.sets[free as usize] = set;
                free
            }
            None => {
                self.sets.push(set);
                (self.sets.len() - 1) as u32
            }
        };
        self.by_text.insert(text, index);
        index
    }

    /// Adds a user of a set.
    pub(crate) fn share(&mut self, index: u32) {
        if let Some(set) = self.sets.get_mut(index as usize) {
            set.users += 1;
        }
    }

    /// Removes a user of a set.
    pub(crate) fn remove(&mut self, index: u32) {
        let Some(set) = self.sets.get_mut(index as usize) else { return };
        set.users = set.users.saturating_sub(1);
        if set.users == 0 {
            let text = std::mem::take(&mut set.text);
            self.bytes -= text.len() + OVERHEAD;
            self.by_text.remove(&text);
            self.free.push(index);
        }
    }

    /// Returns the labels of a set.
    pub(crate) fn labels(&self, set: u32) -> Labels<'_> {
        Labels { reader: Reader::new(self.sets.get(set as usize).map_or(&[], |set| &set.text)) }
    }
}

/// The labels of one series: key and value.
#[derive(Clone, Debug)]
pub(crate) struct Labels<'a> {
    reader: Reader<'a>,
}

impl<'a> Labels<'a> {
    /// Returns the value of a label; an empty text stands for a label that is absent.
    pub(crate) fn get(&self, key: &str) -> &'a str {
        self.clone().find(|(known, _)| *known == key).map_or("", |(_, value)| value)
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        (!self.reader.is_empty()).then(|| (self.reader.text(), self.reader.text()))
    }
}

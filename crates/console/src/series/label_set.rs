//! The labels of series, each set once, whatever the number of metrics that have it.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_host::LabelPairs;

use super::account::{Account, Accounts, Room};
use crate::code::{Reader, put_text};

/// Bytes of a series besides its labels and the buckets of a histogram: its slot, and its places in
/// the map and in the order of its metric, of which a part is free.
const SERIES_BYTES: usize = 112;

/// Bytes of a set besides its text: two handles, the count of its users, its place in the map, and
/// the allocator's.
const OVERHEAD: usize = 104;

/// All sets of labels that series have, by number.
#[derive(Debug, Default)]
pub(crate) struct LabelSets {
    sets: Vec<Set>,
    by_text: HashMap<Arc<[u8]>, u32>,
    free: Vec<u32>,
    bytes: usize,
    pub(super) accounts: Accounts,
}

#[derive(Debug)]
struct Set {
    text: Arc<[u8]>,
    users: u32,
    /// The account of the series for which the set was made.
    account: Account,
}

impl LabelSets {
    /// The bytes of all sets, and of the accounts of their owners.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.accounts.own_bytes()
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

    /// Returns `true` if a series with these labels, and so many bytes of values, may be added to a
    /// metric of the host or of guests.
    pub(super) fn may_add(&mut self, text: &[u8], value_bytes: usize, is_host: bool, room: Room) -> bool {
        let labels = Labels::of(text);
        let account = self.accounts.account(&labels, is_host);
        let set = if self.find(text).is_some() { 0 } else { text.len() + OVERHEAD };
        self.accounts.may_add(account, SERIES_BYTES + set + value_bytes, room)
    }

    /// Returns the set with these labels, with one more series of a metric of the host or of
    /// guests.
    pub(super) fn add(&mut self, text: &[u8], is_host: bool) -> u32 {
        if let Some(set) = self.find(text) {
            self.share(set, is_host);
            return set;
        }
        let account = self.accounts.account(&Labels::of(text), is_host);
        self.accounts.add(account, text.len() + OVERHEAD + SERIES_BYTES);
        let text: Arc<[u8]> = text.into();
        self.bytes += text.len() + OVERHEAD;
        let set = Set { text: Arc::clone(&text), users: 1, account };
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

    /// Returns the account of a series with the labels of a set.
    pub(super) fn account(&self, index: u32, is_host: bool) -> Account {
        match self.sets.get(index as usize).map(|set| set.account) {
            Some(Account::Owner { owner, .. }) => Account::Owner { owner, is_host },
            _ => Account::Host,
        }
    }

    /// Adds a series to the users of a set.
    pub(super) fn share(&mut self, index: u32, is_host: bool) {
        let account = self.account(index, is_host);
        if let Some(set) = self.sets.get_mut(index as usize) {
            set.users += 1;
            self.accounts.add(account, SERIES_BYTES);
        }
    }

    /// Removes a series from the users of a set.
    pub(super) fn remove(&mut self, index: u32, is_host: bool) {
        let account = self.account(index, is_host);
        let Some(set) = self.sets.get_mut(index as usize) else { return };
        self.accounts.remove(account, SERIES_BYTES);
        set.users = set.users.saturating_sub(1);
        if set.users == 0 {
            let text = std::mem::take(&mut set.text);
            self.accounts.remove(set.account, text.len() + OVERHEAD);
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
    /// Returns the labels of a text that [`LabelSets::write`] has written.
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { reader: Reader::new(text) }
    }

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

//! Numbers by which JavaScript names things of the core's.

use std::collections::HashMap;

use crate::error::Error;

/// Things of one kind, by their handles. A handle is never 0, and is used again only after all others were.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    what: &'static str,
    things: HashMap<u32, T>,
    last: u32,
}

impl<T> Handles<T> {
    /// No things yet; `what` names their kind to a person.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, things: HashMap::new(), last: 0 }
    }

    pub(crate) fn insert(&mut self, thing: T) -> u32 {
        // Memory ends long before the numbers do.
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.things.contains_key(&self.last) {
                self.things.insert(self.last, thing);
                return self.last;
            }
        }
    }

    pub(crate) fn get(&mut self, handle: u32) -> Result<&mut T, Error> {
        self.things.get_mut(&handle).ok_or(Error::Handle { what: self.what, handle })
    }

    pub(crate) fn remove(&mut self, handle: u32) -> Result<T, Error> {
        self.things.remove(&handle).ok_or(Error::Handle { what: self.what, handle })
    }
}

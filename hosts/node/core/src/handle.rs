//! Handles: the numbers by which JavaScript refers to components and instances.

use std::collections::HashMap;

use crate::error::Error;

/// Things of one kind by their handles. A handle is never 0, and is reused only after all others.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    what: &'static str,
    things: HashMap<u32, T>,
    last: u32,
}

impl<T> Handles<T> {
    /// Makes an empty table; `what` is the kind's name in errors.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, things: HashMap::new(), last: 0 }
    }

    pub(crate) fn insert(&mut self, thing: T) -> u32 {
        // The memory ends long before the numbers.
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

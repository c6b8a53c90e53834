//! The table of a store's handles of one kind.

/// The values behind a store's handles of one kind.
///
/// A guest cannot forge a handle: Wasmtime returns the number that was put into it, and only while
/// the guest has it.
pub(crate) struct Table<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    /// Adds a value, and returns its number.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = Some(value);
                number
            }
            None => {
                self.slots.push(Some(value));
                self.slots.len() as u32 - 1
            }
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.slots.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn freed_numbers_are_used_again() {
        let mut table = Table::default();
        let (a, b) = (table.insert('a'), table.insert('b'));
        assert_eq!((table.get(a), table.get(b), table.len()), (Some(&'a'), Some(&'b'), 2));
        assert_eq!((table.remove(a), table.remove(a), table.get(a)), (Some('a'), None, None));
        let c = table.insert('c');
        assert_eq!((c, table.get(b), table.get(7), table.len()), (a, Some(&'b'), None, 2));
    }
}

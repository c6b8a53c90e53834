/// What a store's handles of one kind stand for.
///
/// A guest cannot forge a handle: Wasmtime gives back the number that was put into it, and only while the guest has it.
pub(crate) struct Handles<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Handles<T> {
    /// Keeps a value; returns its number.
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
    use super::Handles;

    #[test]
    fn a_number_is_used_again_and_never_by_two() {
        let mut handles = Handles::default();
        let (a, b) = (handles.insert('a'), handles.insert('b'));
        assert_eq!((handles.get(a), handles.get(b), handles.len()), (Some(&'a'), Some(&'b'), 2));
        assert_eq!((handles.remove(a), handles.remove(a), handles.get(a)), (Some('a'), None, None));
        let c = handles.insert('c');
        assert_eq!((c, handles.get(b), handles.get(7), handles.len()), (a, Some(&'b'), None, 2));
    }
}

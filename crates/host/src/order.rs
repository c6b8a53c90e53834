//! One sort for all types: a sort is some kilobytes of code for each type that is sorted, which
//! counts where this crate is WebAssembly.

use std::cmp::Ordering;

/// Returns the items in the order of a comparison. Equal ones keep theirs.
pub(crate) fn sorted<T>(items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let order = order_of(items.len(), &|a, b| compare(&items[a as usize], &items[b as usize]));
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let mut sorted = Vec::with_capacity(items.len());
    sorted.extend(order.into_iter().filter_map(|at| items[at as usize].take()));
    sorted
}

#[inline(never)]
fn order_of(len: usize, compare: &dyn Fn(u32, u32) -> Ordering) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len as u32).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_keep_their_order() {
        let items = vec![("b", 1), ("a", 1), ("b", 0), ("a", 0)];
        assert_eq!(sorted(items, |(a, _), (b, _)| a.cmp(b)), [("a", 1), ("a", 0), ("b", 1), ("b", 0)]);
        assert!(sorted(Vec::<u8>::new(), u8::cmp).is_empty());
    }
}

//! Labels whose values are texts, interned in a table of a fixed size.

use wasmetry_abi::LabelShape;
use wasmetry_abi::layout::GuestDropReason;

use crate::host::count_drop;
use crate::metric::label::Label;
use crate::region::words::{Pair, Words};
use crate::sync::{AtomicU8, AtomicU32, Ordering, Publish as _};

/// A label whose values are texts that are not known at compile time: up to `N` of them, of up to
/// `LEN` bytes each.
///
/// The first `N` values that an instance records have series of their own. Every other value goes
/// to the series with the value `overflow`, and is counted with the reason `label_table_full` or
/// `label_too_long`, so no input can make the memory or the number of series grow. `LEN` is a
/// multiple of 4.
///
/// Each use hashes the text and compares it once. Keep the result of [`with`](crate::Counter::with)
/// if that matters.
///
/// ```
/// use wasmetry::{Counter, Text, counter};
///
/// static SOLD: Counter<Text<32>> =
///     counter!("items_sold_total", "Items sold.", labels: [sku: Text<32>]);
///
/// SOLD.with("apple").add(3);
/// assert_eq!(SOLD.with("apple").get(), 3);
/// ```
#[derive(Debug)]
pub enum Text<const N: usize, const LEN: usize = 48> {}

/// The interned values of one text label; see `crates/abi/FORMAT.md`, section 2, "Table".
#[doc(hidden)]
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Table<const N: usize, const LEN: usize> {
    tags: [AtomicU32; N],
    keys: [Key<LEN>; N],
}

#[derive(Debug)]
#[repr(C)]
struct Key<const LEN: usize> {
    len: AtomicU32,
    bytes: [AtomicU8; LEN],
}

impl<const LEN: usize> Key<LEN> {
    fn is(&self, text: &[u8]) -> bool {
        // Acquire pairs with the Release of the length in `write`.
        self.len.load(Ordering::Acquire) == text.len() as u32 + 1
            && self.bytes.iter().zip(text).all(|(byte, expected)| byte.load(Ordering::Relaxed) == *expected)
    }

    fn write(&self, text: &[u8]) {
        for (byte, value) in self.bytes.iter().zip(text) {
            byte.publish(*value);
        }
        // Pairs with the Acquire in `is` and in the host's read: the bytes come before the length.
        self.len.publish(text.len() as u32 + 1);
    }
}

impl<const N: usize, const LEN: usize> Table<N, LEN> {
    #[allow(clippy::declare_interior_mutable_const, reason = "it is copied into a static, and never used in place")]
    const EMPTY: Self = Self {
        tags: [const { AtomicU32::new(0) }; N],
        keys: [const { Key { len: AtomicU32::new(0), bytes: [const { AtomicU8::new(0) }; LEN] } }; N],
    };

    /// The slot of a text, which is interned if it is new; `N` if there is none.
    ///
    /// It is not inlined: that would cost 400 bytes in each place that records.
    #[inline(never)]
    fn slot(&self, text: &str) -> usize {
        let text = text.as_bytes();
        if text.len() > LEN {
            count_drop(GuestDropReason::LabelTooLong);
            return N;
        }
        let tag = wasmetry_abi::hash(text) as u32 | 1;
        let start = (tag >> 1) as usize % N;
        for slot in (start..N).chain(0..start) {
            let (Some(found), Some(key)) = (self.tags.get(slot), self.keys.get(slot)) else { return N };
            match found.exchange(0, tag) {
                Ok(()) => {
                    key.write(text);
                    return slot;
                }
                Err(other) if other == tag && key.is(text) => return slot,
                Err(_) => {}
            }
        }
        count_drop(GuestDropReason::LabelTableFull);
        N
    }

    /// The text in a slot.
    #[cfg(feature = "testing")]
    fn text(&self, slot: usize) -> crate::testing::capture::String {
        let Some(key) = self.keys.get(slot) else { return "overflow".into() };
        // Acquire pairs with the Release of the length in `write`.
        let len = key.len.load(Ordering::Acquire).saturating_sub(1) as usize;
        let bytes = key.bytes.iter().take(len).map(|byte| byte.load(Ordering::Relaxed)).collect();
        crate::testing::capture::String::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const N: usize, const LEN: usize> Label for Text<N, LEN> {
    type Value<'a> = &'a str;
    type Table = Table<N, LEN>;
    type Array<C: Words> = Pair<[C; N], C>;
    const SHAPE: LabelShape<'static> = LabelShape::Text { capacity: N as u32, max_len: LEN as u32 };
    const POSITIONS: usize = N + 1;
    const EMPTY_TABLE: Table<N, LEN> = Table::EMPTY;

    #[inline]
    fn position(value: &str, table: &'static Table<N, LEN>) -> usize {
        table.slot(value)
    }

    #[cfg(feature = "testing")]
    fn value_at(position: usize, table: &Table<N, LEN>) -> crate::testing::capture::String {
        table.text(position)
    }
}
